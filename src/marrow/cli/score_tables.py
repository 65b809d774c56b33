"""The tables that `marrow evaluate` prints."""

from rich import box
from rich.console import Console
from rich.table import Table


def show(result: dict, console: Console) -> None:
    """Print the numbers of a report as tables.

    Args:
        result: from `marrow.tasks.summary.numbers`.
        console: where.
    """
    if result["scores"]:
        _show_scores(result, console)
    for kind, of_kind in _by_kind(result["measures"]).items():
        console.print(_measure_table(kind, of_kind))
    for note in result["notes"]:
        console.print(f"- {note}", highlight=False, markup=False)


def _show_scores(result: dict, console: Console) -> None:
    """Print top-1 scores, and the differences to the baselines."""
    halves = ["official", "clean"] if result["clean_test_clips"] < result["test_clips"] else ["official"]
    counts = {"official": result["test_clips"], "clean": result["clean_test_clips"]}
    headings = [f"{half}, {counts[half]} clips" for half in halves]
    seeds = f", ± over {len(result['seeds'])} seeds" if len(result["seeds"]) > 1 else ""
    table = _table(f"Top-1 in percent on {result['protocol']}{seeds} \\[95 % over clips]", ["", *headings])
    for source, title in _SOURCES.items():
        rows: dict[str, dict[str, str]] = {}
        for score in (score for score in result["scores"] if score["source"] == source):
            rows.setdefault(_variant(score), {})[score["clips"]] = _score_cell(score)
        _add_section(table, title, rows, halves)
    console.print(table)

    if result["comparisons"]:
        console.print(_difference_table(result["comparisons"], halves))


def _by_kind(measures: list[dict]) -> dict[str, list[dict]]:
    """Group numbers by the task that they are of, whatever its variant."""
    kinds: dict[str, list[dict]] = {}
    for each in measures:
        kinds.setdefault(each["task"].partition("/")[0], []).append(each)
    return kinds


def _measure_table(kind: str, measures: list[dict]) -> Table:
    """Put the numbers of a task side by side: sources and variants, and names; the longer of both lists downwards."""
    cells = {(_column(each), each["name"]): _measure_cell(each) for each in measures}
    columns, rows = (list(dict.fromkeys(key[axis] for key in cells)) for axis in (0, 1))
    if len(columns) > len(rows):
        columns, rows = rows, columns
        cells = {(name, column): cell for (column, name), cell in cells.items()}
    table = _table(kind.replace("_", " "), ["", *columns])
    for row in rows:
        table.add_row(row, *(cells.get((column, row), "–") for column in columns))
    return table


def _column(each: dict) -> str:
    """Name a source, and its variant of the task."""
    variant = each["task"].partition("/")[2]
    return each["source"] + (f", {variant}" if variant else "")


def _measure_cell(each: dict) -> str:
    spread = f" ± {each['std']:.1f}" if len(each["by_seed"]) > 1 else ""
    interval = "" if each["low"] is None else rf" \[{each['low']:.0f}, {each['high']:.0f}]"
    return f"{each['mean']:.1f}{spread}{interval}"


def _difference_table(comparisons: list[dict], halves: list[str]) -> Table:
    table = _table("Trained minus baseline, in points, paired over clips", ["", *halves, "verdict"])
    for against in ("random", "raw"):
        rows: dict[str, dict[str, str]] = {}
        for each in (each for each in comparisons if each["against"] == against):
            cells = rows.setdefault(_variant(each), {})
            cells[each["clips"]] = _difference_cell(each)
            cells["verdict"] = each["verdict"]  # of the clean clips where there are such: they come last
        _add_section(table, f"minus {against}", rows, [*halves, "verdict"])
    return table


_SOURCES = {"trained": "trained encoder", "random": "random initialisation", "raw": "raw coordinates"}


def _table(title: str, headings: list[str]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place > 0 and heading != "verdict" else "left", no_wrap=True)
    return table


def _add_section(table: Table, title: str, rows: dict[str, dict[str, str]], columns: list[str]) -> None:
    if rows:
        table.add_row(f"[bold]{title}[/bold]")
        for name, cells in rows.items():
            table.add_row(name, *(cells[column] for column in columns))


def _variant(entry: dict) -> str:
    epoch = entry["name"].partition("_")[2]
    return f"{entry['task']} {epoch}".strip()


def _score_cell(score: dict) -> str:
    spread = f" ± {score['std_percent']:.1f}" if len(score["by_seed"]) > 1 else ""
    draws = "" if score["draws_std_percent"] is None else f" (draws ± {score['draws_std_percent']:.1f})"
    return rf"{score['mean_percent']:.1f}{spread}{draws} \[{score['low_percent']:.0f}, {score['high_percent']:.0f}]"


def _difference_cell(each: dict) -> str:
    return rf"{each['difference_percent']:+.1f} \[{each['low_percent']:+.0f}, {each['high_percent']:+.0f}]"
