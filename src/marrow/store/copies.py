"""Which clips of one set are copies of a clip of another: to the last bit, or nearly."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from marrow.store.format import Store
from marrow.store.near_duplicates import PAIRS_UNASKED, comparable, near_duplicates


@dataclass(frozen=True)
class Copies:
    """Clips that are copies, by row, each with the row of the clip that it is a copy of.

    Args:
        identical: equal in positions and flags to the last bit.
        near: not identical, but the same motion up to noise, resampling, cut frames and a rigid move; None where that
            was not looked for.
    """

    identical: dict[int, int]
    near: dict[int, int] | None

    @property
    def rows(self) -> Int64[np.ndarray, " copy"]:
        """All of them, in ascending order."""
        return np.array(sorted({*self.identical, *(self.near or ())}), np.int64)


def copied_rows(
    store: Store,
    train_rows: Int64[np.ndarray, " train"],
    test_rows: Int64[np.ndarray, " test"],
    *,
    near: bool | None = None,
) -> Copies:
    """Return which test clips are copies of a training clip.

    Args:
        store: the data.
        train_rows: clips to train on.
        test_rows: clips to look at.
        near: whether to look for near copies; None: where there are so few pairs that it takes seconds. Skeletons that
            do not say where trunk, hips and shoulders are have none looked for.
    """
    first = {store.content[row]: int(row) for row in train_rows[::-1]}
    identical = {int(row): first[store.content[row]] for row in test_rows if store.content[row] in first}
    if near is None:
        near = len(train_rows) * len(test_rows) <= PAIRS_UNASKED
    if not near or not comparable(store.skeleton):
        return Copies(identical, None)
    others = np.array([row for row in test_rows if int(row) not in identical], np.int64)
    return Copies(identical, {each.row_b: each.row_a for each in near_duplicates(store, train_rows, others)})
