"""Is it working, and when may it stop? An answer in plain words, read off the log of a run. Pure functions.

What is looked for, the worst first: features that have collapsed, a loss that rises, an encoder no better than its own
random initialisation, a processor that waits for data, and curves that have gone flat. A run that was extended is
judged by what came after: its learning rate has risen again, and with it, for a while, its loss.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, Literal

_LONGER = "a longer run may do better (the same command with a larger limit goes on from here)."

Level = Literal["good", "wait", "warning"]
Entries = Sequence[Mapping[str, Any]]

# A run is cut into so many blocks of equally many steps; a curve is flat when the last three agree.
_BLOCKS = 10
_FLAT_BLOCKS = 3
# Fewer entries than this say nothing about a trend.
_FEWEST_ENTRIES = 2 * _BLOCKS
# A change of the loss counts from this share of all that it has fallen.
_LOSS_TOLERANCE = 0.01
# Not learning: neighbours are surely not better than at random initialisation by so many points.
_WORTHWHILE_POINTS = 5.0
# Nor if the loss is more than this share of that of predicting the mean.
_SHARE_OF_MEAN = 0.98
# Collapsed: clips differ by less than this share of their features' length, or by less than one direction.
COLLAPSED_SPREAD_PERCENT = 0.1
COLLAPSED_RANK = 1.05
# Narrowing: the effective rank is less than this share of that at random initialisation.
NARROW_SHARE = 0.2
# Before this share of a run, flat curves say little: losses fall once more when the learning rate does.
_LATE = 0.75
# Starved: the step waits for data for more than this share of the time.
STARVED_PERCENT = 30.0
_FEWEST_WAITS = 6


@dataclass(frozen=True)
class Verdict:
    """What to make of a run.

    Args:
        level: "good": go on, or stop with a good conscience; "wait": too early to tell; "warning": something is wrong.
        headline: one or two words: Learning, Flat, Collapsed, Starved, ...
        sentences: what was seen, and what to do; whole sentences.
    """

    level: Level
    headline: str
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.headline}: {' '.join(self.sentences)}"


def judge(entries: Entries) -> Verdict:
    """Judge a run by the entries of its log, as `marrow.train.logs.read_log` returns them.

    Args:
        entries: in the order of their steps. Those with numbers of the monitor (`effective_rank`,
            `nearest_neighbour_percent`, ...) say most, but none is needed.
    """
    if not entries:
        return Verdict("wait", "Nothing yet", ("The log holds no entry.",))
    extended = entries[-1].get("extended_from_step")
    entries = [entry for entry in entries if entry.get("extended_from_step") == extended]
    measured = [entry for entry in entries if "effective_rank" in entry]
    state = _state(entries, measured)
    if measured and _has_collapsed(measured[-1]):
        last = measured[-1]
        advice = (
            f"At step {last['step']} every clip has almost the same features (they differ by "
            f"{last['feature_spread_percent']:.2g} % of their length, effective rank {last['effective_rank']:.1f}).",
            "They tell nothing apart: stop, and try a lower optimizer.learning_rate or a harder pretext task.",
        )
        return Verdict("warning", "Collapsed", advice)

    loss = _Curve(entries, "loss")
    score = _Curve(measured, "nearest_neighbour_percent")
    finished = entries[-1].get("progress", 0.0) >= 1.0
    problems = list(_problems(entries, measured, loss))
    if problems:
        headline, advice = problems[0]
        return Verdict("warning", headline, (state, advice, *(f"{name}: {more}" for name, more in problems[1:])))
    if len(entries) < _FEWEST_ENTRIES:
        count = "1 entry" if len(entries) == 1 else f"{len(entries)} entries"
        words = f"With {count} in the log it is too early for a trend."
        return Verdict("good" if finished else "wait", "Finished" if finished else "Too early to tell", (state, words))

    flat_since = _flat_since(loss, score)
    if flat_since is not None:
        if score.means:
            moved = "Neither loss nor neighbours have moved"
            advice = "a longer run is not expected to help" if finished else "stopping costs nothing"
        else:
            moved = "The loss has hardly moved"
            advice = "as far as it tells, " + ("a longer run will not help" if finished else "stopping costs little")
        if not finished and entries[-1].get("progress", 0.0) < _LATE:
            words = (
                f"{moved} since step {flat_since}, but the learning rate has yet to fall, and losses with it: go on."
            )
            return Verdict("wait", "Flat so far", (state, words))
        return Verdict("good", "Flat", (state, f"{moved} since step {flat_since}: {advice}."))
    advice = f"{_recent_gain(loss, score)}: " + (_LONGER if finished else "go on.")
    return Verdict("good", "Learning", (state, advice))


class _Curve:
    """One number of the log over a run, as means over blocks of equally many steps.

    Args:
        entries: of the log.
        name: which number.
    """

    def __init__(self, entries: Entries, name: str) -> None:
        # Steps are counted from where the run began, or was extended.
        self.start = (entries[0].get("extended_from_step") or 0) if entries else 0
        points = [(entry["step"] - self.start, float(entry[name])) for entry in entries if name in entry]
        self.steps = points[-1][0] if points else 0
        blocks: list[list[float]] = [[] for _ in range(_BLOCKS)]
        for step, value in points:
            blocks[min(_BLOCKS - 1, (step - 1) * _BLOCKS // max(1, self.steps)) if step > 0 else 0].append(value)
        self.means = [(block, fmean(values)) for block, values in enumerate(blocks) if values]
        self.last = points[-1][1] if points else math.nan
        self._values = [value for _, value in points]

    def noise(self) -> float:
        """Return the standard error of the mean of a block, from second differences: a trend is no noise."""
        values = self._values
        if len(values) < 3:
            return 0.0
        bend = median(abs(a - 2.0 * b + c) for a, b, c in zip(values, values[1:], values[2:], strict=False))
        # For normal numbers with deviation d, a second difference has deviation d * sqrt(6), and 0.6745 of that as
        # the median of its size.
        return bend / 0.6745 / math.sqrt(6.0) / math.sqrt(len(values) / len(self.means))

    def settled_in(self, tolerance: float) -> int | None:
        """Return the first block from which on all means lie within the tolerance of the last one."""
        if len(self.means) < 2:
            return None
        first, level = self.means[-1]
        for block, mean in reversed(self.means):
            if abs(mean - level) > tolerance:
                break
            first = block
        return first

    def recent_gain(self) -> float | None:
        """Return the mean over the last fifth of the run minus that over the fifth before."""
        late = [mean for block, mean in self.means if block >= _BLOCKS - 2]
        before = [mean for block, mean in self.means if _BLOCKS - 4 <= block < _BLOCKS - 2]
        return fmean(late) - fmean(before) if late and before else None


def _state(entries: Entries, measured: Entries) -> str:
    """Say where the run is: neighbours, rank, loss."""
    parts = []
    if measured:
        last = measured[-1]
        if "nearest_neighbour_percent" in last:
            parts.append(
                f"nearest neighbours{' among other people' if 'monitor_people' in last else ''} "
                f"{last['nearest_neighbour_percent']:.1f} % (random initialisation "
                f"{last['nearest_neighbour_random_percent']:.1f}, chance {last['chance_percent']:.1f}"
                + (f"; ± {2.0 * _gain_over_random(last)[1]:.0f} with {last['monitor_clips']:.0f} clips)")
            )
        parts.append(f"effective rank {last['effective_rank']:.0f} of {last['feature_dim']:.0f}")
    last = entries[-1]
    beside = f" against {last['loss_of_mean']:.3g} for the mean" if "loss_of_mean" in last else ""
    parts.append(f"loss {last['loss']:.3g}{beside}")
    sentence = ", ".join(parts) + "."
    return sentence[0].upper() + sentence[1:]


def _has_collapsed(entry: Mapping[str, Any]) -> bool:
    spread = entry.get("feature_spread_percent", math.inf)
    return spread < COLLAPSED_SPREAD_PERCENT or entry["effective_rank"] < COLLAPSED_RANK


def _problems(entries: Entries, measured: Entries, loss: _Curve) -> Iterator[tuple[str, str]]:
    """Yield what is wrong, the worst first: a headline and a sentence each."""
    progress = entries[-1].get("progress", 0.0)
    if len(entries) >= _FEWEST_ENTRIES:
        lowest_block, lowest = min(loss.means, key=lambda mean: mean[1])
        rise = loss.means[-1][1] - lowest
        least_rise = max(_loss_tolerance(loss), 0.1 * abs(loss.means[0][1] - lowest))
        if rise > least_rise and lowest_block < _BLOCKS - 2:
            words = (
                f"The loss has risen again, from {lowest:.3g} to {loss.means[-1][1]:.3g}: "
                "lower optimizer.learning_rate or set optimizer.clip_norm."
            )
            yield "Diverging", words
        if progress >= 0.5 and loss.means[-1][1] > _SHARE_OF_MEAN * entries[-1].get("loss_of_mean", math.inf):
            words = (
                "The loss is not below that of predicting the mean, and more than half of the run is over: give it "
                "more steps, a higher optimizer.learning_rate, or an easier target."
            )
            yield "Not learning", words
    last = measured[-1] if measured else {}
    if "nearest_neighbour_percent" in last and last.get("progress", 0.0) >= 0.5:
        gain, error = _gain_over_random(last)
        if gain + 2.0 * error < _WORTHWHILE_POINTS:
            words = (
                "The encoder tells actions apart no better than at random initialisation, and more than half of the "
                "run is over: look at the data (`marrow inspect`), the learning rate, and how much is hidden."
            )
            yield "Not learning", words
    if measured and last["effective_rank"] < NARROW_SHARE * last.get("effective_rank_random", 0.0):
        words = (
            f"The features use few directions, effective rank {last['effective_rank']:.1f} where random initialisation "
            f"has {last['effective_rank_random']:.1f}: they may be about to collapse."
        )
        yield "Narrowing", words
    waiting = [entry["waiting_share_percent"] for entry in entries if "waiting_share_percent" in entry]
    # The first batches wait for what is compiled or read once.
    if len(waiting) >= _FEWEST_WAITS and (share := fmean(waiting[len(waiting) // 2 :])) > STARVED_PERCENT:
        words = (
            f"{share:.0f} % of the time goes into waiting for data: use more workers, a faster disk, or "
            "loader resident, which keeps the frames in memory."
        )
        yield "Starved", words


def _loss_tolerance(loss: _Curve) -> float:
    """Return how far two means of the loss may differ and still count as the same."""
    fallen = loss.means[0][1] - min(mean for _, mean in loss.means)
    return max(_LOSS_TOLERANCE * fallen, 2.0 * loss.noise())


def _gain_over_random(entry: Mapping[str, Any]) -> tuple[float, float]:
    """Return by how many points neighbours are better than at random initialisation, and the standard error of that."""
    scores = entry["nearest_neighbour_percent"], entry["nearest_neighbour_random_percent"]
    variance = sum(score * (100.0 - score) for score in scores) / entry["monitor_clips"]
    return scores[0] - scores[1], math.sqrt(variance)


def _flat_since(loss: _Curve, score: _Curve) -> int | None:
    """Return the step since which both curves (or the loss, where no neighbours were asked) are flat; else None."""
    settled = [loss.settled_in(_loss_tolerance(loss))]
    if len(score.means) > 1:
        settled.append(score.settled_in(max(1.0, 2.0 * score.noise())))
    if any(block is None or block > _BLOCKS - _FLAT_BLOCKS for block in settled):
        return None
    return loss.start + max(block for block in settled if block is not None) * loss.steps // _BLOCKS


def _recent_gain(loss: _Curve, score: _Curve) -> str:
    """Say what has improved of late: the neighbours with the loss, or the loss alone."""
    points, fall = score.recent_gain(), loss.recent_gain()
    if fall is None:
        return "It was still improving"
    if points is not None and points <= 0.0:
        return f"The loss was still falling ({fall:+.2g} over the last fifth; neighbours {points:+.1f} points)"
    gained = "" if points is None else f"{points:+.1f} points, "
    return f"It was still improving ({gained}loss {fall:+.2g} over the last fifth)"
