"""Reports of many runs as one HTML page that needs nothing else: no network, no script, no recordings."""

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

import marrow
from marrow.errors import DataError
from marrow.report.charts import Line, Mark, confusion_chart, interval_chart, line_chart
from marrow.report.style import CSS, MUTED, RANDOM, RAW, SEEDS, TRAINED
from marrow.tasks.evaluate import EvaluationReport, RunFacts
from marrow.tasks.metrics import confusion_matrix
from marrow.tasks.summary import Comparison, Score, comparisons, raw_sentences, scores
from marrow.train.logs import read_log

_SOURCES = {"trained": ("trained encoder", TRAINED), "random": ("same encoder, random initialisation", RANDOM)}
_RAW_NAME = "raw aligned coordinates, no encoder"
# What may differ between runs of one experiment.
_NOT_THE_EXPERIMENT = ("seed", "store", "out", "device", "processes", "threads", "workers", "loader", "log_every")


def write_report(runs: Sequence[Path | str], out: Path | str, *, title: str = "marrow report") -> Path:
    """Gather the reports of runs and write the page.

    Args:
        runs: run directories.
        out: the page.
        title: its heading.

    Raises:
        DataError: none of the runs has been evaluated, or a report is damaged.
    """
    folders = [Path(run) for run in runs]
    files = [(folder, path) for folder in folders for path in sorted((folder / "reports").glob("*.json"))]
    if not files:
        raise DataError(
            f"no report in {', '.join(str(folder / 'reports') for folder in folders)}; run `marrow evaluate` first"
        )
    experiments: dict[str, dict[str, list[EvaluationReport]]] = {}
    for _, path in files:
        report = EvaluationReport.load(path)
        key = _experiment(report.runs[0])
        experiments.setdefault(key, {}).setdefault(report.protocol, []).append(report)
    logs = {folder.resolve().name: read_log(folder / "log.jsonl") for folder in folders}
    body = [
        _experiment_html(EvaluationReport.joined(parts) for parts in by_protocol.values())
        + _loss_html([run.name for parts in by_protocol.values() for part in parts for run in part.runs], logs)
        + _settings_html(next(iter(by_protocol.values())))
        for by_protocol in experiments.values()
    ]
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page_html(title, "".join(body), run_count=len(folders)), encoding="utf-8")
    return out


def page_html(title: str, body: str, *, run_count: int) -> str:
    """Return a whole page around its content."""
    said = f"{run_count} run{'s' if run_count != 1 else ''} · marrow {marrow.__version__}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head><body><main>"
        f"<header><h1>{escape(title)}</h1><p>{escape(said)}</p></header>{body}"
        f"<footer>{_HOW_TO_READ}</footer></main></body></html>\n"
    )


_HOW_TO_READ = (
    "<b>How to read this.</b> Scores are top-1 accuracy of frozen encoders. Brackets are 95 % intervals by bootstrap "
    "over the test clips; ± is the standard deviation over seeds. Official scores count every test clip of the "
    "protocol; clean scores leave out clips that are bit-identical to a training clip. Differences are paired (same "
    "clips, same seeds); one is called better or worse where both the interval over clips and, with several seeds, "
    "the t-interval over seeds exclude zero. “Last” is the score; “best” is the best epoch on the test clips, as the "
    "literature reports it, and is too high by construction."
)


def _experiment_html(evaluations: Iterable[EvaluationReport]) -> str:
    return "".join(_protocol_html(evaluation) for evaluation in evaluations)


def _protocol_html(evaluation: EvaluationReport) -> str:
    all_scores, differences = scores(evaluation), comparisons(evaluation)
    clean = evaluation.clean_count < len(evaluation.test_rows)
    halves = ("official", "clean") if clean else ("official",)
    counts = {"official": len(evaluation.test_rows), "clean": evaluation.clean_count}
    seeds = ", ".join(str(run.seed) for run in evaluation.runs)
    method = evaluation.runs[0].description.get("provenance", {}).get("method", "encoder")
    lead = (
        f"{evaluation.train_count} labelled training clips, {len(evaluation.test_rows)} test clips, "
        f"{len(evaluation.classes)} classes; {len(evaluation.runs)} run{'s' if len(evaluation.runs) > 1 else ''} "
        f"(seed{'s' if len(evaluation.runs) > 1 else ''} {seeds})"
    )
    strict = [each for each in differences if each.against == "raw" and each.clips == halves[-1]]
    verdicts = "".join(
        f'<p class="verdict {each.verdict.replace(" ", "-")}">{escape(sentence)}</p>'
        for each, sentence in zip(strict, raw_sentences(evaluation), strict=True)
    )
    charts = "".join(
        f"<div><h3>{half.capitalize()}, {counts[half]} clips</h3>{_score_chart(all_scores, half)}</div>"
        for half in halves
    )
    legend = _legend([*_SOURCES.values(), (_RAW_NAME, RAW)])
    notes = "".join(f"<li>{escape(note)}</li>" for note in evaluation.notes)
    return (
        f"<h2>{escape(str(method))} on {escape(evaluation.protocol)}</h2><p class='lead'>{escape(lead)}</p>"
        + (_card("Against raw coordinates", verdicts) if verdicts else "")
        + _card("Top-1 accuracy", f"{legend}<div class='pair'>{charts}</div>")
        + _card("Scores", _score_table(all_scores, halves, counts))
        + (
            _card("Trained minus baseline, paired over clips", _difference_table(differences, halves))
            if differences
            else ""
        )
        + _card("Confusion matrix", _confusion(evaluation))
        + (_card("Notes", f"<ul class='notes'>{notes}</ul>") if notes else "")
    )


def _score_chart(all_scores: Sequence[Score], half: str) -> str:
    of_half = [score for score in all_scores if score.clips == half and score.name != "top1_best"]
    raw = {score.task: score for score in of_half if score.source == "raw"}
    rows = []
    for task in dict.fromkeys(score.task for score in of_half if score.source == "trained"):
        marks = [
            _mark(score, *_SOURCES[source])
            for source in _SOURCES
            for score in of_half
            if score.source == source and score.task == task
        ]
        reference = raw.get(_raw_task(task))
        if reference:
            marks.append(_mark(reference, f"{_RAW_NAME} ({reference.task})", RAW))
        rows.append((task.replace("/", " "), marks))
    return interval_chart(rows, f"Top-1 accuracy, {half} test clips")


def _mark(score: Score, label: str, colour: str) -> Mark:
    return Mark(label, score.mean_percent, score.low_percent, score.high_percent, colour)


def _score_table(all_scores: Sequence[Score], halves: Sequence[str], counts: Mapping[str, int]) -> str:
    found = {(score.source, score.task, score.name, score.clips): score for score in all_scores}
    groups = "".join(
        f"<th class='number' colspan='{len(halves)}'>{name}</th>"
        for name in ("trained", "random initialisation", "raw")
    )
    head = 3 * "".join(f"<th class='number'>{half}, {counts[half]}</th>" for half in halves)
    lines = []
    for task, name in dict.fromkeys((score.task, score.name) for score in all_scores if score.source == "trained"):
        columns = [("trained", task, name), ("random", task, name), ("raw", _raw_task(task), "top1")]
        shown = [found.get((*each, half)) for each in columns for half in halves]
        cells = "".join(f"<td class='number'>{_score_cell(score)}</td>" for score in shown)
        epoch = name.partition("_")[2]
        lines.append(f"<tr><td><code>{escape(task)}</code> {f'{epoch} epoch' if epoch else ''}</td>{cells}</tr>")
    told = "<p class='lead'>Percent. Raw: nearest neighbours beside nearest neighbours, ridge beside linear heads.</p>"
    rows = f"<tr><th></th>{groups}</tr><tr><th>task</th>{head}</tr>{''.join(lines)}"
    return f"{told}<div class='scroll'><table>{rows}</table></div>"


def _raw_task(task: str) -> str:
    return "knn/raw" if task.startswith("knn") else "ridge/raw"


def _score_cell(score: Score | None) -> str:
    if score is None:
        return "–"
    spread = f" ± {score.std_percent:.1f}" if len(score.by_seed) > 1 else ""
    return f"{score.mean_percent:.1f}{spread}<small>[{score.low_percent:.1f}, {score.high_percent:.1f}]</small>"


def _difference_table(differences: Sequence[Comparison], halves: Sequence[str]) -> str:
    rows: dict[tuple[str, str], dict[str, Comparison]] = {}
    for each in differences:
        rows.setdefault((each.task, each.against_task if each.against == "raw" else "random"), {})[each.clips] = each
    head = "".join(f"<th class='number'>{half}</th>" for half in halves)
    lines = []
    for (task, against), pair in rows.items():
        cells = "".join(
            f"<td class='number {pair[half].verdict.replace(' ', '-')}'>{pair[half].difference_percent:+.1f} "
            f"({pair[half].verdict})<small>[{pair[half].low_percent:+.1f}, {pair[half].high_percent:+.1f}]</small></td>"
            for half in halves
        )
        name = _SOURCES["random"][0] if against == "random" else against
        lines.append(f"<tr><td><code>{escape(task)}</code></td><td>{escape(name)}</td>{cells}</tr>")
    return f"<div class='scroll'><table><tr><th>task</th><th>baseline</th>{head}</tr>{''.join(lines)}</table></div>"


def _confusion(evaluation: EvaluationReport) -> str:
    """Draw the matrix of the first linear head that there is, summed over seeds."""
    trained = [report for report in evaluation.reports if report.source == "trained"]
    task = next((each.task for each in trained if not each.task.startswith("knn")), trained[0].task)
    label = np.asarray(evaluation.test_labels, np.int64)
    matrix = np.zeros((len(evaluation.classes),) * 2, np.int64)
    for report in trained:
        if report.task == task:
            first = next(iter(report.predictions.values()))
            matrix += confusion_matrix(np.asarray(first, np.int64), label, len(evaluation.classes))
    wrong = matrix * (1 - np.eye(len(matrix), dtype=np.int64))
    worst = [np.unravel_index(place, wrong.shape) for place in np.argsort(wrong, axis=None)[::-1][:5]]
    named = [
        f"{evaluation.classes[true]} → {evaluation.classes[taken]} ({100 * wrong[true, taken] // matrix[true].sum()} %)"
        for true, taken in worst
        if wrong[true, taken]
    ]
    most = f"<p class='lead'>Most often confused: {escape('; '.join(named))}.</p>" if named else ""
    told = f"<p class='lead'><code>{escape(task)}</code>, trained encoders, all test clips, summed over seeds.</p>"
    return f"{told}{confusion_chart(matrix, evaluation.classes, 'Confusion matrix')}{most}"


def _loss_html(names: Sequence[str], logs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Draw the pre-training loss of runs beside that of predicting the mean."""
    lines, legend = [], []
    for number, name in enumerate(dict.fromkeys(names)):
        entries = [entry for entry in logs.get(name, []) if "loss" in entry]
        if not entries:
            continue
        colour = SEEDS[number % len(SEEDS)]
        steps = [float(entry["step"]) for entry in entries]
        lines.append(Line(name, steps, [float(entry["loss"]) for entry in entries], colour))
        last = entries[-1]
        spent = f", {last['cpu_seconds']:.0f} CPU s" if "cpu_seconds" in last else ""
        legend.append((f"{name}: {float(last['loss']):.3f} after {int(last['step'])} steps{spent}", colour))
        if any("loss_of_mean" in entry for entry in entries):
            means = [float(entry.get("loss_of_mean", "nan")) for entry in entries]
            lines.append(Line(f"{name}: predicting the mean", steps, means, MUTED, dashed=True))
    if not lines:
        return ""
    if any(line.dashed for line in lines):
        legend.append(("dashed: loss of predicting the mean target", MUTED))
    return _card(
        "Pre-training loss", _legend(legend) + line_chart(lines, "Pre-training loss", "optimizer steps", "loss")
    )


def _settings_html(by_run: Sequence[EvaluationReport]) -> str:
    rows = "".join(
        f"<tr><td>{escape(run.name)}</td><td class='number'>{run.seed}</td>"
        f"<td><code>{escape(run.fingerprint)}</code></td><td><code>{escape(part.store[:16])}</code></td></tr>"
        for part in by_run
        for run in part.runs
    )
    table = f"<table><tr><th>run</th><th class='number'>seed</th><th>encoder</th><th>store</th></tr>{rows}</table>"
    first = by_run[0]
    heads = {f"{report.source}: {report.task}": report.settings for report in first.reports}
    details = "".join(
        f"<details><summary>{summary}</summary><pre>{escape(json.dumps(value, indent=1, default=str))}</pre></details>"
        for summary, value in (
            ("Encoder and pre-training", first.runs[0].description),
            ("Heads and baselines", heads),
            ("Evaluation", first.settings),
        )
    )
    return _card("Settings and fingerprints", table + details)


def _experiment(run: RunFacts) -> str:
    """Return what runs of one experiment have in common: everything but the seed and where and how fast it ran."""
    provenance = dict(run.description.get("provenance", {}))
    settings = {key: value for key, value in provenance.get("settings", {}).items() if key not in _NOT_THE_EXPERIMENT}
    same = {key: run.description.get(key) for key in ("kind", "config", "input")}
    return json.dumps([same, provenance.get("method"), settings], sort_keys=True)


def _card(title: str, content: str) -> str:
    return f"<section class='card'><h3>{escape(title)}</h3>{content}</section>"


def _legend(entries: Sequence[tuple[str, str]]) -> str:
    items = "".join(f"<span><i style='background:{colour}'></i>{escape(name)}</span>" for name, colour in entries)
    return f"<div class='legend'>{items}</div>"
