"""`marrow demo`: the whole way on built-in synthetic motion, from recordings to a report, in minutes.

It goes through the public Python interface, so that it can be read as an example of it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from marrow.cli.arguments import make_parser
from marrow.cli.main import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from marrow import PretrainConfig

PROTOCOL = "xsub"


def build_parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        "marrow demo",
        "Make synthetic recordings, prepare a store, pre-train a small MAMP encoder (with positions as its target), "
        "score it beside the same encoder at random initialisation and beside raw coordinates, and write a report. The "
        "same command goes on where an interrupted one stopped.",
    )
    parser.add_argument("--quick", action="store_true", help="20 steps on few recordings: does it run?")
    parser.add_argument(
        "--out", type=Path | None, default=None, help="folder for everything that is written (default: runs/demo)"
    )
    return parser


def run(arguments: Namespace) -> int:
    """Do all of it, and print the report's path and the main numbers."""
    # Imported late, so that `--help` answers before torch is loaded.
    from rich.console import Console

    import marrow
    from marrow.cli.score_tables import show
    from marrow.readers import get_reader_class
    from marrow.report.page import write_report
    from marrow.store.convert import default_jobs

    quick: bool = arguments.quick
    out: Path = arguments.out or Path("runs", "demo_quick" if quick else "demo")

    print(f"1/4  making synthetic recordings: {out / 'store'}", flush=True)
    synthetic = get_reader_class("synthetic")
    reader = synthetic(subjects=3, repetitions=1) if quick else synthetic()
    store = marrow.prepare(reader, ".", out / "store", jobs=default_jobs())
    train_rows, test_rows = store.split_rows(PROTOCOL)
    print(
        f"     {len(store):,} clips of {len(store.classes)} actions, {store.frame_count.sum():,} frames; "
        f"{len(train_rows):,} clips to train on, {len(test_rows):,} of other people to test on"
    )

    print(f"2/4  pre-training without labels ({'20 steps' if quick else 'two minutes'}): {out / 'run'}", flush=True)
    result = marrow.pretrain(_settings(store.path, out / "run", quick))
    if not result.finished:
        print("interrupted: the same command goes on from here")
        return EXIT_INTERRUPTED
    print(f"     loss {result.last['loss']:.3f}; predicting the mean: {result.last['loss_of_mean']:.3f}")

    print("3/4  scoring, beside the untrained encoder and raw coordinates", flush=True)
    evaluation = marrow.evaluate(out / "run", store, PROTOCOL)
    show(evaluation, Console())

    print("4/4  writing the report")
    page = write_report([out / "run"], out / "report.html", title="marrow demo: synthetic motion")
    print(f"report: {page.resolve()}")
    return 0


def _settings(store: Path, folder: Path, quick: bool) -> "PretrainConfig":
    """Return a small MAMP that learns something in two minutes on one core: the sizes of the recipe `mamp_synthetic`.

    It predicts positions instead of motion. In minutes, the prediction of motion hardly gets past its mean.
    """
    from marrow import InputConfig, PretrainConfig
    from marrow.data.augment import AugmentConfig
    from marrow.models.patch_transformer import PatchTransformerConfig
    from marrow.objectives.mamp import MAMPConfig
    from marrow.train.optim import OptimizerConfig

    return PretrainConfig(
        store=store,
        out=folder,
        protocol=PROTOCOL,
        input=InputConfig(window_frames=64, alignment="body"),
        augment=AugmentConfig(min_crop_frames=16),
        encoder=PatchTransformerConfig(width=128, depth=5, heads=4, patch_frames=16),
        objective=MAMPConfig(target="joint", decoder_width=64, decoder_heads=2, decoder_depth=1),
        optimizer=OptimizerConfig(learning_rate=2e-3, scaling="absolute"),
        batch_clips=16 if quick else 32,
        max_steps=20 if quick else None,
        max_minutes=None if quick else 2.0,
        threads=1,
    )
