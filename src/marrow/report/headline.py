"""What an encoder is good for on some data, in plain words: no more than the intervals of its scores allow."""

from collections.abc import Sequence

from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.summary import Difference, differences, kinds_of_clips, scores


def headline(evaluation: EvaluationReport) -> str:
    """Say whether the encoders tell classes apart better than raw coordinates do, and whether training was worth it.

    Of the clips that are hardest to get by luck: without copies, where there are copies. "" where nothing was compared.
    """
    strictest = kinds_of_clips(evaluation)[-1]
    compared = [difference for difference in differences(evaluation) if difference.clips == strictest]
    of_raw = [difference for difference in compared if difference.against == "raw"]
    of_random = [difference for difference in compared if difference.against == "random"]
    sentences = [_beside_raw(of_raw, evaluation)] if of_raw else []
    sentences += [_worth_of_training(of_random)] if of_random else []
    return " ".join(sentences)


def _beside_raw(judged: Sequence[Difference], evaluation: EvaluationReport) -> str:
    better, worse = _of(judged, "better"), _of(judged, "worse")
    classes = f"the {len(evaluation.classes)} classes"
    if better:
        said = f"On this data the encoder tells {classes} apart better than raw coordinates do in"
        said += f" {_tests(better, judged)}, the most by {_shown(max(better, key=_size), evaluation)}"
        if worse:
            return f"{said}; in {len(worse)} raw coordinates are better."
        return f"{said}." if len(better) == len(judged) else f"{said}; in the others no difference is shown."
    if worse:
        said = f"On this data raw coordinates tell {classes} apart better than the encoder does in"
        said += f" {_tests(worse, judged)}, the most by {_shown(min(worse, key=_size), evaluation)}"
        return f"{said}." if len(worse) == len(judged) else f"{said}; in the others no difference is shown."
    lowest = min(difference.low_percent for difference in judged)
    highest = max(difference.high_percent for difference in judged)
    return (
        f"On this data the encoder is not shown to tell {classes} apart better or worse than raw coordinates do: all "
        f"intervals lie within {lowest:+.0f} and {highest:+.0f} points, and hold zero."
    )


def _worth_of_training(judged: Sequence[Difference]) -> str:
    better, worse = _of(judged, "better"), _of(judged, "worse")
    if worse:
        return f"Training made it worse than the untrained encoder in {len(worse)} of {len(judged)} tests."
    if not better:
        return "Training is not shown to have made it better than the untrained encoder."
    return f"Training made it better than the untrained encoder in {_tests(better, judged)}."


def _tests(some: Sequence[Difference], judged: Sequence[Difference]) -> str:
    return "every test" if len(some) == len(judged) else f"{len(some)} of {len(judged)} tests"


def _size(difference: Difference) -> float:
    return difference.difference_percent


def _of(judged: Sequence[Difference], verdict: str) -> list[Difference]:
    return [difference for difference in judged if difference.verdict == verdict]


def _shown(difference: Difference, evaluation: EvaluationReport) -> str:
    """Name a test, the encoders' score in it, and the difference with its interval."""
    numbers = {(n.source, n.task, n.name, n.quantity.clips): n for n in scores(evaluation)}
    number = numbers["trained", difference.task, difference.name, difference.clips]
    ends = f"{difference.low_percent:+.0f} to {difference.high_percent:+.0f}"
    return f"{number.about.name} ({number.mean:.0f} %, {difference.difference_percent:+.0f} points, {ends})"
