"""`marrow evaluate`: score encoders beside their baselines."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import ArgumentParser, Namespace

from marrow.cli.arguments import add_transfer_options, instantiated, make_parser, transfer_of
from marrow.cli.console import output
from marrow.cli.next_step import say_next, say_where_reports_are_shown
from marrow.errors import ConfigError

if TYPE_CHECKING:
    from marrow.tasks.base import Task

DEFAULT_TASKS = "linear_probe,knn"
DEFAULT_BASELINES = "random,raw"
# What is kept of which task, and the command that uses it.
_KEPT = {
    "action_detection": "marrow predict {} FILE_OR_FOLDER --segments",
    "motion_prediction": "marrow forecast {} FILE --out forecast.npz",
}


def build_parser(arguments: Sequence[str] = ()) -> ArgumentParser:
    """Return the parser of the command: its own options, and every setting of the tasks that are asked for.

    Args:
        arguments: of the command line, which are looked through for tasks.
    """
    from marrow.tasks import TASKS

    parser = make_parser(
        "marrow evaluate",
        "Score encoders: recognition by linear probes, nearest neighbours and fine-tuning, with all labels or few, "
        "retrieval, action detection, motion prediction; beside the same encoder at random initialisation (from "
        "scratch, where it is trained) and beside raw coordinates. Several runs count as seeds of one experiment. "
        "Each run keeps its report in RUN/reports/, to which later evaluations add; the same command goes on where an "
        "interrupted one stopped. The "
        "options --TASK.* are those of the tasks that --tasks names: `marrow evaluate --tasks finetune --help` lists "
        f"them. Tasks with options: {', '.join(_configs())}.",
    )
    parser.add_argument("runs", nargs="+", type=Path, help="run directories of `marrow pretrain`, or exported encoders")
    parser.add_argument("--store", type=Path, required=True, help="the data, as made by `marrow prepare`")
    parser.add_argument(
        "--protocol",
        type=str,
        required=True,
        help="a split of the store; or all folds: leave-one-out:ATTRIBUTE, k-fold:K, k-fold:K:ATTRIBUTE or a name that "
        "the store has for one of these; or one fold: leave-one-out:ATTRIBUTE=VALUE, k-fold:K#0",
    )
    parser.add_argument(
        "--tasks",
        type=str,
        default=DEFAULT_TASKS,
        help=f"names of tasks, separated by commas, or all: every task that the data is for. Tasks: {', '.join(TASKS)}",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="run every task in its smallest size (few epochs, one draw of labels): to see that all runs",
    )
    parser.add_argument(
        "--baselines", type=str, default=DEFAULT_BASELINES, help="random, raw, both separated by a comma, or none"
    )
    parser.add_argument(
        "--augmented",
        action="store_true",
        help="besides, train the linear probe on clips augmented anew in each of 100 epochs, as the paper does (slow)",
    )
    parser.add_argument(
        "--drop_duplicates",
        type=Literal["none", "test", "train"],
        default="none",
        help="leave out test clips that are copies of a training clip, or those training clips (none, test or train)",
    )
    add_transfer_options(parser)
    parser.add_argument(
        "--replace",
        action="store_true",
        help="put what RUN/reports/ holds under this protocol aside (as *.replaced-1), instead of adding to it",
    )
    parser.add_argument(
        "--keep",
        type=Path | None,
        default=None,
        metavar="FOLDER",
        help="keep what action_detection and motion_prediction train, for `marrow predict --segments` and `marrow "
        "forecast`",
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON and nothing else")
    parser.add_argument("--seed", type=int, default=0, help="of the probes; baselines take the runs' own seeds")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--precision", type=str, default="auto", help="auto, fp32 or bf16")
    parser.add_argument(
        "--compile",
        type=Literal["auto", "on", "off"] | bool,
        default="auto",
        help="compile steps of what is trained: auto, on or off",
    )
    parser.add_argument("--batch_clips", type=int, default=64, help="clips per forward pass of the encoder")
    parser.add_argument("--max_steps", type=int | None, default=None, help="shorten each probe's training to this")
    parser.add_argument("--max_minutes", type=float | None, default=None, help="stop each probe's training after this")
    for name, config in _configs().items():
        if _is_named(name, arguments):
            parser.add_class_arguments(type(config), name)
    return parser


def _is_named(task: str, arguments: Sequence[str]) -> bool:
    """Say whether a command line asks for a task, or sets one of its options."""
    asked = DEFAULT_TASKS
    for place, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if option == "--tasks":
            asked = value if equals else "".join(arguments[place + 1 : place + 2])
        if option == f"--{task}" or option.startswith(f"--{task}."):
            return True
    return task in _names(asked) or "all" in _names(asked)


def task_configs(arguments: Namespace) -> dict[str, Any]:
    """Return the settings of every task that has some, by its name.

    Raises:
        ConfigError: they do not fit together, or are those of a task that is not asked for.
    """
    names, tasks = [name for name in _configs() if name in arguments], _names(arguments.tasks)
    values = instantiated(build_parser([f"--{name}" for name in names]), arguments)
    for name in names:
        if name not in tasks and "all" not in tasks:
            raise ConfigError(
                f"--{name}.* are settings of the task {name}, which is not among --tasks {','.join(tasks)}"
            )
    return {name: values[name] for name in names}


def _configs() -> dict[str, Any]:
    """Return the default settings of the tasks that have some, by their names."""
    from marrow.tasks import TASKS

    return {name: config for name, task in TASKS.items() if (config := getattr(task, "config", None)) is not None}


def _with(task: "Task", config: Any) -> "Task":
    """Return a task with other settings: those that have some are frozen dataclasses with a field `config`."""
    assert is_dataclass(task)
    assert not isinstance(task, type)
    return replace(task, config=config)


def run(arguments: Namespace) -> int:
    """Evaluate, and print tables or JSON."""
    # Imported late, so that `--help` and a misspelt option answer before torch is loaded.
    from marrow.data.subsets import fold_protocols
    from marrow.store.format import Store
    from marrow.tasks import TASKS
    from marrow.tasks.base import TaskContext
    from marrow.tasks.evaluate import evaluate
    from marrow.tasks.summary import numbers
    from marrow.train.compiled import as_words
    from marrow.weights import shipped_folder

    if arguments.keep is not None and not {"all", *_KEPT} & set(_names(arguments.tasks)):
        raise ConfigError(f"--keep keeps what {' and '.join(_KEPT)} train, got --tasks {arguments.tasks}")
    configs = task_configs(arguments)
    tasks: list[str | Task] = []
    for asked in _names(arguments.tasks):
        for name in TASKS if asked == "all" else [asked]:
            tasks.append(_with(TASKS[name], configs[name]) if name in configs else name)
    evaluation = evaluate(
        arguments.runs,
        arguments.store,
        arguments.protocol,
        tasks=tasks,
        may_leave_out="all" in _names(arguments.tasks),
        quick=arguments.quick,
        baselines=[] if arguments.baselines == "none" else _names(arguments.baselines),
        augmented=arguments.augmented,
        transfer=transfer_of(arguments),
        drop_duplicates=arguments.drop_duplicates,
        anew=arguments.replace,
        context=TaskContext(
            device=arguments.device,
            precision=arguments.precision,
            seed=arguments.seed,
            batch_clips=arguments.batch_clips,
            compile=as_words(arguments.compile),
            max_steps=arguments.max_steps,
            max_minutes=arguments.max_minutes,
            keep=arguments.keep,
        ),
    )
    if arguments.json:
        print(json.dumps(numbers(evaluation), indent=1))
    else:
        from marrow.cli.score_tables import show

        show(evaluation, output())
        trained = {report.about.kind for report in evaluation.reports}
        keep: Path | None = arguments.keep
        kept = [] if keep is None else [str(keep / task) for task in _KEPT if task in trained]
        for folder in kept:
            print(f"next: {_KEPT[Path(folder).name].format(shlex.quote(folder))}")
        if kept:
            return 0
        if any(shipped_folder(run) for run in arguments.runs):
            fold = fold_protocols(Store.open(arguments.store), arguments.protocol)[0]
            tuned = Path("runs", f"{arguments.store.resolve().name}_tuned")
            say_next("finetune", arguments.runs[0], "--store", arguments.store, "--protocol", fold, "--out", tuned)
        else:
            say_where_reports_are_shown(arguments.runs)
    return 0


def _names(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",") if name.strip()]
