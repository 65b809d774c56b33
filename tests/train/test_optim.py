import pytest
import torch
from torch import nn

from marrow.errors import ConfigError
from marrow.train.optim import OptimizerConfig, adamw, set_learning_rate
from marrow.train.sharding import load_whole_state


class _Parts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.norm = nn.LayerNorm(4)
        self.position = nn.Parameter(torch.zeros(1, 5, 4))
        self.table_bias = nn.Parameter(torch.zeros(2, 2))
        self.fixed = nn.Parameter(torch.zeros(2, 2), requires_grad=False)


def test_only_vectors_and_biases_are_exempt_from_decay() -> None:
    module = _Parts()
    decayed, exempt = adamw(module, OptimizerConfig()).param_groups
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    assert {names[id(p)] for p in decayed["params"]} == {"linear.weight", "position"}
    assert {names[id(p)] for p in exempt["params"]} == {"linear.bias", "norm.weight", "norm.bias", "table_bias"}
    assert (decayed["weight_decay"], exempt["weight_decay"]) == (0.05, 0.0)
    assert decayed["betas"] == (0.9, 0.95)


def test_decay_alone_shrinks_by_the_product_of_rate_and_decay() -> None:
    module = nn.Linear(1, 1)
    nn.init.ones_(module.weight)
    nn.init.ones_(module.bias)
    optimizer = adamw(module, OptimizerConfig(weight_decay=0.5))
    set_learning_rate(optimizer, 0.1)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert module.weight.item() == pytest.approx(0.95)
    assert module.bias.item() == 1.0


def test_groups_may_scale_the_learning_rate() -> None:
    optimizer = torch.optim.SGD(
        [{"params": [nn.Parameter(torch.zeros(1))], "lr_scale": 0.8}, {"params": [nn.Parameter(torch.zeros(1))]}]
    )
    set_learning_rate(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [pytest.approx(0.4), 0.5]


def test_the_rule_of_scaling_is_named() -> None:
    assert OptimizerConfig().scale(32) == 1.0
    assert OptimizerConfig(scaling="per_256_clips").scale(64) == 0.25


@pytest.mark.parametrize("arguments", [{"learning_rate": 0.0}, {"clip_norm": 0.0}])
def test_impossible_settings(arguments: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        OptimizerConfig(**arguments)  # pyright: ignore[reportArgumentType]


def test_decay_can_be_for_linear_layers_alone() -> None:
    module = nn.Linear(2, 3)
    module.register_parameter("token", nn.Parameter(torch.zeros(1, 2)))
    for decays, shapes in (("matrices", {(3, 2), (1, 2)}), ("linear", {(3, 2)})):
        groups = adamw(module, OptimizerConfig(decays=decays)).param_groups  # pyright: ignore[reportArgumentType]
        assert {tuple(p.shape) for group in groups if group["weight_decay"] > 0 for p in group["params"]} == shapes


@pytest.mark.parametrize("of_gpu", [False, True])
def test_a_state_is_loaded_for_the_kernels_of_this_machine(of_gpu: bool) -> None:
    """What says which kernels take a step is not that of the machine that saved it."""
    states = []
    for _ in range(2):
        module = nn.Linear(2, 2)
        optimizer = adamw(module, OptimizerConfig())
        module(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        states.append((module, optimizer))
    (saved, saver), (module, optimizer) = states
    state = saver.state_dict()
    for group in state["param_groups"]:
        group |= {"fused": of_gpu, "capturable": of_gpu, "lr": 0.5}
    load_whole_state(module, optimizer, saved.state_dict(), state)
    assert [(group["fused"], group["capturable"], group["lr"]) for group in optimizer.param_groups] == [
        (True, False, 0.5)
    ] * len(state["param_groups"])
    optimizer.step()
