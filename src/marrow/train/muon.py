"""Muon: the matrices of a network's blocks move by orthogonal steps, everything else by AdamW.

Jordan, Jin, Boza, You, Cesista, Newhouse, Bernstein: "Muon: An optimizer for hidden layers in neural networks" (2024);
steps are made as large as AdamW's as in Liu et al., "Muon is scalable for LLM training" (arXiv 2502.16982), so that the
two share a learning rate. `torch.optim.Muon` gives the same numbers matrix by matrix; here matrices of one shape are
taken at once, and the learning rate may be a tensor, which a recorded step needs.
"""

from collections import defaultdict
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from marrow.train.device import choose_precision

# Five steps of x -> a x + b x³ + c x⁵ on the singular values take what lies between 0.01 and 1 to between 0.7 and 1.2.
_STEPS, _COEFFICIENTS = 5, (3.4445, -4.7750, 2.0315)
_MOMENTUM = 0.95


class MuonAdamW(torch.optim.Optimizer):
    """AdamW, but groups of parameters that say `muon` move by orthogonal steps.

    Args:
        groups: of parameters, each with `muon`: whether it is of matrices that move so.
        options: of AdamW.
    """

    def __init__(self, groups: list[dict[str, Any]], **options: Any) -> None:
        self._adamw = torch.optim.AdamW([group for group in groups if not group["muon"]], **options)
        super().__init__(groups, self._adamw.defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take one step."""
        for group in self.param_groups:
            if group["muon"]:
                self._orthogonal_step(group)
        # A loaded state lies in other lists than those of the beginning.
        self._adamw.param_groups = [group for group in self.param_groups if not group["muon"]]
        self._adamw.state = self.state
        self._adamw.step(closure)

    def _orthogonal_step(self, group: dict[str, Any]) -> None:
        by_shape = defaultdict[torch.Size, list[nn.Parameter]](list)
        for parameter in group["params"]:
            if parameter.grad is not None:
                by_shape[parameter.shape].append(parameter)
        for shape, parameters in by_shape.items():
            directions = []
            for parameter in parameters:
                gradient, state = parameter.grad, self.state[parameter]
                assert gradient is not None
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].lerp_(gradient, 1.0 - _MOMENTUM)
                directions.append(gradient.lerp(state["momentum"], _MOMENTUM))
            # Numbers of an orthogonal matrix have a mean square of 1 / its longer side; AdamW's steps have about 0.2.
            size = 0.2 * max(shape) ** 0.5
            for parameter, direction in zip(parameters, orthogonal(torch.stack(directions)), strict=True):
                parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
                parameter.sub_(direction.to(parameter.dtype) * (group["lr"] * size))


def orthogonal(matrices: Float[Tensor, "matrix row column"]) -> Float[Tensor, "matrix row column"]:
    """Return matrices with the same singular vectors, and singular values near 1 (0.7 to 1.2).

    They are in bf16 where the hardware multiplies it, else in fp32: by emulation, bf16 takes 16 times as long. A
    matrix that is almost zero in some directions stays so there: the iteration begins at its largest norm.
    """
    a, b, c = _COEFFICIENTS
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if is_tall else matrices).to(_precision(matrices.device.type))
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if is_tall else x


@cache
def _precision(device_type: str) -> torch.dtype:
    return torch.bfloat16 if choose_precision("auto", device_type).bf16 else torch.float32


def block_matrices(module: nn.Module) -> set[Tensor]:
    """Return the weights of the linear layers in lists of blocks; embeddings, first and last layers are in none."""
    lists = [part for part in module.modules() if isinstance(part, nn.ModuleList)]
    layers = [layer for blocks in lists for layer in blocks.modules() if isinstance(layer, nn.Linear)]
    return {layer.weight for layer in layers}
