"""The untrained encoder that a run is watched beside is the run's own, before its first step: curves begin there."""

from pathlib import Path

import pytest
import torch

from marrow.data.window import InputConfig
from marrow.objectives import objective_names
from marrow.pretrain_config import PretrainConfig
from marrow.pretraining import build_objective
from marrow.skeleton.layout import KINECT_V2_25


@pytest.mark.parametrize("method", objective_names())
def test_it_has_the_weights_of_step_0(method: str) -> None:
    config = PretrainConfig(Path("store"), Path("run"), method=method, input=InputConfig(), seed=3)
    encoder = build_objective(config, KINECT_V2_25).encoder
    fresh = encoder.fresh(3).state_dict()
    assert fresh.keys() == encoder.state_dict().keys()
    assert all(torch.equal(fresh[name], value) for name, value in encoder.state_dict().items())
    other = encoder.fresh(4).state_dict()
    assert not all(torch.equal(other[name], value) for name, value in encoder.state_dict().items())
