import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from marrow.errors import ConfigError
from marrow.train.optim import Budget, OptimizerConfig, ScheduleConfig, optimizer_of, rise_and_fall, set_learning_rate
from marrow.train.processes import load_whole_state


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
    decayed, exempt = optimizer_of(module, OptimizerConfig()).param_groups
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    assert {names[id(p)] for p in decayed["params"]} == {"linear.weight", "position"}
    assert {names[id(p)] for p in exempt["params"]} == {"linear.bias", "norm.weight", "norm.bias", "table_bias"}
    assert (decayed["weight_decay"], exempt["weight_decay"]) == (0.05, 0.0)
    assert decayed["betas"] == (0.9, 0.95)


def test_decay_alone_shrinks_by_the_product_of_rate_and_decay() -> None:
    module = nn.Linear(1, 1)
    nn.init.ones_(module.weight)
    nn.init.ones_(module.bias)
    optimizer = optimizer_of(module, OptimizerConfig(weight_decay=0.5))
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
        groups = optimizer_of(module, OptimizerConfig(decays=decays)).param_groups  # pyright: ignore[reportArgumentType]
        assert {tuple(p.shape) for group in groups if group["weight_decay"] > 0 for p in group["params"]} == shapes


@pytest.mark.parametrize("of_gpu", [False, True])
def test_a_state_is_loaded_for_the_kernels_of_this_machine(of_gpu: bool) -> None:
    """What says which kernels take a step is not that of the machine that saved it."""
    states = []
    for _ in range(2):
        module = nn.Linear(2, 2)
        optimizer = optimizer_of(module, OptimizerConfig())
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


# Warm-up 20 of 400 epochs, 1e-3 down to 5e-4. Epoch 10 is half of the rise; epoch 210 is half-way from 20 to 400, where
# the cosine is half-way down: (1e-3 + 5e-4) / 2.
@pytest.mark.parametrize(("epoch", "expected"), [(0, 0.0), (10, 5e-4), (20, 1e-3), (210, 7.5e-4), (400, 5e-4)])
def test_the_papers_schedule(epoch: int, expected: float) -> None:
    assert rise_and_fall(epoch / 400, 1e-3, 5e-4, 20 / 400) == pytest.approx(expected, abs=1e-12)


def test_fractions_of_an_epoch_count() -> None:
    assert rise_and_fall(10.5 / 400, 1e-3, 5e-4, 20 / 400) == pytest.approx(5.25e-4)


@given(st.floats(0, 1), st.floats(0, 0.5), st.floats(0, 1e-3))
def test_within_bounds_and_continuous(progress: float, warmup: float, minimum: float) -> None:
    rate = rise_and_fall(progress, 1e-3, minimum, warmup)
    assert 0.0 <= rate <= 1e-3 + 1e-12
    if progress >= warmup:
        assert rate >= minimum - 1e-12
        assert rise_and_fall(warmup, 1e-3, minimum, warmup) == pytest.approx(1e-3)


def test_no_warmup_and_only_warmup() -> None:
    assert rise_and_fall(0.0, 1.0, 0.0, 0.0) == 1.0
    assert rise_and_fall(1.0, 1.0, 0.0, 1.0) == 1.0
    assert rise_and_fall(0.5, 1.0, 0.0, 2.0) == 0.25


def test_progress_is_the_largest_share() -> None:
    budget = Budget(steps=100, wall_minutes=10.0, cpu_seconds=900.0)
    assert budget.progress(50, 60.0, 90.0) == 0.5
    assert budget.progress(50, 480.0, 90.0) == 0.8
    assert budget.progress(50, 480.0, 810.0) == 0.9
    assert budget.progress(50, 480.0, 2000.0) == 1.0
    assert Budget(steps=100).progress(50, 1e9, 1e9) == 0.5


def test_what_is_left_by_the_limit_that_comes_first() -> None:
    """After 20 of 100 steps in 40 s; the last 4 of them took 8 s, and 4 of the 900 processor seconds.

    80 steps at 2 s: 160 s. 10 minutes less 40 s: 560 s. Of 900 processor seconds 870 are left, at half of one in each
    second: 1,740 s.
    """
    budget = Budget(steps=100, wall_minutes=10.0, cpu_seconds=900.0)
    assert budget.seconds_left((20, 40.0, 30.0), (4, 8.0, 4.0)) == pytest.approx(160.0)
    assert Budget(None, 10.0, 900.0).seconds_left((20, 40.0, 30.0), (4, 8.0, 4.0)) == pytest.approx(560.0)
    assert Budget(None, cpu_seconds=900.0).seconds_left((20, 40.0, 30.0), (4, 8.0, 4.0)) == pytest.approx(1740.0)


@pytest.mark.parametrize(
    ("budget", "ends", "follows"),
    [
        (Budget(1), "ends after 1 step;", "follows the steps"),
        (Budget(125_200), "ends after 125,200 steps;", "follows the steps"),
        (
            Budget(None, 2.5),
            "ends after 2.5 minutes on the clock;",
            "follows the clock; the same command again gives other",
        ),
        (
            Budget(9, None, 60.0),
            "after 9 steps or 60 processor seconds, whichever",
            "follows whichever of them is nearest",
        ),
    ],
)
def test_a_budget_says_what_it_does(budget: Budget, ends: str, follows: str) -> None:
    assert ends in str(budget)
    assert follows in str(budget)


def test_a_run_limited_by_time_ends_at_its_smallest_learning_rate() -> None:
    progress = Budget(steps=10**6, cpu_seconds=900.0).progress(8000, 950.0, 900.0)
    assert rise_and_fall(progress, 1e-3, 1e-5, 0.05) == pytest.approx(1e-5)


@pytest.mark.parametrize(
    "arguments", [{"steps": None}, {"steps": 0}, {"steps": 5, "wall_minutes": 0.0}, {"steps": 5, "cpu_seconds": -1.0}]
)
def test_impossible_budgets(arguments: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Budget(**arguments)  # pyright: ignore[reportArgumentType]


def test_impossible_schedules() -> None:
    with pytest.raises(ConfigError, match="warmup_epochs"):
        ScheduleConfig(warmup_epochs=-1.0)
    with pytest.raises(ConfigError, match="min_learning_rate"):
        ScheduleConfig(min_learning_rate=-1.0)


def test_the_schedule_of_hi_trs() -> None:
    # 50,000 steps are planned, 1,000 of them warm up; the run ends at step 30,000, after 29 of 49 parts of the fall:
    # 2e-6 + (4e-4 - 2e-6) * 20 / 49 = 1.6445e-4. A third of the way in, at step 10,000: 9 of 49 parts.
    def rate(step: int) -> float:
        return rise_and_fall(step / 30_000, 4e-4, 2e-6, 1 / 30, "linear", 29 / 49)

    assert rate(30_000) == pytest.approx(1.6445e-4, rel=1e-4)
    assert rate(10_000) == pytest.approx(2e-6 + 3.98e-4 * 40 / 49)
    assert rate(500) == pytest.approx(2e-4)


def test_impossible_falls() -> None:
    with pytest.raises(ConfigError, match="share_of_fall must lie in"):
        ScheduleConfig(share_of_fall=0.0)
