"""A trainable and a loader small enough to know everything about."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.models.trainable import StepOutput, Trainable

CLIPS = 32
STEPS_PER_EPOCH = 4


@dataclass
class ToyDraw:
    hidden: Tensor


class Toy(Trainable):
    """Predicts each clip's joints from a noisy copy; the loss counts present joints only, so weights are ragged."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            self.layers = nn.Sequential(nn.Linear(12, 16), nn.GELU(), nn.Linear(16, 12))

    def sample(self, batch: Batch, draws: Draws) -> ToyDraw:
        return ToyDraw(draws.uniform("hidden", 12) < 0.5)

    def forward(self, batch: Batch, draw: ToyDraw) -> StepOutput:
        target = batch.joints.flatten(1)
        counts = batch.present[..., None].expand_as(batch.joints).flatten(1).float()
        error = (self.layers(torch.where(draw.hidden, 0.0, target)).float() - target).square() * counts
        mean_error = target.square() * counts
        return StepOutput(error.sum(), counts.sum(), {"loss_of_mean": mean_error.sum().detach()})


class ListLoader:
    """The same 32 clips in order, eight per step; the number of present joints differs from clip to clip."""

    def __init__(self, micro_batches: int = 1, rank: int = 0, world_size: int = 1, poisoned_step: int = -1) -> None:
        generator = torch.Generator().manual_seed(3)
        self.joints = torch.randn(CLIPS, 1, 2, 2, 3, generator=generator)
        self.present = torch.rand(CLIPS, 1, 2, 2, generator=generator) < torch.linspace(0.2, 1.0, CLIPS).view(
            -1, 1, 1, 1
        )
        self.micro_batches, self.rank, self.world_size, self.poisoned_step = (
            micro_batches,
            rank,
            world_size,
            poisoned_step,
        )
        self.position = 0
        self.steps_per_epoch = STEPS_PER_EPOCH

    def next_step(self) -> list[tuple[Batch, Draws]]:
        size = CLIPS // STEPS_PER_EPOCH
        share = size // self.world_size
        first = self.position % STEPS_PER_EPOCH * size
        step = []
        for places in torch.arange(self.rank * share, (self.rank + 1) * share).chunk(self.micro_batches):
            rows = first + places
            joints = self.joints[rows] * (float("nan") if self.position == self.poisoned_step else 1.0)
            batch = Batch(joints, self.present[rows], torch.zeros_like(rows), rows)
            step.append((batch, Draws(0, self.position, places)))
        self.position += 1
        return step

    def state_dict(self) -> dict[str, int]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.position = state["position"]
