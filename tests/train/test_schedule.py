import pytest
from hypothesis import given
from hypothesis import strategies as st

from marrow.errors import ConfigError
from marrow.train.schedule import Budget, ScheduleConfig, rise_and_fall


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
