"""`marrow export`: a recogniser, a detector or an encoder as a file that runs elsewhere."""

from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser, Namespace
from rich import box
from rich.table import Table

from marrow.cli.arguments import make_parser
from marrow.cli.console import output


def build_parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        "marrow export",
        "Write a recogniser, a detector or an encoder as a file that runs without torch (onnx, for `marrow.runtime` "
        "and whatever else reads ONNX) or without marrow's networks (torch, for torch.export.load). The file is "
        "checked against the model before it gets its name; sizes and times are printed. Of an encoder with a few "
        "examples: marrow export general --examples my_examples --out wave.onnx",
    )
    parser.add_argument(
        "model",
        type=str,
        help="folder of `marrow finetune`, of a detector (`marrow evaluate --keep`), run directory of `marrow "
        "pretrain`, or an encoder",
    )
    parser.add_argument(
        "--examples",
        type=Path | None,
        default=None,
        metavar="FOLDER",
        help="for an encoder: a few recordings in folders that are named after their classes, or a labelled store, or "
        "some of its clips (stores/mine:xsub/train); the file then names these classes, as `marrow predict` does",
    )
    parser.add_argument("--to", type=Literal["onnx", "torch"], default="onnx", help="form of the file")
    parser.add_argument("--out", type=Path, required=True, help="file to write; it ends in .onnx, or .pt2 for torch")
    parser.add_argument("--opset", type=int, default=20, help="version of ONNX's operators, 18 to 22")
    parser.add_argument(
        "--int8", action="store_true", help="besides, write OUT.int8.onnx, in which the matrices have eight bits"
    )
    parser.add_argument(
        "--store",
        type=Path | None,
        default=None,
        help="recordings to measure top-1 on: of a detector, of their frames",
    )
    parser.add_argument("--protocol", type=str | None, default=None, help="whose test half that is, with --store")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are already there")
    return parser


def run(arguments: Namespace) -> int:
    """Write the file, and say what it is worth beside the model in memory."""
    from marrow.use.export import export

    options = ("examples", "to", "opset", "int8", "store", "protocol", "overwrite")
    sides = export(arguments.model, arguments.out, **{name: arguments[name] for name in options})
    console = output()
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("")
    columns = ["MB", "ms, 1 person", "ms, 2 people", "difference"]
    if sides[0].top1_percent is not None:
        columns.append("top-1, %")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for side in sides:
        cells = [f"{side.size_bytes / 1e6:.2f}", *(f"{side.milliseconds[people]:.1f}" for people in (1, 2))]
        cells.append("" if side.path is None else f"{side.difference:.0e}")
        cells += [] if side.top1_percent is None else [f"{side.top1_percent:.1f}"]
        table.add_row(side.name, *cells)
    console.print("From the arrays of one recording to the answer, on one thread", highlight=False)
    console.print(table)
    if arguments.to == "onnx":
        print("No file in bf16: onnxruntime has no products of bf16 matrices on a CPU.")
    for side in sides[1:]:
        print(f"{side.name}: {side.path}")
    path = sides[1].path
    assert path is not None
    opened = "marrow.runtime.load" if arguments.to == "onnx" else "marrow.use.torch_file.load_torch"
    print(f"next: in Python, {opened}({str(path)!r}).{sides[0].asked}(marrow.read('FILE'))")
    return 0
