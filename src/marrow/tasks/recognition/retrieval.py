"""Retrieval: every test clip is a query, and the training clips are ranked by how alike they are.

Features averaged over bodies, time and joints, compared by cosine; of equally near clips the earlier one comes first.

- recall@k: the share of queries that have a clip of their class among the k nearest (recall@1 is the task `knn`).
- mAP: the mean over queries of the average precision over the whole ranking: with R clips of the query's class, at the
  ranks r_1 < ... < r_R, it is the mean of i / r_i. Where the gallery has none, both are 0.

Clean scores leave out queries that are copies of training clips: their nearest is themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor, nn

from marrow.errors import ConfigError
from marrow.models.encoder import Encoder
from marrow.tasks import metrics
from marrow.tasks.base import Report, TaskContext, TaskData
from marrow.tasks.numbers import About, Quantity
from marrow.train.device import make_fabric
from marrow.train.run_directory import plain

# The recall at 1 is the accuracy of the nearest neighbour: mAP is what stands for retrieval alone.
ABOUT = About("retrieval", "Retrieval", headline=("map_percent",))
MEAN_AVERAGE_PRECISION = Quantity("mean average precision", "%", "higher", heading="mAP")


def recall_at(rank: int) -> Quantity:
    """Say what recall at a rank is."""
    return Quantity(f"recall at {rank}", "%", "higher", heading=f"recall@{rank}")


@dataclass(frozen=True)
class RetrievalConfig:
    """Settings of the retrieval.

    Args:
        ranks: of recall@k.
        chunk_queries: queries that are ranked at a time, which bounds the memory.
    """

    ranks: tuple[int, ...] = (1, 5, 10)
    chunk_queries: int = 256

    def __post_init__(self) -> None:
        if not self.ranks or min(self.ranks) < 1:
            raise ConfigError(f"ranks must be whole numbers from 1 on, got {list(self.ranks)}")
        if self.chunk_queries < 1:
            raise ConfigError(f"chunk_queries must be at least 1, got {self.chunk_queries}")


@dataclass(frozen=True)
class Retrieval:
    """Ranking by cosine: report `retrieval/pooled`.

    Args:
        config: the ranks.
    """

    config: RetrievalConfig = field(default_factory=RetrievalConfig)

    @property
    def name(self) -> str:
        """How the task is called."""
        return "retrieval"

    def run(self, encoder: Encoder, data: TaskData, context: TaskContext) -> list[Report]:
        """Rank the training clips for every test clip."""
        gallery = context.table(encoder, data.store, data.train_rows)
        query = context.table(encoder, data.store, data.test_rows)
        label = torch.from_numpy(data.train_labels())
        device = make_fabric(context.device, context.precision)[0].device
        # A ranking follows from features alone. All of them together would not fit into memory, so each is scored at
        # once: from here on test labels are read, and only compared.
        clips = data.test_clips()
        found = Rankings.scored(
            query.pooled.to(device),
            torch.from_numpy(clips.label).to(device),
            gallery.pooled.to(device),
            label.to(device),
            self.config,
        )
        detail = {
            "first_hit": found.first_hit.tolist(),
            "average_precision": found.average_precision.tolist(),
            "copied": clips.copied.tolist(),
        }
        report = Report(
            "retrieval/pooled",
            {},
            declared=ABOUT,
            settings={"distance": "cosine", "features": "centre crops"},
            asked=plain(self.config),
            seed=context.seed,
            num_labels_used=len(label),
            source=context.origin.source,
        )
        return [_scored(report, detail)]

    def pool(self, parts: Sequence[Report]) -> Report:
        """Average over the queries of all folds."""
        first = parts[0]
        detail = {name: [value for part in parts for value in part.detail[name]] for name in first.detail}
        return _scored(replace(first, num_labels_used=max(part.num_labels_used for part in parts)), detail)


@dataclass(frozen=True)
class Rankings:
    """What is known of the ranking of each query.

    Args:
        first_hit: rank of the nearest gallery vector of the query's class, from 1; 0 where there is none.
        average_precision: over the whole ranking.
    """

    first_hit: Int64[np.ndarray, " query"]
    average_precision: Float64[np.ndarray, " query"]

    @classmethod
    def scored(
        cls,
        query: Float[Tensor, "query dim"],
        query_label: Int64[Tensor, " query"],
        gallery: Float[Tensor, "gallery dim"],
        gallery_label: Int64[Tensor, " gallery"],
        config: RetrievalConfig,
    ) -> "Rankings":
        """Rank the gallery for each query by cosine, in fp32 whatever autocast says, on the device of the vectors."""
        gallery = nn.functional.normalize(gallery.float(), dim=1)
        rank = torch.arange(1, len(gallery) + 1, device=gallery.device)
        first, precision = [], []
        for asked, label in zip(
            nn.functional.normalize(query.float(), dim=1).split(config.chunk_queries),
            query_label.split(config.chunk_queries),
            strict=True,
        ):
            with torch.autocast(gallery.device.type, enabled=False):
                cosine = asked @ gallery.T
            order = cosine.sort(dim=1, descending=True, stable=True).indices
            hit: Bool[Tensor, "query gallery"] = gallery_label[order] == label[:, None]
            count = hit.sum(1)
            first.append(torch.where(count > 0, hit.int().argmax(1) + 1, 0))
            # At the rank r_i of the i-th hit, i of the first r_i are hits.
            at_hits = torch.where(hit, hit.cumsum(1, dtype=torch.int32) / rank, 0.0)
            precision.append(at_hits.sum(1, dtype=torch.float64) / count.clamp(min=1))
        return cls(torch.cat(first).cpu().numpy(), torch.cat(precision).cpu().numpy())


def _scored(report: Report, detail: dict[str, Any]) -> Report:
    """Return a report with the scores of what is known of the rankings."""
    first_hit, copied = np.asarray(detail["first_hit"], np.int64), np.asarray(detail["copied"], bool)
    precision = np.asarray(detail["average_precision"], np.float64)
    per_query = {
        f"recall_at_{rank}": (recall_at(rank), ((first_hit > 0) & (first_hit <= rank)).astype(np.float64))
        for rank in report.asked["ranks"]
    }
    per_query["map"] = MEAN_AVERAGE_PRECISION, precision
    halves = metrics.counted_clips(copied)
    scores: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    quantities: dict[str, Quantity] = {}
    for name, (quantity, values) in per_query.items():
        official = f"{name}_percent"
        for suffix, kept in halves.items():
            quantities[f"{name}{suffix}_percent"] = quantity.without_copies(official) if suffix else quantity
            scores[f"{name}{suffix}_percent"] = 100.0 * float(values[kept].mean())
            # The bootstrap costs as much as there are distinct values: a thousandth is near enough for an interval.
            low, high = metrics.bootstrap_interval(values[kept].round(3))
            intervals[f"{name}{suffix}_percent"] = (100.0 * low, 100.0 * high)
    return replace(report, metrics=scores, intervals=intervals, quantities=quantities, detail=detail)
