"""Models as files that run elsewhere: ONNX for onnxruntime, or a program of torch.export.

A file is checked against the model in memory before it gets its name: recordings of several lengths, numbers of people
and layouts, with joints and people absent, must get the same answer from both.
"""

import io
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

from marrow.data.subsets import protocol_rows
from marrow.errors import CheckpointError, ConfigError, MarrowError
from marrow.files import write_whole
from marrow.models.encoder import Encoder
from marrow.models.heads import Recogniser
from marrow.runtime.description import MEMBER, Description
from marrow.runtime.model import load
from marrow.runtime.prepare import prepare
from marrow.skeleton.known import LAYOUTS
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.format import Store
from marrow.use.onnx_file import USUAL_OPSET, check_opset, require_packages, write_int8, write_onnx
from marrow.use.plain import Exportable, PlainModel, describe, eager, encoder_of, load_model, trace

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
# How far an answer of a file may be from that of the model in memory; for features, in units of the largest number.
TOLERANCE = 1e-4

Answer = Callable[[Sequence[SkeletonSequence]], np.ndarray]


@dataclass(frozen=True)
class Side:
    """A form of a model, and what was measured of it.

    Args:
        name: what it is.
        path: its file; None: it is in memory.
        size_bytes: of its file, or of its weights.
        milliseconds: from the arrays of one recording to the answer, on one thread, by the number of people in it.
        difference: of the answers to the examples, from those of the model in memory.
        top1_percent: on the test half of a protocol; None: not asked for.
    """

    name: str
    path: Path | None
    size_bytes: int
    milliseconds: dict[int, float]
    difference: float
    top1_percent: float | None = None


def export(
    model: Exportable | Path | str,
    out: Path | str,
    *,
    to: str = "onnx",
    opset: int = USUAL_OPSET,
    int8: bool = False,
    store: Store | Path | str | None = None,
    protocol: str | None = None,
    overwrite: bool = False,
) -> list[Side]:
    """Write a model as a file that runs without marrow's networks, and measure it.

    Args:
        model: a recogniser or an encoder, or a folder of one.
        out: the file; its name ends in .onnx, or in .pt2 for torch.
        to: onnx: for `marrow.runtime` and whatever else reads ONNX; torch: for `torch.export.load`.
        opset: version of ONNX's operators.
        int8: besides, write OUT.int8.onnx, in which the matrices of layers have eight bits.
        store: recordings with the classes of a recogniser, to measure top-1 on.
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
    model = load_model(model)
    if next(encoder_of(model).parameters()).device.type != "cpu":
        raise ConfigError("a model is exported from the CPU: move it there first (.cpu())")
    judged = _test_half(model, store, protocol)
    description = describe(model)
    program = trace(PlainModel(model), description)
    out.parent.mkdir(parents=True, exist_ok=True)
    sides = [_measured("torch, eager", None, lambda sequences: eager(model, sequences), model, judged)]
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
    judged: tuple[list[SkeletonSequence], np.ndarray] | None,
) -> Side:
    """Write one file, check it before it gets its name, and measure it; `in_fp32` is the file that int8 is made of."""
    sides = []

    def write(partial: Path) -> None:
        if path.suffix == ".pt2":
            partial.write_bytes(_torch_file(program, description))
            name, answer = "torch.export", load_torch(partial)
        else:
            if in_fp32 is None:
                write_onnx(program, description, partial, opset)
            else:
                write_int8(in_fp32, partial)
            name, runtime = "onnx, fp32" if in_fp32 is None else "onnx, int8", load(partial)
            answer = runtime.predict if isinstance(model, Recogniser) else runtime.embed
        try:
            side = _measured(name, partial, answer, model, judged)
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
        raise ConfigError(f"--to must be onnx or torch, got {to!r}")
    if out.suffix != SUFFIXES[to]:
        raise ConfigError(f"--out must end in {SUFFIXES[to]} for --to {to}, got {str(out)!r}")
    if int8 and to != "onnx":
        raise ConfigError("--int8 is for --to onnx: torch.export keeps the numbers as they are")
    paths = [out, *([out.with_suffix(".int8.onnx")] if int8 else [])]
    for path in paths:
        if path.is_dir():
            raise ConfigError(f"--out must be a file, {path} is a folder")
        if path.exists() and not overwrite:
            raise ConfigError(f"{path} is there already; --overwrite replaces it")
    return paths


def _test_half(
    model: Exportable, store: Store | Path | str | None, protocol: str | None
) -> tuple[list[SkeletonSequence], np.ndarray] | None:
    """Return the recordings that top-1 is measured on, and their labels."""
    if store is None and protocol is None:
        return None
    if store is None or protocol is None:
        raise ConfigError("--store and --protocol go together: top-1 is measured on the protocol's test half")
    if not isinstance(model, Recogniser):
        raise ConfigError("--store is for a recogniser: an encoder names no class, and has no top-1")
    store = store if isinstance(store, Store) else Store.open(store)
    if store.classes != model.classes:
        raise ConfigError(
            f"expected a store with the classes of the recogniser ({', '.join(model.classes)}); {store.path} has "
            f"{', '.join(store.classes) or 'none'}"
        )
    rows = protocol_rows(store, protocol)[1]
    rows = rows[np.asarray(store.label)[rows] >= 0]
    return model.encoder.readable([store.sequence(int(row)) for row in rows]), np.asarray(store.label)[rows]


def _torch_file(program: ExportedProgram, description: Description) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={MEMBER: description.to_json()})
    return buffer.getvalue()


def load_torch(path: Path | str) -> Answer:
    """Return what a file of `--to torch` answers to recordings: [recording class], or [recording dim].

    Raises:
        CheckpointError: nothing is there, or it is no such file, or of another version.
    """
    extra = {MEMBER: ""}
    try:
        program = torch.export.load(io.BytesIO(Path(path).read_bytes()), extra_files=extra)
    except Exception as error:  # whatever a damaged file brings, the person needs its name
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{path}: torch {torch.__version__} cannot read it ({reason})") from error
    description, module = Description.from_json(extra[MEMBER], str(path)), program.module()

    def answer(sequences: Sequence[Any]) -> np.ndarray:
        arrays = prepare(sequences, description).arrays()
        with torch.no_grad():
            return module(**{name: torch.from_numpy(value) for name, value in arrays.items()}).numpy()

    return answer


def _measured(
    name: str,
    path: Path | None,
    answer: Answer,
    model: Exportable,
    judged: tuple[list[SkeletonSequence], np.ndarray] | None,
) -> Side:
    """Compare answers with those of the model in memory, and take their time."""
    encoder = encoder_of(model)
    weights = [*encoder.parameters(), *(model.head.parameters() if isinstance(model, Recogniser) else ())]
    size = path.stat().st_size if path else sum(weight.numel() * weight.element_size() for weight in weights)
    top1 = None
    if judged is not None:
        sequences, label = judged
        parts = [answer(sequences[first : first + 16]) for first in range(0, len(sequences), 16)]
        top1 = 100.0 * float((np.concatenate(parts).argmax(1) == label).mean())
    with one_thread():
        difference = 0.0 if path is None else max(_difference(model, answer, part) for part in examples(encoder))
        milliseconds = {people: _milliseconds(answer, _one(encoder, people)) for people in (1, 2)}
    return Side(name, path, size, milliseconds, difference, top1)


def _difference(model: Exportable, answer: Answer, sequences: Sequence[SkeletonSequence]) -> float:
    """Return the largest difference; of features, in units of the largest number where that is above 1."""
    expected, got = eager(model, sequences), answer(sequences)
    if expected.shape != got.shape:
        return float("inf")
    return float(np.abs(got - expected).max() / max(1.0, float(np.abs(expected).max())))


def _milliseconds(answer: Answer, sequence: SkeletonSequence, seconds: float = 0.3, most: int = 50) -> float:
    """Return the median time of an answer."""
    for _ in range(3):
        answer([sequence])
    times = list[float]()
    while len(times) < 5 or (len(times) < most and sum(times) < seconds):
        start = time.perf_counter()
        answer([sequence])
        times.append(time.perf_counter() - start)
    return 1000.0 * float(np.median(times))


@contextmanager
def one_thread():
    """Let torch compute on one thread for a while."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def examples(encoder: Encoder) -> list[list[SkeletonSequence]]:
    """Return batches of made-up recordings that an encoder reads: lengths, people, layouts, and much that is absent."""
    layouts = [encoder.skeleton]
    if encoder.is_by_place:
        layouts += [LAYOUTS["kinect_v2_25"], LAYOUTS["kinect_v1_20"]]
    if encoder.takes_flat:
        layouts.append(replace(LAYOUTS["penn_13"], dimensions=2))
    generator = np.random.default_rng(0)
    many = [
        _walk(generator, layouts[number % len(layouts)], people, frames, absent)
        for number, (people, frames, absent) in enumerate(((2, 90, 0.0), (1, 40, 0.02), (3, 7, 0.3), (2, 200, 0.05)))
    ]
    nobody = many[3].present.copy()
    nobody[1] = False
    many[3] = SkeletonSequence(
        many[3].joints * nobody[..., None], nobody, 30.0, many[3].skeleton, Record("a body less")
    )
    return [[_walk(generator, layout, 1, 5, 0.0)] for layout in layouts] + [many[:2], many]


def _walk(
    generator: np.random.Generator, skeleton: Skeleton, people: int, frames: int, absent: float
) -> SkeletonSequence:
    """Return bodies whose joints wander, some of which are absent here and there."""
    shape = people, frames, len(skeleton.joints), 3
    joints = generator.normal(size=(people, 1, *shape[2:])) + 0.02 * generator.normal(size=shape).cumsum(1)
    if skeleton.dimensions == 2:
        joints[..., 2] = 0.0
    present = generator.random(shape[:3]) >= absent
    joints = np.where(present[..., None], joints, 0.0).astype(np.float32)
    return SkeletonSequence(joints, present, 30.0, skeleton, Record(f"{people} of {skeleton.name}"))


def _one(encoder: Encoder, people: int) -> SkeletonSequence:
    """Return a recording of so many people and as many frames as a window, of Kinect where any layout is read."""
    skeleton = LAYOUTS["kinect_v2_25"] if encoder.is_by_place else encoder.skeleton
    return _walk(np.random.default_rng(1), skeleton, people, encoder.input.window_frames, 0.0)
