"""AdamW with the papers' settings: which parameters decay, and what the learning rate refers to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from marrow.errors import ConfigError
from marrow.train.schedule import ScheduleConfig, rise_and_fall


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW.

    Args:
        learning_rate: highest learning rate of the schedule.
        scaling: what the learning rates (base and minimum) refer to. absolute: to a step, as they are. per_256_clips:
            to a batch of 256 clips; a batch of B clips uses B / 256 of them.
        betas: decay of the running means of the gradient and of its square.
        weight_decay: decoupled.
        decays: what weight decay is for. matrices: all parameters but one-dimensional ones (biases, gains) and biases;
            linear: the weights of linear layers, and so no embedding of a place and no token.
        clip_norm: largest gradient norm, beyond which the gradient is scaled down; None: never.
    """

    learning_rate: float = 1e-3
    scaling: Literal["absolute", "per_256_clips"] = "absolute"
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.05
    decays: Literal["matrices", "linear"] = "matrices"
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ConfigError(f"optimizer.learning_rate must be positive, got {self.learning_rate}")
        if not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ConfigError(f"optimizer.betas must lie in [0, 1), got {list(self.betas)}")
        if self.weight_decay < 0:
            raise ConfigError(f"optimizer.weight_decay must not be negative, got {self.weight_decay}")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise ConfigError(f"optimizer.clip_norm must be positive or null, got {self.clip_norm}")

    def scale(self, batch_clips: int) -> float:
        """Return the factor from the configured learning rates to those of a step of so many clips."""
        return 1.0 if self.scaling == "absolute" else batch_clips / 256


def adamw(
    module: nn.Module, config: OptimizerConfig, lr_scale: Mapping[nn.Parameter, float] | None = None
) -> torch.optim.AdamW:
    """Make AdamW over the trained parameters of a module, already on its device.

    Tensors with one axis or none, and biases, do not decay; of everything else, embeddings and tokens included, what
    `config.decays` says.

    Args:
        module: what is trained.
        config: settings.
        lr_scale: share of the learning rate that a parameter gets; 1 for those that are not in it. None: 1 for all.
    """
    # Groups by (share, whether it decays), as they come.
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {(1.0, True): [], (1.0, False): []}
    linear = {layer.weight for layer in module.modules() if isinstance(layer, nn.Linear)}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            scale = 1.0 if lr_scale is None else lr_scale.get(parameter, 1.0)
            decays = parameter.ndim > 1 and not name.endswith("bias")
            decays &= config.decays == "matrices" or parameter in linear
            groups.setdefault((scale, decays), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "weight_decay": config.weight_decay if decays else 0.0, "lr_scale": scale}
            for (scale, decays), parameters in groups.items()
        ],
        lr=config.learning_rate,
        betas=config.betas,
        # One kernel over all tensors: unfused, the update costs as much as a small batch.
        fused=all(each.device.type in ("cpu", "cuda") for parameters in groups.values() for each in parameters),
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float | Float[Tensor, ""]) -> None:
    """Give every group its learning rate: the common one times the group's own `lr_scale`, where it has one."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get("lr_scale", 1.0)


def learning_rate(
    config: OptimizerConfig, schedule: ScheduleConfig, batch_clips: int, epochs: int
) -> Callable[[float], float]:
    """Return the learning rate as a function of the progress of a run.

    Args:
        config: the highest learning rate and what it refers to.
        schedule: the warm-up, which keeps its share of the planned epochs, and the lowest learning rate.
        batch_clips: clips per step.
        epochs: that are planned.
    """
    scale = config.scale(batch_clips)
    return partial(
        rise_and_fall,
        base=config.learning_rate * scale,
        minimum=schedule.min_learning_rate * scale,
        warmup_share=schedule.warmup_epochs / epochs,
        fall=schedule.fall,
        share_of_fall=schedule.share_of_fall,
    )
