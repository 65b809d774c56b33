"""Recognisers as a page: how often they are right, how sure an answer of theirs may be, and what to do with them."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import yaml

from marrow.data.subsets import protocol_rows
from marrow.errors import DataError, MarrowError
from marrow.report.classes import classes_html
from marrow.report.figures import Figures
from marrow.report.style import card, paragraphs, table
from marrow.store.format import Store
from marrow.tasks.base import Report, TaskData
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.train.run_directory import CONFIG
from marrow.use.known import Known

HOW_TO_READ = (
    "<b>How to read this.</b> “Last” is the score after the last epoch; “best” is that of the best epoch on the test "
    "clips, as the literature reports it, and is too high by construction. Brackets are 95 % intervals by bootstrap "
    "over the test clips. Clean scores leave out clips that are bit-identical to a training clip. The expected "
    "calibration error is how far the probability of an answer is from how often such answers are right, in percentage "
    "points, averaged over clips in 15 bins; with few clips it is above zero by chance alone."
)


@dataclass(frozen=True)
class Tuned:
    """The folder of a recogniser.

    Args:
        folder: where it is.
        settings: of its fine-tuning.
        report: its scores.
        known: how sure its answers may be; None: that was not learned.
    """

    folder: Path
    settings: dict[str, Any]
    report: Report
    known: Known | None

    @classmethod
    def read(cls, folder: Path) -> "Tuned":
        """Read what `marrow finetune` has left.

        Raises:
            DataError: it is damaged, unfinished, or was passed on without its scores.
        """
        try:
            settings = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
            return cls(folder, dict(settings), Report.load(folder / "report.json"), Known.load(folder))
        except FileNotFoundError as error:
            raise DataError(
                f"{folder} is a recogniser without its scores (expected {CONFIG} and report.json, as `marrow finetune` "
                "leaves them when it has finished)"
            ) from error
        except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
            raise DataError(f"{folder}: cannot be read as a recogniser's folder: {error}") from error


def recognisers_html(folders: Sequence[Path], store: Path | str | None, figures: Figures) -> str:
    """Return what is known of each recogniser.

    Args:
        folders: of `marrow finetune`.
        store: the data, for the confusion of classes; None: where the fine-tuning found it.
        figures: the charts of the page.
    """
    parts = []
    for number, folder in enumerate(folders, start=1):
        tuned = Tuned.read(folder)
        evaluation, missing = _evaluation(tuned, store)
        parts += [
            f"<h2 id='recogniser-{number}'>{escape(folder.resolve().name)}</h2>",
            paragraphs([f"{tuned.settings['protocol']}: {tuned.report.noted['note']}"], "lead"),
            card("How often it is right", _scores_html(tuned.report)),
            card("How sure an answer may be", _sureness_html(tuned.known)),
            classes_html(evaluation, figures) if evaluation else paragraphs([missing], "note"),
            card("What comes next", _next_html(folder)),
        ]
    return "".join(parts)


def _scores_html(report: Report) -> str:
    rows = []
    for name, value in report.metrics.items():
        quantity = report.quantity(name)
        low, high = report.intervals.get(name, (value, value))
        reading = "" if quantity.chosen_on_test or not quantity.reading else f" ({quantity.reading})"
        rows.append([escape(quantity.words + reading), f"{value:.1f}", f"[{low:.1f}, {high:.1f}]"])
    return table(["", "percent", "95 % over clips"], rows)


def _sureness_html(known: Known | None) -> str:
    """Return what is known of the probabilities, as a table and in sentences."""
    if known is None:
        said = (
            "Not learned: probabilities are not calibrated, and nothing is ever unknown. The `marrow finetune` command "
            "that made it, given again without --no_held_out, adds that."
        )
        return paragraphs([said])
    before, after = known.calibration_error_percent or (None, None)
    rows = [
        ["temperature", "1.00", f"{known.temperature:.2f}"],
        ["expected calibration error, percent", *(_number(value) for value in (before, after))],
    ]
    said = [sentence[:1].upper() + sentence[1:] + "." for sentence in known.sentences()[1:]]
    if before is not None and after is not None and after > before:
        said.insert(0, "The temperature is chosen by likelihood; by this measure it does not help here.")
    lead = paragraphs([f"{known.held_out_clips} held-out clips ({known.chosen_on})"], "lead")
    return lead + table(["", "before", "calibrated"], rows) + paragraphs(said)


def _number(value: float | None) -> str:
    return "too few clips" if value is None else f"{value:.1f}"


def _next_html(folder: Path) -> str:
    """Return the commands that use a recogniser."""
    name = shlex.quote(str(folder))
    lines = [
        f"marrow predict {name} FILE_OR_FOLDER --csv answers.csv",
        f"marrow export {name} --out {folder.resolve().name}.onnx",
        f"marrow pack {name} --out {folder.resolve().name}_packed",
    ]
    return f"<pre>{escape(chr(10).join(lines))}</pre>"


def _evaluation(tuned: Tuned, given: Path | str | None) -> tuple[EvaluationReport | None, str]:
    """Return the scores beside their test clips, for charts by class; or None, and why there are none."""
    place, report = given or tuned.settings["store"], tuned.report
    try:
        store = Store.open(place)
        if store.fingerprint != report.fingerprints["store"]:
            return None, f"No confusion of classes: {place} holds other data than {tuned.folder.name} was scored on."
        protocol = tuned.settings["protocol"]
        clips = TaskData(store, *protocol_rows(store, protocol), protocol=protocol).test_clips()
    except MarrowError as error:
        if given is not None:
            raise
        return None, f"No confusion of classes, which takes the store ({error}); name it with --store."
    evaluation = EvaluationReport(
        *(protocol, store.fingerprint, list(store.classes), report.num_labels_used),
        *(clips.row.tolist(), clips.label.tolist(), clips.copied.tolist()),
        runs=[],
        reports=[replace(report, source="trained")],  # one from scratch, too: here it stands alone
    )
    return evaluation, ""
