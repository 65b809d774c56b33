"""`marrow unseen`: pre-train on all stores but one, and score on that one."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from marrow.cli.arguments import make_parser
from marrow.cli.main import EXIT_INTERRUPTED, parse_command
from marrow.cli.next_step import say_where_reports_are_shown
from marrow.errors import ConfigError


def build_parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        "marrow unseen",
        "Pre-train on all stores but one, for several seeds, and score on that one: frozen (linear heads, nearest "
        "neighbours) and with few labels, beside raw coordinates with the same labels, the untrained encoder, and an "
        "encoder of the set itself after the same time. The same command finishes what was stopped.",
    )
    parser.add_argument(
        "--stores",
        type=list[str],
        default=[],
        help="written --store NAME=FOLDER once for each store, or --store FILE.yaml, as for `marrow pretrain`",
    )
    parser.add_argument("--on", type=str, required=True, help="name of the store that is kept apart, and scored")
    parser.add_argument("--protocol", type=str, required=True, help="split or folds that it is scored by")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs and of unseen_NAME.json")
    parser.add_argument("--recipe", type=str, default="general", help="settings of all runs: a name, or a YAML file")
    parser.add_argument("--seconds", type=float, default=3600.0, help="processor seconds of each pre-training")
    parser.add_argument("--seeds", type=str, default="0,1,2", help="of the pre-trainings, separated by commas")
    parser.add_argument(
        "--tasks", type=str, default="linear_probe,knn,few_shot", help="what is scored, separated by commas"
    )
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:N or mps")
    return parser


def rewritten(arguments: Sequence[str]) -> list[str]:
    """Return a command line whose options --store have become one option --stores."""
    from marrow.cli.pretrain import split_stores

    kept, given = split_stores(arguments)
    return [*(f"--stores+={text}" for text in given), *kept] if given else kept


def run(arguments: Namespace) -> int:
    """Train, score, and print the table."""
    # Imported late, so that `--help` and a misspelt option answer before torch is loaded.
    from marrow.cli.console import output
    from marrow.cli.pretrain import as_option, choices_of, settings_of
    from marrow.grid.unseen import COLUMNS, run_unseen
    from marrow.report.tables import MISSING, console_table
    from marrow.tasks.base import TaskContext

    if not arguments.stores:
        raise ConfigError("give the stores: --store NAME=FOLDER once for each, or --store FILE.yaml")
    try:
        seeds = [int(seed) for seed in arguments.seeds.split(",")]
    except ValueError as error:
        raise ConfigError(f"--seeds are whole numbers separated by commas, got {arguments.seeds!r}") from error
    if not arguments.seconds > 0:
        raise ConfigError(f"--seconds must be positive, got {arguments.seconds:g}")

    def make_config(out: Path, stores: tuple, seed: int):
        words = ["--recipe", arguments.recipe, "--out", str(out), "--seed", str(seed), "--device", arguments.device]
        words += ["--protocol", "null", "--max_cpu_seconds", f"{arguments.seconds:g}"]
        return settings_of(parse_command("pretrain", [*words, *as_option(stores)]))

    result = run_unseen(
        *(make_config, choices_of(arguments.stores), arguments.on, arguments.protocol, arguments.out),
        seeds=seeds,
        tasks=[name.strip() for name in arguments.tasks.split(",") if name.strip()],
        context=TaskContext(device=arguments.device),
    )
    if result is None:
        print("interrupted: the same command goes on from here")
        return EXIT_INTERRUPTED
    count = f"{len(seeds)} seed{'s'[: len(seeds) > 1]}"
    table = console_table(f"Top-1 in percent on {arguments.on}, {arguments.protocol}; {count}")
    table.add_column("")
    for column in ("clips", *COLUMNS):
        table.add_column(column, justify="left" if column == "clips" else "right", no_wrap=True)
    for task, clips, cells in result.rows():
        table.add_row(task, clips, *(cells.get(column, MISSING) for column in COLUMNS))
    console = output()
    console.print(table)
    for note in result.others.notes:
        console.print(f"- {note}", highlight=False, markup=False)
    print(arguments.out / f"unseen_{arguments.on}.json")
    say_where_reports_are_shown([arguments.out / f"without_{arguments.on}" / f"seed{seed}" for seed in seeds])
    return 0
