"""One optimizer step by hand: a line with two parameters through three clips.

The line y = w x + b starts at w = 1, b = 0. The clips (x, y) are (1, 0), (2, 0) and (3, 5): errors 1, 2 and -2, a loss
sum of 9 over a weight of 3. The gradient of the mean is 2 (1 + 4 - 6) / 3 = -2/3 for w, 2 (1 + 2 - 2) / 3 = 2/3 for b.
A fourth clip is absent and counts nothing, so that halves of the batch differ in weight.
"""

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn
from toy_trainable import ListLoader, Toy

from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.models.trainable import StepOutput, Trainable
from marrow.train.device import make_fabric
from marrow.train.interrupt import BrokenOff
from marrow.train.optim import OptimizerConfig, optimizer_of
from marrow.train.profile import Profile
from marrow.train.step import Stepper, first_line

CLIPS = ((1.0, 0.0), (2.0, 0.0), (3.0, 5.0), (9.0, 9.0))
NORM = math.sqrt(8 / 9)


@dataclass
class Nothing:
    """No draw at all."""


class Line(Trainable):
    def __init__(self) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(torch.ones(())), nn.Parameter(torch.zeros(()))

    def sample(self, batch: Batch, draws: Draws) -> Nothing:
        return Nothing()

    def forward(self, batch: Batch, draw: Nothing) -> StepOutput:
        x, y = batch.joints[:, 0, 0, 0, 0], batch.joints[:, 0, 0, 0, 1]
        present = batch.present.flatten().float()
        error = (self.w * x + self.b - y) * present
        return StepOutput(error.square().sum(), present.sum(), {"misses": error.detach().abs().sum()})


def piece(*places: int) -> tuple[Batch, Draws]:
    """Return some of the clips as a micro-batch."""
    rows = torch.tensor(places)
    joints = torch.zeros(len(places), 1, 1, 1, 3)
    joints[:, 0, 0, 0, :2] = torch.tensor([CLIPS[place] for place in places])
    present = (rows < 3).view(-1, 1, 1, 1)
    return Batch(joints, present, torch.zeros_like(rows), rows), Draws(0, 0, rows)


def stepper(trainable: Trainable, optimizer: torch.optim.Optimizer, clip_norm: float | None = None) -> Stepper:
    fabric, _ = make_fabric("cpu", "fp32")
    fabric.launch()
    module, wrapped = fabric.setup_module(trainable), fabric.setup_optimizers(optimizer)
    assert not isinstance(wrapped, tuple)
    return Stepper(fabric, module, wrapped, trainable, clip_norm, Profile(fabric.device, None))


def line_and_stepper(clip_norm: float | None = None) -> tuple[Line, Stepper]:
    line = Line()
    return line, stepper(line, torch.optim.SGD(line.parameters(), lr=9.0), clip_norm)


def values(line: Line) -> list[float]:
    return [line.w.item(), line.b.item()]


@pytest.mark.parametrize("pieces", [[(0, 1, 2, 3)], [(0, 1), (2, 3)], [(0,), (1,), (2,), (3,)]])
def test_loss_sums_are_divided_once_by_the_weight_of_all_pieces(pieces: list[tuple[int, ...]]) -> None:
    line, take_step = line_and_stepper()
    taken = take_step([piece(*places) for places in pieces], 0.3)
    assert values(line) == pytest.approx([1.2, -0.2])
    assert taken.totals.tolist() == [9.0, 3.0, 4.0, 5.0]  # loss, weight, clips, misses
    assert taken.metric_names == ["misses"]
    assert float(taken.gradient_norm) == pytest.approx(NORM)
    assert [rows.tolist() for rows in taken.rows] == [list(places) for places in pieces]
    assert line.w.grad is None


def test_processes_with_unequal_shares_are_divided_once_too(monkeypatch: pytest.MonkeyPatch) -> None:
    # This process has two clips, with gradients 2 (1 + 4) = 10 and 2 (1 + 2) = 6; another has the others, with -12 and
    # -4. What exchanges gradients leaves their means, -1 and 1.
    line, take_step = line_and_stepper()
    line.w.register_hook(lambda gradient: (gradient - 12.0) / 2)
    line.b.register_hook(lambda gradient: (gradient - 4.0) / 2)
    monkeypatch.setattr(Fabric, "world_size", 2)
    monkeypatch.setattr(Fabric, "all_reduce", lambda _, totals, reduce_op: totals + torch.tensor([4.0, 1.0, 2.0, 2.0]))
    taken = take_step([piece(0, 1)], 0.3)
    assert values(line) == pytest.approx([1.2, -0.2])
    assert taken.totals.tolist() == [9.0, 3.0, 4.0, 5.0]


def test_a_long_gradient_is_cut_and_told_as_it_was() -> None:
    line, take_step = line_and_stepper(clip_norm=NORM / 2)
    taken = take_step([piece(0, 1, 2)], 0.3)
    assert values(line) == pytest.approx([1.1, -0.1], rel=1e-5)
    assert float(taken.gradient_norm) == pytest.approx(NORM)
    line, take_step = line_and_stepper(clip_norm=2 * NORM)
    take_step([piece(0, 1, 2)], 0.3)
    assert values(line) == pytest.approx([1.2, -0.2])


def test_what_is_broken_off_keeps_the_weights_and_can_be_taken_again() -> None:
    @contextmanager
    def broken() -> Any:
        yield
        raise BrokenOff

    line, take_step = line_and_stepper()
    with pytest.raises(BrokenOff):
        take_step([piece(0, 1, 2)], 0.3, broken)
    assert values(line) == [1.0, 0.0]
    line.zero_grad(set_to_none=True)
    take_step([piece(0, 1, 2)], 0.3)
    assert values(line) == pytest.approx([1.2, -0.2])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_shows_in_the_numbers_of_its_step(bad: float) -> None:
    _, take_step = line_and_stepper()
    batch, draws = piece(0, 1, 2)
    batch.joints[1, 0, 0, 0, 1] = bad
    taken = take_step([(batch, draws)], 0.3)
    assert not math.isfinite(float(taken.totals[0]))
    assert not math.isfinite(float(taken.gradient_norm))
    assert float(taken.totals[1]) == 3.0


def test_steps_after_a_resume_are_those_without() -> None:
    def train(toy: Toy, optimizer: torch.optim.Optimizer, loader: ListLoader, steps: int) -> None:
        take_step = stepper(toy, optimizer, 1.0)
        for _ in range(steps):
            take_step(loader.next_step(), 1e-2)

    whole, first, second = Toy(), Toy(), Toy()
    train(whole, optimizer_of(whole, OptimizerConfig()), ListLoader(micro_batches=2), 6)
    optimizer, loader = optimizer_of(first, OptimizerConfig()), ListLoader(micro_batches=2)
    train(first, optimizer, loader, 3)
    resumed = optimizer_of(second, OptimizerConfig())
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(optimizer.state_dict())
    train(second, resumed, loader, 3)
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in whole.state_dict().items())


def test_an_error_is_told_by_its_kind_and_its_first_line() -> None:
    class Wrapped(Exception):
        inner_exception = ValueError("\n no kernel\nand much more")

    assert first_line(Wrapped("outside")) == "ValueError: no kernel"
    assert first_line(KeyError()) == "KeyError: "
