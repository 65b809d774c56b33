import math
from typing import Any

import pytest

from marrow.train.verdict import judge


def _log(losses: list[float], scores: list[float] | None = None, *, done: float = 0.8, **more: float) -> list[dict]:
    """Entries of a run that is done to some share; every tenth has been measured."""
    entries: list[dict[str, Any]] = []
    for number, loss in enumerate(losses, start=1):
        progress = done * number / len(losses)
        entry: dict[str, Any] = {"step": 20 * number, "progress": progress, "loss": loss, "loss_of_mean": 0.93}
        if number % 10 == 0:
            entry |= {"effective_rank": 57.4, "feature_dim": 128.0, "feature_spread_percent": 60.0}
            entry |= {"effective_rank_random": 31.0, "monitor_clips": 512.0}
            if scores is not None:
                entry |= {"nearest_neighbour_percent": scores[number // 10 - 1]}
                entry |= {"nearest_neighbour_random_percent": 30.1, "chance_percent": 3.3}
        entries.append(entry | more)
    return entries


_FALLING = [0.3 + 0.6 * (1 - number / 100) for number in range(100)]
_RISING_SCORES = [30.0 + number for number in range(10)]
_SETTLED = [0.3 + 0.6 * math.exp(-number / 5) for number in range(100)]


def test_an_empty_log_says_nothing() -> None:
    assert (judge([]).level, judge([]).headline) == ("wait", "Nothing yet")


def test_a_run_that_still_improves() -> None:
    verdict = judge(_log(_FALLING, _RISING_SCORES))
    assert (verdict.level, verdict.headline) == ("good", "Learning")
    assert verdict.sentences[0] == (
        "Nearest neighbours 39.0 % (random initialisation 30.1, chance 3.3; ± 6 with 512 clips), "
        "effective rank 57 of 128, loss 0.306 against 0.93 for the mean."
    )
    # Means of the last two blocks, 38 and 39, minus those of the two before, 36 and 37; the loss falls by 0.006 in one.
    assert verdict.sentences[1] == "It was still improving (+2.0 points, loss -0.12 over the last fifth): go on."
    assert str(verdict) == f"Learning: {' '.join(verdict.sentences)}"


def test_neighbours_that_fall_are_not_called_an_improvement() -> None:
    # Means of the last two blocks, 39 and 38, minus those of the two before, 41 and 40.
    verdict = judge(_log(_FALLING, [48.0 - number for number in range(10)]))
    assert (
        verdict.sentences[1] == "The loss was still falling (-0.12 over the last fifth; neighbours -2.0 points): go on."
    )


def test_a_finished_run_is_told_that_longer_may_be_better() -> None:
    assert "a longer run may do better" in str(judge(_log(_FALLING, _RISING_SCORES, done=1.0)))


def test_few_entries_are_no_trend() -> None:
    verdict = judge(_log(_FALLING[:19]))
    assert (verdict.level, verdict.headline) == ("wait", "Too early to tell")
    assert "19 entries" in str(verdict)


def test_flat_since_the_step_from_which_nothing_moved() -> None:
    verdict = judge(_log(_SETTLED, [35.0, 39.0, 40.0, 40.5, 40.0, 40.2, 39.9, 40.1, 40.0, 40.0]))
    assert (verdict.level, verdict.headline) == ("good", "Flat")
    # Blocks are 200 steps, in each of which the rest of the fall shrinks to exp(-2) of itself: after three, to 0.25 %.
    assert verdict.sentences[-1] == "Neither loss nor neighbours have moved since step 600: stopping costs nothing."
    finished = judge(_log(_SETTLED, None, done=1.0))
    assert finished.sentences[-1] == (
        "The loss has hardly moved since step 600: as far as it tells, a longer run will not help."
    )


def test_flat_curves_say_little_while_the_learning_rate_has_yet_to_fall() -> None:
    early = judge(_log(_SETTLED, None, done=0.5))
    assert (early.level, early.headline) == ("wait", "Flat so far")
    assert "the learning rate has yet to fall" in early.sentences[-1]
    assert "stopping" not in str(early)
    assert judge(_log(_SETTLED, None, done=0.75)).headline == "Flat"


def test_an_extended_run_is_judged_by_what_came_after() -> None:
    """The loss rises with the learning rate when the run goes on at step 2000; blocks are counted from there."""
    before = _log([0.2] * 100, done=1.0)
    after = [{**entry, "step": entry["step"] + 2000, "extended_from_step": 2000} for entry in _log(_SETTLED, done=1.0)]
    verdict = judge([*before, *after])
    assert (verdict.level, verdict.headline) == ("good", "Flat")
    # As in the run above that settled at step 600 of its own.
    assert "since step 2600" in verdict.sentences[-1]
    assert judge([*before, *after[:5]]).headline == "Too early to tell"


def test_a_flat_loss_with_rising_neighbours_goes_on() -> None:
    assert judge(_log(_SETTLED, [30.0 + 2 * number for number in range(10)])).headline == "Learning"


def test_noise_is_no_improvement() -> None:
    noisy = [loss + 0.02 * math.sin(1.7 * number * number) for number, loss in enumerate(_SETTLED)]
    assert judge(_log(noisy)).headline == "Flat"


@pytest.mark.parametrize("more", [{"feature_spread_percent": 0.01}, {"effective_rank": 1.01}])
def test_collapse_outweighs_everything(more: dict[str, float]) -> None:
    entries = _log(_FALLING, _RISING_SCORES)
    entries[-1] |= more
    verdict = judge(entries)
    assert (verdict.level, verdict.headline) == ("warning", "Collapsed")
    assert "step 2000" in str(verdict)
    assert judge(entries[:-1]).headline == "Learning"


def test_few_directions_are_a_warning() -> None:
    entries = _log(_FALLING, _RISING_SCORES)
    entries[-1] |= {"effective_rank": 3.0}
    verdict = judge(entries)
    assert (verdict.level, verdict.headline) == ("warning", "Narrowing")
    assert "effective rank 3.0" in str(verdict)


def test_waiting_for_data_is_a_warning() -> None:
    verdict = judge(_log(_FALLING, _RISING_SCORES, waiting_share_percent=63.2))
    assert (verdict.level, verdict.headline) == ("warning", "Starved")
    assert "63 % of the time" in str(verdict)
    assert judge(_log(_FALLING, waiting_share_percent=12.0)).headline == "Learning"
    # A slow start does not count: the later half of the entries decides.
    entries = _log(_FALLING, waiting_share_percent=1.0)
    for entry in entries[:40]:
        entry["waiting_share_percent"] = 90.0
    assert judge(entries).headline == "Learning"


def test_no_better_than_random_is_a_warning_from_half_of_the_run_on() -> None:
    # One standard error of the difference of two shares near 30 % of 512 clips is 2.8 points.
    assert judge(_log(_FALLING, [29.0] * 10)).headline == "Not learning"
    assert judge(_log(_FALLING, [29.0] * 10, done=0.4)).headline == "Learning"
    assert judge(_log(_FALLING, [31.0] * 10)).headline == "Learning"
    # 128 clips are too few to say so.
    assert judge(_log(_FALLING, [29.0] * 10, monitor_clips=128.0)).headline == "Learning"


def test_a_loss_that_rises_again_is_a_warning() -> None:
    rising = [*_SETTLED[:50], *(0.3 + 0.01 * number for number in range(50))]
    verdict = judge(_log(rising, _RISING_SCORES))
    assert (verdict.level, verdict.headline) == ("warning", "Diverging")


def test_of_several_problems_the_worst_is_the_headline_and_all_are_told() -> None:
    verdict = judge(_log(_FALLING, [29.0] * 10, waiting_share_percent=50.0))
    assert verdict.headline == "Not learning"
    assert any(sentence.startswith("Starved: ") for sentence in verdict.sentences)


def test_a_log_without_a_monitor_or_a_mean_is_enough() -> None:
    entries = [{"step": number, "loss": 1.0 - number / 50} for number in range(1, 41)]
    assert str(judge(entries)).startswith("Learning: Loss 0.2. It was still improving (loss -0.16 over the last fifth)")


def test_a_loss_that_stays_at_the_mean_is_not_learning() -> None:
    # 0.93 is the loss of predicting the mean; less than 2 % below it is nothing.
    stuck = judge(_log([0.93 - 0.0001 * number for number in range(100)]))
    assert (stuck.level, stuck.headline) == ("warning", "Not learning")
    assert "not below that of predicting the mean" in stuck.sentences[1]
    assert judge(_log([0.93 - 0.001 * number for number in range(100)])).headline == "Learning"
    early = judge(_log([0.93 - 0.0001 * number for number in range(100)], done=0.4))
    assert early.headline != "Not learning"
