"""Muon: what an orthogonal step is, what moves by it, and that it goes on where it was."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from marrow.errors import ConfigError
from marrow.pretrain_config import PretrainConfig
from marrow.train import muon
from marrow.train.device import PrecisionChoice
from marrow.train.muon import block_matrices, orthogonal
from marrow.train.optim import OptimizerConfig, optimizer_of, set_learning_rate
from marrow.train.processes import load_whole_state

MUON = OptimizerConfig(name="muon", learning_rate=0.1, weight_decay=0.5)


class _Net(nn.Module):
    """Two blocks of one matrix each between a first and a last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.last = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x).tanh()
        return self.last(x)


def _net() -> _Net:
    torch.manual_seed(0)
    return _Net()


def _train(net: _Net, optimizer: torch.optim.Optimizer, steps: int, rate: float | Tensor = 0.05) -> None:
    for number in range(steps):
        optimizer.zero_grad()
        net(torch.arange(6.0).view(2, 3) * (number + 1)).square().sum().backward()
        set_learning_rate(optimizer, rate)
        optimizer.step()


def test_singular_values_become_nearly_one_and_singular_vectors_stay() -> None:
    generator = torch.Generator().manual_seed(1)
    left = torch.linalg.qr(torch.randn(6, 3, generator=generator))[0]
    right = torch.linalg.qr(torch.randn(3, 3, generator=generator))[0]
    tall = left @ torch.diag(torch.tensor([5.0, 2.0, 1.0])) @ right
    for matrix in (tall, tall.T):
        found = orthogonal(matrix[None])[0].float()
        assert found.shape == matrix.shape
        inside = left.T @ (found if matrix is tall else found.T) @ right.T
        assert torch.all((inside.diagonal() > 0.65) & (inside.diagonal() < 1.25))
        assert (inside - torch.diag(inside.diagonal())).abs().max() < 0.05


@pytest.mark.parametrize(("has_bf16", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_bf16_is_for_hardware_that_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, has_bf16: bool, expected: torch.dtype
) -> None:
    """Where it is emulated, a step would take seconds."""
    monkeypatch.setattr(muon, "choose_precision", lambda *_: PrecisionChoice(has_bf16, ""))
    muon._precision.cache_clear()
    try:
        assert orthogonal(torch.eye(3)[None]).dtype == expected
    finally:
        muon._precision.cache_clear()


def test_a_gradient_of_zero_moves_nothing() -> None:
    assert orthogonal(torch.zeros(2, 3, 4)).abs().max() == 0.0


def test_only_the_matrices_of_blocks_move_by_it() -> None:
    net = _net()
    assert block_matrices(net) == {net.blocks[0].weight, net.blocks[1].weight}
    by_muon = [p for group in optimizer_of(net, MUON).param_groups if group["muon"] for p in group["params"]]
    assert {id(p) for p in by_muon} == {id(block.weight) for block in net.blocks}


def test_everything_else_moves_by_adamw() -> None:
    """In the first step, while all gradients are the same."""
    nets = []
    for config in (MUON, OptimizerConfig(learning_rate=0.1, weight_decay=0.5)):
        net = _net()
        _train(net, optimizer_of(net, config), 1)
        nets.append(net)
    with_muon, alone = (dict(net.named_parameters()) for net in nets)
    same = {name for name in alone if torch.equal(alone[name], with_muon[name])}
    assert same == {name for name in alone if not (name.startswith("blocks") and name.endswith("weight"))}


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon to compare with")
def test_steps_are_those_of_torchs_muon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muon, "_precision", lambda _: torch.bfloat16)  # as torch's, whatever this machine multiplies
    ours, theirs = _net(), _net()
    _train(ours, optimizer_of(ours, MUON), 4)
    hidden = [p for name, p in theirs.named_parameters() if name.startswith("blocks") and p.ndim == 2]
    rest = [p for p in theirs.parameters() if all(p is not weight for weight in hidden)]
    of_torch = torch.optim.Muon(hidden, lr=0.05, weight_decay=0.5, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(
        [{"params": [p for p in rest if p.ndim > 1], "weight_decay": 0.5}, {"params": [p for p in rest if p.ndim < 2]}],
        lr=0.05,
        betas=(0.9, 0.95),
        weight_decay=0.0,
    )
    for number in range(4):
        theirs.zero_grad()
        theirs(torch.arange(6.0).view(2, 3) * (number + 1)).square().sum().backward()
        of_torch.step()
        adamw.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


def test_a_learning_rate_on_the_device_gives_the_same_steps() -> None:
    """A recorded step reads it there."""
    by_number, by_tensor = _net(), _net()
    _train(by_number, optimizer_of(by_number, MUON), 2, 0.05)
    optimizer = optimizer_of(by_tensor, MUON)
    for group in optimizer.param_groups:
        group["fused"] = False  # AdamW's fused kernel of a CPU takes a number
        group["foreach"] = False
        group["capturable"] = False
    _train(by_tensor, optimizer, 2, torch.tensor(0.05))
    for mine, other in zip(by_number.blocks.parameters(), by_tensor.blocks.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_it_goes_on_from_a_saved_state() -> None:
    whole, parts = _net(), _net()
    _train(whole, optimizer_of(whole, MUON), 3)
    first = optimizer_of(parts, MUON)
    _train(parts, first, 2)
    resumed_net = _Net()
    resumed = optimizer_of(resumed_net, MUON)
    load_whole_state(resumed_net, resumed, copy.deepcopy(parts.state_dict()), copy.deepcopy(first.state_dict()))
    for optimizer, net in ((first, parts), (resumed, resumed_net)):
        optimizer.zero_grad()
        net(torch.arange(6.0).view(2, 3) * 3).square().sum().backward()
        optimizer.step()
        for mine, other in zip(net.parameters(), whole.parameters(), strict=True):
            assert torch.equal(mine, other)


def test_matrices_that_are_spread_over_processes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.name to adamw"):
        PretrainConfig(tmp_path, tmp_path / "run", optimizer=OptimizerConfig(name="muon"), strategy="fsdp")
