"""The part of a page about pre-training: what its log says, as curves, a verdict in words, and what it cost."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from marrow.progress import duration
from marrow.report.figures import Figures, Line, curves_figure, legend, run_line
from marrow.report.runs import Run
from marrow.report.style import MUTED, card, table
from marrow.train.verdict import judge

# The weights at step 0 follow from the seed alone, and so does what the monitor knows of the untrained encoder: a curve
# begins there.
_BEFORE = {
    "nearest_neighbour_percent": "nearest_neighbour_random_percent",
    "effective_rank": "effective_rank_random",
    **{name: name for name in ("nearest_neighbour_random_percent", "effective_rank_random", "chance_percent")},
}
_SIGNS = {"good": "✓", "wait": "…", "warning": "!"}
# Charts by title: the numbers drawn solid, and those drawn dotted as their reference.
_CHARTS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "Loss": (("loss",), {"loss_of_mean": "predicting the mean"}),
    "Nearest neighbours with the same label, %": (
        ("nearest_neighbour_percent",),
        {"nearest_neighbour_random_percent": "random initialisation", "chance_percent": "chance"},
    ),
    "Effective rank of the features": (("effective_rank",), {"effective_rank_random": "random initialisation"}),
    "Spread of the features, % of their length": (("feature_spread_percent",), {}),
    "Learning rate": (("learning_rate",), {}),
    "Gradient norm": (("gradient_norm",), {}),
    "Clips per second": (("clips_per_second",), {}),
    "Waiting for data, % of the time": (("waiting_share_percent",), {}),
    "Peak memory, MiB": (("peak_memory_mib",), {}),
    "Directions of flow that are right, %": (
        ("direction_accuracy_percent",),
        {"direction_majority_percent": "always the commonest"},
    ),
}
# Not worth a chart: they only grow, or stay as they are.
_NO_CURVE = {
    *("step", "epoch", "progress", "wall_seconds", "cpu_seconds", "monitor_cpu_seconds", "monitor_clips"),
    *("monitor_people", "feature_dim", "loader_share_percent", "extended_from_step"),
}


def training_verdicts_html(runs: Sequence[Run]) -> str:
    """Say in plain sentences what to make of the pre-training of each run."""
    parts = []
    for run in runs:
        if run.log:
            verdict = judge(run.log)
            name = f"{run.name}: " if len(runs) > 1 else ""
            parts.append(
                f"<p class='verdict {verdict.level}'><b class='sign' aria-hidden='true'>{_SIGNS[verdict.level]}</b>"
                f"<b>{escape(name)}Pre-training: {escape(verdict.headline.lower())}.</b> "
                f"{escape(' '.join(verdict.sentences))}</p>"
            )
    return "".join(parts)


def training_html(runs: Sequence[Run], figures: Figures) -> str:
    """Draw the curves of runs and list what they cost."""
    logged = [run for run in runs if run.log]
    if not logged:
        return card("Pre-training", "<p class='lead'>These runs have no log.</p>")
    lines = [(run.name, run_line(index)[0], "line") for index, run in enumerate(logged)]
    charts = []
    for title, (names, references) in {**_CHARTS, **_further(logged)}.items():
        chart = _chart(title, names, references, logged, figures)
        if chart:
            charts.append(f"<div><h4>{escape(title)}</h4>{chart}</div>")
    dotted = [
        ("dotted: reference (predicting the mean or the commonest, random initialisation, chance)", MUTED, "dotted")
    ]
    parts = [card("Curves", f"{legend(lines + dotted)}<div class='three'>{''.join(charts)}</div>", wide=True)]
    parts.append(card("Time and memory", table(*_costs(logged)) + _extensions(logged) + _hardware(logged)))
    return "".join(parts)


def _further(runs: Sequence[Run]) -> dict[str, tuple[tuple[str, ...], dict[str, str]]]:
    """Return charts for whatever other numbers the logs hold; those of one of several stores end in its name."""
    drawn = {name for names, references in _CHARTS.values() for name in (*names, *references)} | _NO_CURVE
    others = dict.fromkeys(
        name
        for run in runs
        for entry in run.log
        for name, value in entry.items()
        if name not in drawn and isinstance(value, int | float) and not isinstance(value, bool)
    )
    charts: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {}
    for name in others:
        number, _, store = name.partition(".")
        if number == "nearest_neighbour_percent":
            charts[f"Nearest neighbours with the same label in {store}, %"] = (
                (name,),
                {f"chance_percent.{store}": "chance"},
            )
        elif number not in drawn:
            charts[name.replace("_", " ").capitalize()] = ((name,), {})
    return charts


def _chart(
    title: str, names: Sequence[str], references: Mapping[str, str], runs: Sequence[Run], figures: Figures
) -> str:
    lines = []
    for index, run in enumerate(runs):
        colour, dash = run_line(index)
        for name in names:
            x, y = _values(run, name)
            if x:
                lines.append(Line(run.name, x, y, colour, dash, markers=len(x) < 30))
        for name, said in references.items():
            x, y = _values(run, name)
            if x:
                lines.append(Line(f"{run.name}: {said}", x, y, colour, "dot"))
    if not lines:
        return ""
    said = "; ".join(f"{line.label}: from {line.y[0]:.4g} to {line.y[-1]:.4g}" for line in lines)
    return figures.place(curves_figure(lines, title), f"{title} over optimizer steps. {said}")


def _values(run: Run, name: str) -> tuple[list[float], list[float]]:
    entries = [entry for entry in run.log if isinstance(entry.get(name), int | float)]
    steps, values = [float(entry["step"]) for entry in entries], [float(entry[name]) for entry in entries]
    untrained = entries[0].get(_BEFORE.get(name, "")) if entries else None
    if untrained is not None:
        return [0.0, *steps], [float(untrained), *values]
    return steps, values


def _costs(runs: Sequence[Run]) -> tuple[list[str], list[list[str]]]:
    head = ["run", "steps", "epochs", "clips/s", "processor time", "time on the clock", "monitor", "peak memory"]
    return head, [[escape(run.name), *_cost_cells(run.log)] for run in runs]


def _cost_cells(log: Sequence[Mapping[str, Any]]) -> list[str]:
    last = log[-1]
    speeds = sorted(entry["clips_per_second"] for entry in log if "clips_per_second" in entry)
    spent = [entry["monitor_cpu_seconds"] for entry in log if "monitor_cpu_seconds" in entry]
    cpu = float(last["cpu_seconds"]) if "cpu_seconds" in last else None
    return [
        f"{last['step']:,}",
        f"{last['epoch']:.1f}" if "epoch" in last else "–",
        f"{speeds[len(speeds) // 2]:,.0f}" if speeds else "–",
        duration(cpu) if cpu is not None else "–",
        duration(float(last["wall_seconds"])) if "wall_seconds" in last else "–",
        f"{100 * spent[-1] / cpu:.1f} %" if spent and cpu else "–",
        f"{last['peak_memory_mib'] / 1024:.2f} GiB" if "peak_memory_mib" in last else "–",
    ]


def _extensions(runs: Sequence[Run]) -> str:
    """Say which runs went on under other limits, and from where."""
    lines = []
    for run in runs:
        steps = dict.fromkeys(entry["extended_from_step"] for entry in run.log if "extended_from_step" in entry)
        if steps:
            places = " and ".join(f"{step:,}" for step in steps)
            said = f"{run.name} went on under other limits at step{'s'[: len(steps) > 1]} {places}"
            lines.append(f"{said}. Its learning rate follows them from there: this is not what one run would be.")
    return "".join(f"<p class='lead'>{escape(line)}</p>" for line in lines)


def _hardware(runs: Sequence[Run]) -> str:
    said = dict.fromkeys(
        f"{start['device']}, {start['processes']} process{'es' if start['processes'] > 1 else ''}, {start['precision']}"
        for run in runs
        for start in run.environments
    )
    return "".join(f"<p class='lead'>On {escape(line)}.</p>" for line in said)
