"""The canary: under pytest, shape annotations are checked. Were they not, hundreds of them would say nothing."""

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from marrow.data.batch import Batch
from marrow.skeleton.sequence import Placement


def _batch(bodies_in_present: int) -> Batch:
    return Batch(
        joints=torch.zeros(2, 1, 4, 25, 3),
        present=torch.ones(2, bodies_in_present, 4, 25, dtype=torch.bool),
        label=torch.zeros(2, dtype=torch.int64),
        row=torch.zeros(2, dtype=torch.int64),
    )


def test_a_function_given_the_wrong_shape_fails() -> None:
    with pytest.raises(TypeCheckError):
        Placement().to_source(np.zeros((4, 2), np.float32))


def test_a_dataclass_whose_axes_disagree_fails() -> None:
    assert len(_batch(bodies_in_present=1)) == 2
    with pytest.raises(TypeCheckError):
        _batch(bodies_in_present=2)


def test_the_wrong_dtype_fails() -> None:
    with pytest.raises(TypeCheckError):
        Placement().to_source(np.zeros((4, 3), np.float64))
