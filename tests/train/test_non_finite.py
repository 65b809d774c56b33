from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from toy_trainable import ListLoader, Toy

from marrow.errors import CheckpointError, MarrowError
from marrow.train.checkpoint import CheckpointConfig, load_latest
from marrow.train.device import Precision, make_fabric
from marrow.train.logs import read_log
from marrow.train.loop import FitConfig, fit
from marrow.train.non_finite import replay
from marrow.train.optim import Budget, OptimizerConfig, optimizer_of


class Fragile(nn.Module):
    """Divides by zero where a clip holds the number 13."""

    def forward(self, x: Tensor) -> Tensor:
        return x / (x != 13).all(-1, keepdim=True).float()


def fragile() -> Toy:
    toy = Toy()
    toy.layers.insert(0, Fragile())
    return toy


def _fit(
    folder: Path,
    loader: ListLoader,
    toy: Toy,
    steps: int = 10,
    rate: Callable[[float], float] = lambda _: 1e-2,
    every_steps: int | None = 4,
    replay_command: str | None = "again {path}",
    precision: Precision = "fp32",
    log_every: int = 3,
) -> None:
    fabric, _ = make_fabric("cpu", precision)
    fabric.launch()
    config = FitConfig(
        Budget(steps), CheckpointConfig(every_steps=every_steps), log_every=log_every, replay_command=replay_command
    )
    fit(fabric, toy, optimizer_of(toy, OptimizerConfig()), loader, rate, config, folder)


def test_positions_that_are_not_finite_are_found_by_row(tmp_path: Path) -> None:
    loader = ListLoader()
    loader.joints[11, 0, 1, 1] = float("nan")
    loader.present[11, 0, 1, 1] = True
    # Row 11 is in the second batch of eight. The log reads every third step.
    with pytest.raises(MarrowError, match=r"step 1: .*not finite came with the rows \[11\]") as caught:
        _fit(tmp_path, loader, Toy())
    path = tmp_path / "non_finite" / "step-00000001.pt"
    assert str(caught.value).endswith(f"to take it again: again {path}")
    found = replay(path, Toy())
    assert found.reproduced
    assert (found.rows, found.rows_with_bad_positions, found.guilty_rows) == ([*range(8, 16)], [11], [11])


def test_where_nothing_takes_a_step_again_no_file_is_promised(tmp_path: Path) -> None:
    with pytest.raises(MarrowError, match=r"step 5: .*Alone, every row does the same") as caught:
        _fit(tmp_path, ListLoader(poisoned_step=5), Toy(), replay_command=None)
    assert str(tmp_path) not in str(caught.value)


def test_the_step_is_taken_again_from_the_very_state_before_it(tmp_path: Path) -> None:
    loader = ListLoader(micro_batches=2)
    loader.joints[21] = 13.0  # in the third batch
    loader.present[21] = True
    with pytest.raises(MarrowError, match=r"'layers\.0'.*rows \[21\] do the same"):
        _fit(tmp_path / "bad", loader, fragile(), every_steps=None)
    assert load_latest(tmp_path / "bad" / "checkpoints") is None
    path = tmp_path / "bad" / "non_finite" / "step-00000002.pt"
    found = replay(path, fragile())
    assert (found.step, found.learning_rate, found.module) == (2, 1e-2, "layers.0")
    assert (found.rows, found.guilty_rows, found.rows_with_bad_positions) == ([*range(16, 24)], [21], [])
    assert (found.reproduced, found.bad_weights) == (True, [])
    assert "layers.1.weight" in found.bad_gradients
    # Two steps on sound clips lead to the same weights, bit for bit.
    sound = fragile()
    _fit(tmp_path / "sound", ListLoader(micro_batches=2), sound, steps=2)
    saved = torch.load(path, weights_only=True)["trainable"]
    assert all(torch.equal(saved[name], value) for name, value in sound.state_dict().items())


def test_a_learning_rate_that_is_too_high_is_told_from_bad_data(tmp_path: Path) -> None:
    with pytest.raises(MarrowError, match=r"step \d+: .*every row does the same: look at the weights"):
        _fit(tmp_path, ListLoader(), Toy(), rate=lambda _: 1e25, every_steps=None)


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    with pytest.raises(MarrowError, match=r"after step 0 these weights are not finite: layers\.0\.weight"):
        _fit(tmp_path, ListLoader(), Toy(), rate=lambda _: 1e39, every_steps=1)
    assert load_latest(tmp_path / "checkpoints") is None


def test_a_replay_asks_for_the_same_network(tmp_path: Path) -> None:
    with pytest.raises(MarrowError, match="step 5"):
        _fit(tmp_path, ListLoader(poisoned_step=5), Toy())
    path = tmp_path / "non_finite" / "step-00000005.pt"
    with pytest.raises(CheckpointError, match="another network"):
        replay(path, fragile())
    path.write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="expected the file of a step"):
        replay(path, Toy())


def test_a_replay_computes_as_the_run_did_in_bf16(tmp_path: Path) -> None:
    """Coordinates are rounded in neither: the sum of the losses is the same to the last bit."""
    sound = ListLoader()
    _fit(tmp_path / "sound", sound, Toy(), steps=2, precision="bf16", log_every=1)
    with pytest.raises(MarrowError, match="step 1"):
        _fit(tmp_path / "bad", ListLoader(poisoned_step=1), Toy(), steps=2, precision="bf16")
    path = tmp_path / "bad" / "non_finite" / "step-00000001.pt"
    state = torch.load(path, weights_only=True)
    for plain in state["micro_batches"]:
        plain["joints"] = sound.joints[plain["row"]]
    torch.save(state, path)
    found = replay(path, Toy())
    assert found.loss_sum / found.weight == read_log(tmp_path / "sound" / "log.jsonl")[1]["loss"]


def test_a_sound_step_is_said_to_be_sound(tmp_path: Path) -> None:
    with pytest.raises(MarrowError, match="step 5"):
        _fit(tmp_path, ListLoader(poisoned_step=5), Toy())
    path = tmp_path / "non_finite" / "step-00000005.pt"
    state = torch.load(path, weights_only=True)
    for batch in state["micro_batches"]:
        batch["joints"] = torch.ones_like(batch["joints"])
    torch.save(state, path)
    found = replay(path, Toy())
    assert not found.reproduced
    assert "has a finite loss" in str(found)
