"""Runs as one HTML page that needs nothing else: no network, and no file beside it."""

import json
import logging
from collections.abc import Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import marrow
from marrow.errors import DataError
from marrow.files import write_text_whole
from marrow.models.heads import holds_recogniser
from marrow.report.cards import card_sentences, cards_html
from marrow.report.classes import classes_html
from marrow.report.clips import MAP_CLIPS, ShownClips, gather_clips
from marrow.report.figures import Figures
from marrow.report.forecasts import forecasts_html
from marrow.report.motion import motion_html
from marrow.report.recognisers import HOW_TO_READ, recognisers_html
from marrow.report.repeat import repeat_html
from marrow.report.runs import Run, experiments, find_store, labels, read_runs
from marrow.report.scores import notes_html, scores_html, verdicts_html
from marrow.report.style import card, packaged, paragraphs
from marrow.report.timelines import timelines_html
from marrow.report.training import training_html, training_verdicts_html
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.train.device import make_fabric
from marrow.viewer.motion import compressed, player_script

_log = logging.getLogger(__name__)

# The browser itself keeps the promise: nothing may be loaded from anywhere.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
)

_HOW_TO_READ = (
    "<b>How to read this.</b> Scores are top-1 accuracy of frozen encoders. Brackets are 95 % intervals by bootstrap "
    "over the test clips; ± is the standard deviation over seeds. Official scores count every test clip of the "
    "protocol; clean scores leave out clips that are bit-identical to a training clip. Differences are paired (same "
    "clips, same seeds); one is called better or worse where both the interval over clips and, with several seeds, "
    "the t-interval over seeds exclude zero. “Last” is the score; “best” is the best epoch on the test clips, as the "
    "literature reports it, and is too high by construction. Numbers of other tasks stand on cards of their own, with "
    "their units; whether a difference there is more than chance is not judged."
)


def write_report(
    runs: Sequence[Path | str],
    out: Path | str,
    *,
    title: str = "marrow report",
    store: Path | str | None = None,
    clips: bool = True,
    device: str = "auto",
    map_clips: int = MAP_CLIPS,
) -> Path:
    """Gather what is known of runs and write the page.

    Args:
        runs: run directories; those that differ only in their seed are summarised over seeds. Or recognisers of
            `marrow finetune`, each of which is shown for itself.
        out: the page.
        title: its heading.
        store: the data, for the clips that are shown; None: where the first run found it.
        clips: whether the page shows motion of the recordings.
        device: where features of the shown clips are extracted.
        map_clips: clips on the map of the features; each can be played.

    Raises:
        DataError: a folder is no run, or a report in it is damaged.
        StoreError: the given store cannot be used.
        ConfigError: too many clips are asked for.
    """
    if clips:
        make_fabric(device, "fp32")  # a device that is not there is said at once
    tuned = [Path(run) for run in runs if holds_recogniser(Path(run))]
    if tuned and len(tuned) == len(runs):
        return _write_recognisers(tuned, Path(out), title, store)
    if tuned:
        raise DataError(
            f"{tuned[0]} is a recogniser of `marrow finetune`, others are not: each kind has a page of its own"
        )
    out, read = Path(out), read_runs(runs)
    groups = experiments(read)
    figures, shown, missing, data = Figures(), None, "", None
    if store is not None or clips:
        data, missing = find_store(read[0], store)
    if not clips:
        missing = "Moving skeletons are left out on request."
    elif data is not None:
        shown = gather_clips(read[0], data, device, map_clips)
    for left_out in [missing] if clips and missing else shown.notes if shown else []:
        _log.warning("The page lacks moving skeletons. %s", left_out)
    body = ""
    for number, (group, name) in enumerate(zip(groups, labels(groups), strict=True), start=1):
        body += _experiment_html(group, name, number, figures, forecasts=clips)
        if number == 1:
            body += _clips_html(shown, missing, group[0], figures)
        body += f"<h2 id='repeat-{number}'>Repeat it</h2>{repeat_html(group, data, out)}"
    contents = [("verdict-1", "Verdict"), ("scores-1", "Scores"), ("training-1", "Pre-training")]
    contents += [("motion", "Motion"), ("repeat-1", "Repeat it")]
    page = page_html(title, body, figures, contents=contents, run_count=len(read))
    write_text_whole(out, page)
    _log.info("wrote %s (%.1f MB)", out, out.stat().st_size / 1e6)
    return out


def _write_recognisers(folders: Sequence[Path], out: Path, title: str, store: Path | str | None) -> Path:
    figures = Figures()
    body = recognisers_html(folders, store, figures)
    contents = [(f"recogniser-{number}", folder.resolve().name) for number, folder in enumerate(folders, start=1)]
    write_text_whole(out, page_html(title, body, figures, contents=contents, how_to_read=HOW_TO_READ))
    _log.info("wrote %s (%.1f MB)", out, out.stat().st_size / 1e6)
    return out


def page_html(
    title: str,
    body: str,
    figures: Figures,
    *,
    run_count: int | None = None,
    contents: Sequence[tuple[str, str]] = (),
    how_to_read: str = _HOW_TO_READ,
) -> str:
    """Return a whole page around its content.

    Args:
        title: of the page.
        body: HTML.
        figures: that were placed in the body, with what else the page's scripts are given.
        run_count: how many runs it is about; None: it is not about runs.
        contents: ids and names of its parts, for links at the top; those that are not in the body are left out.
        how_to_read: HTML at its end.
    """
    runs = "" if run_count is None else f"{run_count} run{'s' if run_count != 1 else ''} · "
    said = f"{runs}marrow {marrow.__version__}"
    links = "".join(f"<a href='#{name}'>{escape(text)}</a>" for name, text in contents if f"id='{name}'" in body)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{packaged('page.css')}</style></head><body><main>"
        f"<header><h1>{escape(title)}</h1><p>{escape(said)}</p><nav aria-label='Contents'>{links}</nav></header>"
        f"{body}<footer><p>{how_to_read}</p></footer></main>\n{_scripts(figures)}</body></html>\n"
    )


def _scripts(figures: Figures) -> str:
    given = {"figures": figures.specs, **figures.data}
    data = "".join(
        f"<script type='application/json' id='{name}'>{_json(value)}</script>\n" for name, value in given.items()
    )
    library = f"<script type='application/gzip' id='plotly'>{_library()}</script>\n" if figures.specs else ""
    return f"{data}{library}<script>{player_script()}</script>\n<script>{packaged('page.js')}</script>\n"


@cache
def _library() -> str:
    """Return plotly.js, 4.8 MB, as 2 MB of text."""
    from plotly.offline import get_plotlyjs

    return compressed(get_plotlyjs().encode("utf-8"))


def _json(value: Any) -> str:
    """Return JSON that cannot end the script element it stands in."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _experiment_html(runs: Sequence[Run], name: str, number: int, figures: Figures, *, forecasts: bool) -> str:
    """Return what is known of runs of one experiment: verdict, scores, pre-training."""
    evaluations = [EvaluationReport.joined(parts) for parts in _by_question(runs)]
    seeds = ", ".join(str(run.seed) for run in runs)
    lead = f"{len(runs)} run{'s' if len(runs) > 1 else ''} (seed{'s' if len(runs) > 1 else ''} {seeds})"
    verdicts = "".join(
        f"<p class='lead'>{escape(_about(evaluation))}</p>{verdicts_html(evaluation)}"
        f"{paragraphs(card_sentences(evaluation), 'verdict')}"
        for evaluation in evaluations
    )
    if not evaluations:
        verdicts = paragraphs([_not_evaluated(runs)], "note")
    parts = [
        f"<h2 id='verdict-{number}'>{escape(name)}</h2><p class='lead'>{escape(lead)}</p>",
        card("Verdict", verdicts + training_verdicts_html(runs), wide=True),
    ]
    for place, evaluation in enumerate(evaluations):
        anchor = f" id='scores-{number}'" if place == 0 else ""
        same_name = sum(other.protocol == evaluation.protocol for other in evaluations) > 1
        data = f" of data {evaluation.store[:8]}" if same_name else ""
        parts.append(f"<h2{anchor}>Scores on {escape(evaluation.protocol)}{data}</h2>")
        parts += [scores_html(evaluation, figures), classes_html(evaluation, figures)]
        parts += [cards_html(evaluation, figures), timelines_html(evaluation)]
        if forecasts:  # they are kept in reports: to show them, no store is needed
            moving, reel = forecasts_html(evaluation, f"forecasts-{number}-{place}")
            parts.append(moving)
            if reel is not None:
                figures.data[f"forecasts-{number}-{place}"] = reel.payload()
        parts.append(notes_html(evaluation))
    parts += [f"<h2 id='training-{number}'>Pre-training</h2>", training_html(runs, figures)]
    return "".join(parts)


def _clips_html(shown: ShownClips | None, missing: str, run: Run, figures: Figures) -> str:
    """Return the clips that the page shows, or say why there are none."""
    if shown is None:
        return f"<h2 id='motion'>Motion</h2>{paragraphs([missing], 'note')}" if missing else ""
    return f"<h2 id='motion'>Motion</h2>{_recordings(shown, run)}{motion_html(shown, figures)}"


def _recordings(shown: ShownClips, run: Run) -> str:
    """Say whose motion the page holds."""
    if not shown.reel.motions:
        return ""
    if shown.source == "synthetic":
        return f"<p class='lead'>Synthetic motion, made by marrow; features and predictions of {escape(run.name)}.</p>"
    said = (
        f"This page holds motion of {len(shown.reel.motions)} recordings that were read with {shown.source!r}: "
        "mind their terms before you pass it on. With --no-clips it is made without them."
    )
    return paragraphs([said], "note")


def _by_question(runs: Sequence[Run]) -> list[list[EvaluationReport]]:
    """Group evaluations by protocol and data: two data sets may call a protocol alike."""
    groups: dict[tuple[str, str], list[EvaluationReport]] = {}
    for run in runs:
        for evaluation in run.evaluations:
            groups.setdefault((evaluation.protocol, evaluation.store), []).append(evaluation)
    return list(groups.values())


def _about(evaluation: EvaluationReport) -> str:
    if min(evaluation.test_labels, default=0) < 0:
        # Their labels, if any, are those of segments.
        return (
            f"{evaluation.protocol}: {evaluation.train_count:,} training and {len(evaluation.test_rows):,} test "
            "recordings, which have no label as a whole."
        )
    return (
        f"{evaluation.protocol}: {evaluation.train_count:,} labelled training clips, {len(evaluation.test_rows):,} "
        f"test clips, {len(evaluation.classes)} classes."
    )


def _not_evaluated(runs: Sequence[Run]) -> str:
    first = runs[0]
    protocol = first.settings.get("protocol") or "PROTOCOL"
    folders = " ".join(str(run.folder) for run in runs)
    return (
        f"Not evaluated yet. Run: marrow evaluate {folders} --store {first.settings.get('store', 'STORE')} "
        f"--protocol {protocol}"
    )
