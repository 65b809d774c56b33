"""`marrow evaluate`: score encoders beside their baselines."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace
from rich import box
from rich.console import Console
from rich.table import Table

from marrow.cli.arguments import instantiated, make_parser

if TYPE_CHECKING:
    from marrow.tasks.recognition import FinetuneConfig

DEFAULT_TASKS = "linear_probe,knn"
DEFAULT_BASELINES = "random,raw"
FINETUNE = "finetune"


def build_parser() -> ArgumentParser:
    """Return the parser of the command: its own options, and every setting of the task `finetune`."""
    from marrow.tasks.recognition import FinetuneConfig

    parser = make_parser(
        "marrow evaluate",
        "Score frozen encoders with a linear probe and nearest neighbours, or encoders by fine-tuning, beside the same "
        "encoder at random initialisation and beside raw coordinates. Several runs count as seeds of one experiment. "
        "Each run keeps its report in RUN/reports/.",
    )
    parser.add_argument("runs", nargs="+", type=Path, help="run directories of `marrow pretrain`, or exported encoders")
    parser.add_argument("--store", type=Path, required=True, help="the data, as made by `marrow prepare`")
    parser.add_argument(
        "--protocol",
        type=str,
        required=True,
        help="a split of the store, leave-one-out:ATTRIBUTE for all folds, or leave-one-out:ATTRIBUTE=VALUE for one",
    )
    parser.add_argument("--tasks", type=str, default=DEFAULT_TASKS, help="names of tasks, separated by commas")
    parser.add_argument(
        "--baselines", type=str, default=DEFAULT_BASELINES, help="random, raw, both separated by a comma, or none"
    )
    parser.add_argument(
        "--augmented",
        action="store_true",
        help="besides, train the linear probe on clips augmented anew in each of 100 epochs, as the paper does (slow)",
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON and nothing else")
    parser.add_argument("--seed", type=int, default=0, help="of the probes; baselines take the runs' own seeds")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--precision", type=str, default="auto", help="auto, fp32 or bf16")
    parser.add_argument("--batch_clips", type=int, default=64, help="clips per forward pass of the encoder")
    parser.add_argument("--max_steps", type=int | None, default=None, help="shorten each probe's training to this")
    parser.add_argument("--max_minutes", type=float | None, default=None, help="stop each probe's training after this")
    parser.add_class_arguments(FinetuneConfig, FINETUNE)
    return parser


def finetune_config(arguments: Namespace) -> "FinetuneConfig":
    """Return the settings of the task `finetune`.

    Raises:
        ConfigError: they do not fit together, or that task is not asked for.
    """
    from marrow.errors import ConfigError
    from marrow.tasks.recognition import FinetuneConfig

    config = instantiated(build_parser(), arguments)[FINETUNE]
    tasks = _names(arguments.tasks)
    if config != FinetuneConfig() and FINETUNE not in tasks:
        raise ConfigError(
            f"--{FINETUNE}.* are settings of the task {FINETUNE}, which is not among --tasks {','.join(tasks)}"
        )
    return config


def run(arguments: Namespace) -> int:
    """Evaluate, and print a table or JSON."""
    # Imported late, so that `--help` and a misspelt option answer before torch is loaded.
    from marrow.tasks.base import TaskContext
    from marrow.tasks.evaluate import evaluate
    from marrow.tasks.finetune import Finetune
    from marrow.tasks.summary import numbers

    finetune = Finetune(finetune_config(arguments))
    evaluation = evaluate(
        arguments.runs,
        arguments.store,
        arguments.protocol,
        tasks=[finetune if task == finetune.name else task for task in _names(arguments.tasks)],
        baselines=[] if arguments.baselines == "none" else _names(arguments.baselines),
        augmented=arguments.augmented,
        context=TaskContext(
            device=arguments.device,
            precision=arguments.precision,
            seed=arguments.seed,
            batch_clips=arguments.batch_clips,
            max_steps=arguments.max_steps,
            max_minutes=arguments.max_minutes,
        ),
    )
    if arguments.json:
        print(json.dumps(numbers(evaluation), indent=1))
    else:
        show(numbers(evaluation), Console())
    return 0


def show(result: dict, console: Console) -> None:
    """Print the numbers of a report as tables.

    Args:
        result: from `marrow.tasks.summary.numbers`.
        console: where.
    """
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
    for note in result["notes"]:
        console.print(f"- {note}", highlight=False, markup=False)


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
    return rf"{score['mean_percent']:.1f}{spread} \[{score['low_percent']:.0f}, {score['high_percent']:.0f}]"


def _difference_cell(each: dict) -> str:
    return rf"{each['difference_percent']:+.1f} \[{each['low_percent']:+.0f}, {each['high_percent']:+.0f}]"


def _names(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",") if name.strip()]
