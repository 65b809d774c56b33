"""Nearest neighbours: every test clip is a query, and the training clips are ranked by how alike they are.

Nothing is trained. Features are of centre crops, averaged over bodies, time and joints, and compared by cosine; of
equally near clips the earlier one comes first.

- knn: a query gets the label of the nearest clip (k = 1, the field's "action retrieval").
- recall@k: the share of queries that have a clip of their class among the k nearest; recall@1 is the score of knn.
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

from marrow.errors import ConfigError, at_least, check_ranges
from marrow.models.encoder import Encoder
from marrow.models.features import nearest_neighbour_labels
from marrow.tasks.base import Report, TaskContext, TaskData
from marrow.tasks.recognition.declared import MEAN_AVERAGE_PRECISION, about_of, recall_at
from marrow.train.run_directory import plain


@dataclass(frozen=True)
class Knn:
    """The label of the nearest training clip (k = 1), whatever its distance: report `knn/pooled`."""

    name = "knn"

    def run(self, encoder: Encoder, data: TaskData, context: TaskContext) -> list[Report]:
        """Look every test clip up among the training clips."""
        gallery, query = context.tables(encoder, data)
        label, device = torch.from_numpy(data.train_labels()), context.fabric().device
        predicted = nearest_neighbour_labels(query.pooled.to(device), gallery.pooled.to(device), label.to(device))
        return [
            Report.scored(
                "knn/pooled",
                {"top1": predicted.cpu().numpy()},
                data.test_clips(),
                settings={"k": 1, "distance": "cosine", "features": "centre crops"},
                seed=context.seed,
                num_labels_used=len(label),
                about=about_of("knn/pooled"),
            )
        ]


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
        check_ranges(self, chunk_queries=at_least(1))


@dataclass(frozen=True)
class Retrieval:
    """Ranking by cosine: report `retrieval/pooled`.

    Args:
        config: the ranks.
    """

    name = "retrieval"
    config: RetrievalConfig = field(default_factory=RetrievalConfig)

    def run(self, encoder: Encoder, data: TaskData, context: TaskContext) -> list[Report]:
        """Rank the training clips for every test clip."""
        gallery, query = context.tables(encoder, data)
        label, device = torch.from_numpy(data.train_labels()), context.fabric().device
        # A ranking follows from features alone. All of them together would not fit into memory, so each is scored at
        # once: from here on test labels are read, and only compared.
        clips = data.test_clips()
        rankings = Rankings.scored(
            query.pooled.to(device),
            torch.from_numpy(clips.label).to(device),
            gallery.pooled.to(device),
            label.to(device),
            self.config,
        )
        detail = {
            "first_hit": rankings.first_hit.tolist(),
            "average_precision": rankings.average_precision.tolist(),
            "copied": clips.copied.tolist(),
        }
        report = Report(
            "retrieval/pooled",
            {},
            declared=about_of("retrieval/pooled"),
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
    scored = replace(report, metrics={}, intervals={}, quantities={}, detail=detail)
    for rank in report.asked["ranks"]:
        is_hit = ((first_hit > 0) & (first_hit <= rank)).astype(np.float64)
        scored.add_percent(f"recall_at_{rank}", recall_at(rank), is_hit, copied)
    precision = np.asarray(detail["average_precision"], np.float64)
    # A thousandth is near enough for an interval.
    scored.add_percent("map", MEAN_AVERAGE_PRECISION, precision, copied, decimals=3)
    return scored
