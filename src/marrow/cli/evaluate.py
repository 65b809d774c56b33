"""`marrow evaluate`: score encoders beside their baselines."""

import json
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.table import Table

from marrow.cli.arguments import make_parser

DEFAULT_TASKS = "linear_probe,knn"
DEFAULT_BASELINES = "random,raw"


def build_parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        "marrow evaluate",
        "Score frozen encoders with a linear probe and nearest neighbours, beside the same encoder at random "
        "initialisation and beside raw coordinates. Several runs count as seeds of one experiment. Each run keeps its "
        "report in RUN/reports/.",
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
        type=bool,
        default=False,
        help="besides, train the linear probe on clips augmented anew in each of 100 epochs, as the paper does (slow)",
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON and nothing else")
    parser.add_argument("--seed", type=int, default=0, help="of the probes; baselines take the runs' own seeds")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--precision", type=str, default="auto", help="auto, fp32 or bf16")
    parser.add_argument("--batch_clips", type=int, default=64, help="clips per forward pass of the encoder")
    parser.add_argument("--max_steps", type=int | None, default=None, help="shorten each probe's training to this")
    parser.add_argument("--max_minutes", type=float | None, default=None, help="stop each probe's training after this")
    return parser


def run(arguments: Namespace) -> int:
    """Evaluate, and print a table or JSON."""
    # Imported late, so that `--help` and a misspelt option answer before torch is loaded.
    from marrow.data.augment import AugmentConfig
    from marrow.tasks.base import TaskContext
    from marrow.tasks.evaluate import evaluate
    from marrow.tasks.summary import numbers

    evaluation = evaluate(
        arguments.runs,
        arguments.store,
        arguments.protocol,
        tasks=_names(arguments.tasks),
        baselines=[] if arguments.baselines == "none" else _names(arguments.baselines),
        augmented=AugmentConfig() if arguments.augmented else None,
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
    by_row: dict[tuple[str, str, str], dict[str, dict]] = {}
    for score in result["scores"]:
        by_row.setdefault((score["source"], score["task"], score["name"]), {})[score["clips"]] = score
    has_clean = any("clean" in pair for pair in by_row.values())
    table = Table(title=f"{result['protocol']}: top-1 in percent, 95 % interval over test clips", title_justify="left")
    for heading in ("features", "task", "epoch"):
        table.add_column(heading)
    table.add_column(f"official ({result['test_clips']} clips)", justify="right")
    if has_clean:
        table.add_column(f"clean ({result['clean_test_clips']} clips)", justify="right")
    for (source, task, name), pair in by_row.items():
        halves = ("official", "clean") if has_clean else ("official",)
        table.add_row(source, task, name.partition("_")[2] or "-", *(_cell(pair[half]) for half in halves))
    console.print(table)

    if result["comparisons"]:
        table = Table(title="trained minus baseline, in points, paired over clips", title_justify="left")
        for heading in ("task", "against", "clips"):
            table.add_column(heading)
        table.add_column("difference", justify="right")
        table.add_column("verdict")
        for each in result["comparisons"]:
            interval = f"{each['difference_percent']:+.1f} [{each['low_percent']:+.1f}, {each['high_percent']:+.1f}]"
            against = each["against"] if each["against"] == "random" else each["against_task"]
            table.add_row(each["task"], against, each["clips"], interval.replace("[", r"\["), each["verdict"])
        console.print(table)
    for note in result["notes"]:
        console.print(note, highlight=False, markup=False)


def _cell(score: dict) -> str:
    spread = f" ± {score['std_percent']:.1f}" if len(score["by_seed"]) > 1 else ""
    return rf"{score['mean_percent']:.1f}{spread} \[{score['low_percent']:.1f}, {score['high_percent']:.1f}]"


def _names(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",") if name.strip()]
