"""`marrow finetune`: train an encoder and a head on labels, into a recogniser."""

from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser, Namespace
from rich import box
from rich.console import Console
from rich.table import Table

from marrow.cli.arguments import add_transfer_options, instantiated, make_parser, transfer_of
from marrow.cli.console import output
from marrow.cli.main import EXIT_INTERRUPTED
from marrow.cli.next_step import say_next

# Where `--beside_scratch` puts the other side.
SCRATCH = "scratch"


def build_parser() -> ArgumentParser:
    """Return the parser of the command: its own options, and every setting of `FinetuneConfig`."""
    from marrow.tasks.recognition.trainable import FinetuneConfig

    parser = make_parser(
        "marrow finetune",
        "Train the encoder of a run together with a head that names classes, and keep both as a recogniser. The "
        "defaults are the MAMP paper's. Then it is trained once more without a quarter of the people whose clips it "
        "learned from, by which its probabilities are calibrated. The same command goes on where an interrupted one "
        "stopped.",
    )
    parser.add_argument("run", type=Path, help="run directory of `marrow pretrain`, or an exported encoder")
    parser.add_argument("--store", type=Path, required=True, help="the data, as made by `marrow prepare`")
    parser.add_argument(
        "--protocol",
        type=str,
        required=True,
        help="a split of the store, one fold (leave-one-out:ATTRIBUTE=VALUE, k-fold:K#0), or 'FILTER -> FILTER'",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the fine-tuning; made if missing")
    parser.add_argument(
        "--from_scratch", action="store_true", help="start from the run's architecture at random initialisation"
    )
    parser.add_argument(
        "--beside_scratch",
        action="store_true",
        help=f"besides, train from scratch into OUT/{SCRATCH}, and print both scores",
    )
    parser.add_argument(
        "--no_held_out",
        action="store_true",
        help="do not train once more without a quarter of the training clips, to learn how sure an answer may be and "
        "what is unknown (`marrow predict`)",
    )
    add_transfer_options(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the head, the order, the crops and what is left out")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--precision", type=str, default="auto", help="auto, fp32 or bf16")
    parser.add_argument(
        "--compile", type=Literal["auto", "on", "off"] | bool, default="auto", help="compile steps: auto, on or off"
    )
    parser.add_argument("--threads", type=int | None, default=None, help="threads on the CPU; null: as PyTorch chooses")
    parser.add_argument("--max_steps", type=int | None, default=None, help="limit in optimizer steps; null: none")
    parser.add_argument("--max_minutes", type=float | None, default=None, help="limit on the clock; null: none")
    parser.add_class_arguments(FinetuneConfig, as_group=False)
    return parser


def run(arguments: Namespace) -> int:
    """Fine-tune, and print the scores and what they have cost."""
    from dataclasses import fields

    import torch

    from marrow.errors import ConfigError
    from marrow.progress import Parts
    from marrow.tasks.base import TaskContext
    from marrow.tasks.recognition.finetune import finetune
    from marrow.tasks.recognition.trainable import FinetuneConfig
    from marrow.train.compiled import as_words
    from marrow.use.held_out import learn_what_is_known

    if arguments.from_scratch and arguments.beside_scratch:
        raise ConfigError("--from_scratch trains from scratch alone, --beside_scratch as well: choose one of them")
    for name in ("threads", "max_steps", "max_minutes"):
        if arguments[name] is not None and arguments[name] <= 0:
            raise ConfigError(f"--{name} must be positive, got {arguments[name]}")
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    values = instantiated(build_parser(), arguments)
    config = FinetuneConfig(**{field.name: values[field.name] for field in fields(FinetuneConfig)})
    chosen = ("device", "precision", "seed", "max_steps", "max_minutes")
    context = TaskContext(**{name: arguments[name] for name in chosen}, compile=as_words(arguments.compile))

    sides = [(arguments.out, arguments.from_scratch)]
    if arguments.beside_scratch:
        sides.append((arguments.out / SCRATCH, True))
    reports = []
    kind, again = "fine-tuning", not arguments.no_held_out
    parts = Parts([kind] * (len(sides) + again))
    for out, from_scratch in sides:
        parts.begin(kind, f"{kind}{' from scratch' if from_scratch else ''} in {out}")
        result = finetune(
            arguments.run,
            arguments.store,
            arguments.protocol,
            out,
            config,
            from_scratch=from_scratch,
            transfer=transfer_of(arguments),
            context=context,
        )
        if result.report is None:
            print("interrupted: the same command goes on from here")
            return EXIT_INTERRUPTED
        reports.append(result.report)
        parts.done(kind)
    show(reports, arguments.protocol, output())
    if again:
        parts.begin(kind, "once more without a quarter of the training clips, to learn how sure an answer may be")
        known = learn_what_is_known(
            arguments.out,
            arguments.run,
            arguments.store,
            arguments.protocol,
            config,
            from_scratch=arguments.from_scratch,
            transfer=transfer_of(arguments),
            context=context,
        )
        if known is None:
            print("interrupted: the same command goes on from here")
            return EXIT_INTERRUPTED
        for sentence in known.sentences():
            print(f"- {sentence}")
    say_next("predict", arguments.out, "FILE_OR_FOLDER")
    return 0


def show(reports: list, protocol: str, console: Console) -> None:
    """Print scores side by side, and what each has cost.

    Args:
        reports: of the task `finetune` on the same clips.
        protocol: its name.
        console: where.
    """
    console.print(f"Top-1 in percent on {protocol} [95 % over clips]", highlight=False, markup=False)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("")
    for report in reports:
        table.add_column(report.settings["start"], justify="right", no_wrap=True)
    for metric in reports[0].metrics:
        quantity = reports[0].quantity(metric)
        cells = [
            rf"{report.metrics[metric]:.1f} \[{report.intervals[metric][0]:.0f}, {report.intervals[metric][1]:.0f}]"
            for report in reports
        ]
        table.add_row(
            f"{quantity.reading} epoch{', without copies of training clips' if quantity.clips == 'clean' else ''}",
            *cells,
        )
    console.print(table)
    for report in reports:
        console.print(f"- {report.noted['note']}", highlight=False, markup=False)
