"""Models as files that run elsewhere: ONNX for onnxruntime, or a program of torch.export.

A file is checked against the model in memory before it gets its name: recordings of several lengths, numbers of people
and layouts, with joints and people absent, must get the same answer from both.
"""

import logging
from dataclasses import replace
from pathlib import Path

from torch.export import ExportedProgram

from marrow.errors import CheckpointError, ConfigError, MarrowError, setting
from marrow.files import write_whole
from marrow.models.heads import Recogniser
from marrow.runtime.description import Description
from marrow.runtime.model import load
from marrow.store.format import Store
from marrow.use.file_check import Side, TestHalf, labelled_half, measured, one_thread
from marrow.use.labeller import KEEPS_NOTHING, Labeller
from marrow.use.onnx_file import USUAL_OPSET, check_opset, require_packages, write_int8, write_onnx
from marrow.use.plain import Exportable, PlainModel, describe, encoder_of, load_model, trace
from marrow.use.torch_file import load_torch, torch_file

_log = logging.getLogger(__name__)

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
# How far an answer of a file may be from that of the model in memory; for features, in units of the largest number.
TOLERANCE = 1e-4


def export(
    model: Exportable | Recogniser | Path | str,
    out: Path | str,
    *,
    examples: Path | None = None,
    to: str = "onnx",
    opset: int = USUAL_OPSET,
    int8: bool = False,
    store: Store | Path | str | None = None,
    protocol: str | None = None,
    overwrite: bool = False,
) -> list[Side]:
    """Write a model as a file that runs without marrow's networks, and measure it.

    Args:
        model: a recogniser, a detector or an encoder, or a folder of one. A recogniser's file answers at the
            temperature that is kept beside it, as `marrow predict` does.
        out: the file; its name ends in .onnx, or in .pt2 for torch.
        examples: for an encoder: a few recordings in folders named after their classes, or a labelled store; the file
            is that of a recogniser then.
        to: onnx: for `marrow.runtime` and whatever else reads ONNX; torch: for `torch.export.load`.
        opset: version of ONNX's operators.
        int8: besides, write OUT.int8.onnx, in which the matrices of layers have eight bits.
        store: recordings with the classes of a recogniser or a detector, to measure top-1 on.
        protocol: whose test half is measured.
        overwrite: replace files that are there.

    Returns:
        The model in memory, then each file that was written.

    Raises:
        CheckpointError: there is no model, or the file would not answer as the model does.
        ConfigError: settings that do not fit each other; the model cannot be exported; a package is missing.
    """
    out = Path(out)
    paths = _paths(out, to, int8, overwrite)
    if to == "onnx":
        require_packages()
        check_opset(opset)
    model = load_model(model, examples)
    if next(encoder_of(model).parameters()).device.type != "cpu":
        raise ConfigError("a model is exported from the CPU: move it there first (.cpu())")
    if isinstance(model, Labeller):
        for sentence in [KEEPS_NOTHING] if model.known is None else model.known.sentences()[:1]:
            _log.info("- %s", sentence)
    judged = labelled_half(model, store, protocol)
    description = describe(model)
    program = trace(PlainModel(model), description)
    out.parent.mkdir(parents=True, exist_ok=True)
    sides = [measured("torch, eager", None, None, model, judged)]
    with one_thread():
        for number, path in enumerate(paths):
            sides.append(_write(model, program, description, path, paths[0] if number else None, opset, judged))
    return sides


def _write(
    model: Exportable,
    program: ExportedProgram,
    description: Description,
    path: Path,
    in_fp32: Path | None,
    opset: int,
    judged: TestHalf | None,
) -> Side:
    """Write one file, check it before it gets its name, and measure it; `in_fp32` is the file that int8 is made of."""
    sides = []

    def write(partial: Path) -> None:
        if path.suffix == ".pt2":
            partial.write_bytes(torch_file(program, description))
            name, file = "torch.export", load_torch(partial)
        else:
            if in_fp32 is None:
                write_onnx(program, description, partial, opset)
            else:
                write_int8(in_fp32, partial)
            name, file = "onnx, fp32" if in_fp32 is None else "onnx, int8", load(partial)
        try:
            side = measured(name, partial, file, model, judged)
        except MarrowError:
            raise
        except Exception as error:  # neither onnxruntime nor torch has a common base of its errors
            reason = " ".join(str(error).split())[:300]
            raise ConfigError(f"{path} was not written: what was traced cannot be computed ({reason})") from error
        if in_fp32 is None and not side.difference <= TOLERANCE:
            raise CheckpointError(
                f"{path} was not written: what it answers is {side.difference:.1e} away from what the model does, more "
                f"than {TOLERANCE:.0e}; this is a fault of the export, not of the model"
            )
        sides.append(side)

    write_whole(path, write)
    [side] = sides
    return replace(side, path=path)


def _paths(out: Path, to: str, int8: bool, overwrite: bool) -> list[Path]:
    if to not in SUFFIXES:
        raise ConfigError(f"{setting('to')} must be onnx or torch, got {to!r}")
    if out.suffix != SUFFIXES[to]:
        raise ConfigError(f"{setting('out')} must end in {SUFFIXES[to]} for {setting('to', to)}, got {str(out)!r}")
    if int8 and to != "onnx":
        raise ConfigError(
            f"{setting('int8')} is for {setting('to', 'onnx')}: torch.export keeps the numbers as they are"
        )
    paths = [out, *([out.with_suffix(".int8.onnx")] if int8 else [])]
    for path in paths:
        if path.is_dir():
            raise ConfigError(f"{setting('out')} must be a file, {path} is a folder")
        if path.exists() and not overwrite:
            raise ConfigError(f"{path} is there already; {setting('overwrite')} replaces it")
    return paths
