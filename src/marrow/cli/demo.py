"""`marrow demo`: the whole way on built-in synthetic motion, from recordings to a report, in minutes.

It goes through the public Python interface, so that it can be read as an example of it.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from marrow.cli.arguments import make_parser
from marrow.cli.main import EXIT_INTERRUPTED, parse_command
from marrow.cli.next_step import say_next

if TYPE_CHECKING:
    from marrow import PretrainConfig, Store

PROTOCOL = "xsub"
# Other people than those of the shipped encoder's pre-training (another seed); and of its few labels, actions and a
# camera that it did not see.
SEED = 7
UNSEEN_LABELS = (3, 8, 10, 13, 16, 18, 19, 20, 24, 26)
UNSEEN_CAMERA = 2


def build_parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        "marrow demo",
        "Make synthetic recordings, let the encoder that comes with marrow tell actions apart from a few labelled "
        "examples, pre-train an encoder of one's own (the recipe `own`), score it beside the same encoder at random "
        "initialisation and beside raw coordinates, and write a report. The same command goes on where an interrupted "
        "one stopped.",
    )
    parser.add_argument("--quick", action="store_true", help="20 steps on few recordings: does it run?")
    parser.add_argument(
        "--out", type=Path | None, default=None, help="folder for everything that is written (default: runs/demo)"
    )
    return parser


def run(arguments: Namespace) -> int:
    """Do all of it, and print the report's path and the main numbers."""
    # Imported late, so that `--help` answers before torch is loaded.
    import marrow
    from marrow.cli.console import output
    from marrow.cli.score_tables import show
    from marrow.readers import get_reader_class
    from marrow.report.page import write_report
    from marrow.store.convert import default_jobs
    from marrow.tasks.recognition.few_shot import FewShot, FewShotConfig

    quick: bool = arguments.quick
    out: Path = arguments.out or Path("runs", "demo_quick" if quick else "demo")

    print(f"1/5  making synthetic recordings: {out / 'store'}", flush=True)
    synthetic = get_reader_class("synthetic")
    reader = synthetic(subjects=4 if quick else 18, seed=SEED)
    store = marrow.prepare(reader, ".", out / "store", jobs=default_jobs())
    train_rows, test_rows = store.split_rows(PROTOCOL)
    print(
        f"     {len(store):,} clips of {len(store.classes)} actions, {store.frame_count.sum():,} frames; "
        f"{len(train_rows):,} clips to train on, {len(test_rows):,} of other people to test on"
    )

    actions = ", ".join(store.classes[label] for label in UNSEEN_LABELS)
    print(
        f"2/5  a few labels for the encoder that comes with marrow, of actions that it never saw: {actions}", flush=True
    )
    few = FewShot(FewShotConfig(shots=(1,) if quick else (1, 5), draws=1 if quick else 5))
    few_labels = marrow.evaluate("general", store, _few_labels(store), tasks=[few])
    show(replace(few_labels, protocol="unseen actions, people and camera"), output())

    print(f"3/5  pre-training without labels ({'20 steps' if quick else 'two minutes'}): {out / 'run'}", flush=True)
    result = marrow.pretrain(_settings(store.path, out / "run", quick))
    if not result.finished:
        print("interrupted: the same command goes on from here")
        return EXIT_INTERRUPTED
    print(f"     loss {result.last['loss']:.3f}; predicting the mean: {result.last['loss_of_mean']:.3f}")

    print("4/5  scoring, beside the untrained encoder and raw coordinates", flush=True)
    evaluation = marrow.evaluate(out / "run", store, PROTOCOL)
    show(evaluation, output())

    print("5/5  writing the report")
    page = write_report([out / "run"], out / "report.html", title="marrow demo: synthetic motion")
    print(f"report: {page.resolve()}")
    say_next("import", "path/to/recordings", "--dry_run")
    return 0


def _few_labels(store: "Store") -> str:
    """Return the protocol: of the unseen actions and camera, every second person gives examples."""
    people = sorted({int(subject) for subject in store.attribute("subject")})
    chosen = f"camera={UNSEEN_CAMERA} & label={','.join(map(str, UNSEEN_LABELS))} & subject="
    halves = (",".join(str(person) for person in people if person % 2 == half) for half in (0, 1))
    return " -> ".join(f"{chosen}{half}" for half in halves)


def _settings(store: Path, folder: Path, quick: bool) -> "PretrainConfig":
    """Return those of the recipe for recordings of one's own, for two minutes."""
    from marrow.cli.pretrain import settings_of

    limit = ["--max_steps", "20", "--batch_clips", "16"] if quick else ["--max_minutes", "2"]
    words = ["--recipe", "own", "--store", str(store), "--protocol", PROTOCOL, "--out", str(folder), *limit]
    return settings_of(parse_command("pretrain", words))
