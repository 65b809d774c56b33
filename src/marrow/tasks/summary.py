"""From the reports of single runs to what is printed: scores over seeds, and differences to the baselines."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64
from scipy.stats import t as student_t

from marrow.tasks.evaluation_report import EvaluationReport, Report
from marrow.tasks.metrics import bootstrap_interval, mean_and_std, paired_difference_percent
from marrow.tasks.numbers import Clips, Number, scored_by


@dataclass(frozen=True)
class Difference:
    """Trained encoders against a baseline on the same clips.

    Args:
        task: the encoders' task.
        name: which of its predictions.
        clips: "official" or "clean".
        against: "random" or "raw".
        against_task: the baseline's task.
        difference_percent: trained minus baseline, in percentage points, means over seeds.
        low_percent: lower end of its 95 % interval, by paired bootstrap over clips.
        high_percent: upper end.
        by_seed: the difference of each seed, in percentage points.
        verdict: "better" or "worse" where both the interval over clips and, with several seeds, the 95 % t-interval of
            the mean over seeds exclude zero; else "not shown". One seed says nothing of the spread over seeds.
    """

    task: str
    name: str
    clips: str
    against: str
    against_task: str
    difference_percent: float
    low_percent: float
    high_percent: float
    by_seed: tuple[float, ...]
    verdict: str


def measures(evaluation: EvaluationReport) -> list[Number]:
    """Return every number of the reports that is no score of one class per clip."""
    numbers = []
    for (source, task), reports in _by_variant(evaluation).items():
        first, predictions = reports[0], predicted_classes(reports[0])
        for name in (name for name in first.metrics if first.quantity(name).predictions not in predictions):
            # A number that some seeds lack (a class without test segments, say) is a mean over the others.
            by_seed = tuple(report.metrics[name] for report in reports if name in report.metrics)
            ends = [report.intervals[name] for report in reports if name in report.intervals]
            low, high = np.mean(ends, axis=0).tolist() if ends else (None, None)
            mean, std = mean_and_std(list(by_seed))
            numbers.append(Number(source, task, name, first.quantity(name), first.about, mean, std, low, high, by_seed))
    return numbers


def scores(evaluation: EvaluationReport) -> list[Number]:
    """Return every score of one class per clip: official and, where there are copies, clean."""
    return [
        _score(evaluation, of_seeds, name, clips)
        for of_seeds in _by_variant(evaluation).values()
        for name in predicted_classes(of_seeds[0])
        for clips in kinds_of_clips(evaluation)
    ]


def differences(evaluation: EvaluationReport) -> list[Difference]:
    """Compare every task of the trained encoders with the same task at random initialisation, and with coordinates.

    A task that coordinates were asked too is compared with itself (few labels: the same ones). Of others, nearest
    neighbours are compared with nearest neighbours, linear heads with ridge regression. The best epoch is not compared:
    it was chosen on the clips that it is scored on.
    """
    variants = _by_variant(evaluation)
    return [
        _difference(evaluation, ours, theirs, name, clips)
        for (source, task), ours in variants.items()
        if source == "trained"
        for baseline in (("random", task), ("raw", task if ("raw", task) in variants else ours[0].about.beside))
        if (theirs := variants.get(baseline)) is not None
        for name in predicted_classes(ours[0])
        if not scored_by(name).chosen_on_test
        for clips in kinds_of_clips(evaluation)
    ]


def _difference(
    evaluation: EvaluationReport, ours: Sequence[Report], theirs: Sequence[Report], name: str, clips: str
) -> Difference:
    """Compare reports of some seeds with those of a baseline: of the same seed, or all where it has none such."""
    their_name = name if name in predicted_classes(theirs[0]) else "top1"
    partners = [[other for other in theirs if other.seed == report.seed] or theirs for report in ours]
    our_clips = [_correct(evaluation, [report], name, clips) for report in ours]
    their_clips = [_correct(evaluation, others, their_name, clips) for others in partners]
    difference, (low, high) = paired_difference_percent(np.mean(our_clips, axis=0), np.mean(their_clips, axis=0))
    by_seed = tuple(100.0 * float((a - b).mean()) for a, b in zip(our_clips, their_clips, strict=True))
    verdict = _verdict(difference, low, high, by_seed)
    against, task, their_task = theirs[0].source, ours[0].task, theirs[0].task
    return Difference(task, name, clips, against, their_task, difference, low, high, by_seed, verdict)


def _verdict(difference: float, low: float, high: float, by_seed: Sequence[float]) -> str:
    beyond_clips = low > 0 or high < 0
    beyond_seeds = True
    if len(by_seed) > 1:
        half_width = student_t.ppf(0.975, len(by_seed) - 1) * mean_and_std(list(by_seed))[1] / np.sqrt(len(by_seed))
        beyond_seeds = abs(difference) > half_width
    if not (beyond_clips and beyond_seeds):
        return "not shown"
    return "better" if difference > 0 else "worse"


def numbers(evaluation: EvaluationReport) -> dict[str, Any]:
    """Return the numbers of a report alone, as plain values: what `marrow evaluate --json` prints."""
    return {
        "protocol": evaluation.protocol,
        "train_clips": evaluation.train_count,
        "test_clips": len(evaluation.test_rows),
        "clean_test_clips": evaluation.clean_count,
        "seeds": [run.seed for run in evaluation.runs],
        "scores": [score.plain() for score in scores(evaluation)],
        "comparisons": [asdict(difference) for difference in differences(evaluation)],
        "measures": [measure.plain() for measure in measures(evaluation)],
        "notes": evaluation.notes,
    }


def raw_sentences(evaluation: EvaluationReport) -> list[str]:
    """Say plainly, per task, whether the encoders pass the raw coordinates, on the strictest clips there are."""
    strictest = kinds_of_clips(evaluation)[-1]
    sentences = []
    for difference in differences(evaluation):
        if difference.against != "raw" or difference.clips != strictest:
            continue
        size = f"{abs(difference.difference_percent):.1f} points"
        if difference.verdict == "better":
            verdict = f"passes the raw-coordinate baseline by {size}"
        elif difference.difference_percent < 0:
            verdict = f"does not pass the raw-coordinate baseline: {size} below it"
        else:
            verdict = (
                f"is not shown to pass the raw-coordinate baseline: {size} above it, within what clips and seeds vary"
            )
        ends = f"{difference.low_percent:+.1f} to {difference.high_percent:+.1f}"
        interval = f"95 % interval over {strictest} test clips {ends}"
        sentences.append(f"{difference.task}: the encoder {verdict} ({difference.against_task}; {interval}).")
    return sentences


def _by_variant(evaluation: EvaluationReport) -> dict[tuple[str, str], list[Report]]:
    """Group reports that differ only in their seed."""
    groups: dict[tuple[str, str], list[Report]] = {}
    for report in evaluation.reports:
        groups.setdefault((report.source, report.task), []).append(report)
    return groups


def kinds_of_clips(evaluation: EvaluationReport) -> tuple[Clips, ...]:
    """Return which kinds of score there are: official, and clean where test clips are copies of training clips."""
    return ("official", "clean") if 0 < evaluation.clean_count < len(evaluation.test_rows) else ("official",)


def _score(evaluation: EvaluationReport, of_seeds: Sequence[Report], name: str, clips: Clips) -> Number:
    by_seed = tuple(100.0 * float(_correct(evaluation, [report], name, clips).mean()) for report in of_seeds)
    mean, std = mean_and_std(list(by_seed))
    low, high = bootstrap_interval(_correct(evaluation, of_seeds, name, clips))
    first, quantity = of_seeds[0], scored_by(name)
    if clips == "clean":
        quantity = quantity.without_copies(name)
    by_draw = [
        [100.0 * float(right.mean()) for right in _right(evaluation, report, name, clips)] for report in of_seeds
    ]
    draws_std = float(np.mean([mean_and_std(draws)[1] for draws in by_draw])) if len(by_draw[0]) > 1 else None
    return Number(
        *(first.source, first.task, name, quantity, first.about),
        *(mean, std, 100 * low, 100 * high, by_seed, draws_std),
    )


def _correct(
    evaluation: EvaluationReport, of_seeds: Sequence[Report], name: str, clips: str
) -> Float64[np.ndarray, " clip"]:
    """Return, per test clip, the share of seeds (and of draws of labels) that were right."""
    return np.mean([np.mean(_right(evaluation, report, name, clips), axis=0) for report in of_seeds], axis=0)


def _right(evaluation: EvaluationReport, report: Report, name: str, clips: str) -> Bool[np.ndarray, "draw clip"]:
    """Say which test clips each draw of labels was right about."""
    label = np.asarray(evaluation.test_labels)
    counted = ~np.asarray(evaluation.test_copied) if clips == "clean" else np.ones(len(label), bool)
    return np.stack([np.asarray(predicted) == label for predicted in predicted_classes(report)[name]])[:, counted]


def predicted_classes(report: Report) -> dict[str, list[list[int]]]:
    """Return the classes that a report gives the test clips, by the name of the score: once, or once per draw."""
    if report.predictions:
        return {name: [predicted] for name, predicted in report.predictions.items()}
    draws = report.detail.get("draws", [])
    keys = {"top1": "predictions", "top1_best": "predictions_best"}
    return {name: [draw[key] for draw in draws] for name, key in keys.items() if draws and key in draws[0]}
