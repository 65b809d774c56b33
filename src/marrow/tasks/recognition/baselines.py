"""What an encoder has to beat: the same tasks without any learning of features.

- random: the same tasks on the same encoder at random initialisation, `encoder.fresh(seed)`.
- raw: aligned coordinates, no encoder at all: hip-centred, torso-scaled, turned by the first frame's view (in two
  dimensions not), 32 frames, side by side (`marrow.skeleton.geometry.raw_baseline_features`); nearest neighbour by
  Euclidean distance, and ridge regression on one-hot labels. An encoder that beats only random initialisation may be
  worse than no encoder.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float32, Int64
from sklearn.linear_model import RidgeClassifier

from marrow.skeleton.geometry import raw_baseline_features
from marrow.skeleton.sequence import SkeletonSequence
from marrow.store.format import Store
from marrow.tasks.base import Report, TaskContext, TaskData
from marrow.tasks.numbers import About

BASELINES: tuple[str, ...] = ("random", "raw")

# That of the reference figures on NW-UCLA.
RIDGE_PENALTY = 30.0
# Gaps are filled from the frames around them, but where reference figures exist that were measured without: on NW-UCLA
# (ridge 75.7 / 71.3), which lost 12 joints in all. Filled, ridge is at 75.2 / 70.7 there.
_ZEROS_AS_RECORDED = ("nw_ucla",)


@dataclass
class RawBaseline:
    """Aligned coordinates of some clips, computed once and shared by all folds: reports `knn/raw` and `ridge/raw`."""

    _known: dict[int, Float32[np.ndarray, " value"]] = field(default_factory=dict)

    def features(self, store: Store, rows: Int64[np.ndarray, " row"]) -> Float32[np.ndarray, "row value"]:
        """Return the aligned coordinates of some rows of a store (the same store in every call)."""
        body_count = min(2, int(store.body_count.max()))
        for row in rows:
            if int(row) not in self._known:
                self._known[int(row)] = raw_baseline_features(raw_sequence(store, int(row)), body_count=body_count)
        return np.stack([self._known[int(row)] for row in rows])

    def run(self, data: TaskData, context: TaskContext) -> list[Report]:
        """Predict from the coordinates, then score."""
        gallery, query = self.features(data.store, data.train_rows), self.features(data.store, data.test_rows)
        label = data.train_labels()
        nearest = label[_nearest_by_distance(query, gallery)]
        ridge = np.asarray(RidgeClassifier(alpha=RIDGE_PENALTY).fit(gallery, label).predict(query), np.int64)
        clips = data.test_clips()
        outcomes = {
            "knn/raw": (nearest, {"k": 1, "distance": "euclidean"}),
            "ridge/raw": (ridge, {"penalty": RIDGE_PENALTY}),
        }
        return [
            Report.scored(
                task,
                {"top1": predicted},
                clips,
                settings={**settings, "features": "aligned coordinates, 32 frames"},
                seed=context.seed,
                num_labels_used=len(label),
                source="raw",
                about=About.undeclared(task),
            )
            for task, (predicted, settings) in outcomes.items()
        ]


def raw_sequence(store: Store, row: int) -> SkeletonSequence:
    """Return a clip as the baseline reads it: on NW-UCLA, the zeros of joints that were lost are their positions."""
    sequence = store.sequence(row)
    if store.source not in _ZEROS_AS_RECORDED:
        return sequence
    return replace(sequence, present=np.broadcast_to(sequence.present.any(-1, keepdims=True), sequence.present.shape))


def _nearest_by_distance(
    query: Float32[np.ndarray, "query value"], gallery: Float32[np.ndarray, "gallery value"], chunk: int = 1024
) -> Int64[np.ndarray, " query"]:
    """Return the index of each query's nearest gallery vector."""
    # |q - g|^2 = |q|^2 - 2 q.g + |g|^2, and |q|^2 is the same for the whole row.
    half_norm = 0.5 * (gallery.astype(np.float64) ** 2).sum(axis=1).astype(np.float32)
    blocks = [query[start : start + chunk] for start in range(0, len(query), chunk)]
    return np.concatenate([(block @ gallery.T - half_norm).argmax(axis=1) for block in blocks])
