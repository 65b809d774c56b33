"""Is an exported file what the model in memory is, and what is it worth: answers, size, time, how often it is right."""

import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64

from marrow.data.recordings import Recordings
from marrow.data.subsets import protocol_rows
from marrow.errors import ConfigError, DataError
from marrow.models.encoder import Encoder
from marrow.runtime.model import Model
from marrow.skeleton.known import LAYOUTS
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.format import Store
from marrow.tasks.detection.recordings import labels_of, recorded_frames
from marrow.use.labeller import Labeller
from marrow.use.plain import Exportable, eager, encoder_of, head_of


@dataclass(frozen=True)
class Side:
    """A form of a model, and what was measured of it.

    Args:
        name: what it is.
        path: its file; None: it is in memory.
        size_bytes: of its file, or of its weights.
        milliseconds: from the arrays of one recording to the answer, on one thread, by the number of people in it.
        difference: of the answers to the examples, from those of the model in memory.
        asked: method of a file that gives such answers: predict, embed or segments.
        top1_percent: of the recordings on the test half of a protocol, of a detector of their frames; None: not asked
            for.
    """

    name: str
    path: Path | None
    size_bytes: int
    milliseconds: dict[int, float]
    difference: float
    asked: str
    top1_percent: float | None = None


@dataclass(frozen=True)
class TestHalf:
    """What a model is judged by.

    Args:
        sequences: recordings.
        label: class of each; of a detector, of each of their frames, -1 where that does not count.
    """

    __test__ = False  # the name begins with "Test", but this is nothing for pytest to collect

    sequences: Sequence[SkeletonSequence]
    label: Int64[np.ndarray, " answer"]


def labelled_half(model: Exportable, store: Store | Path | str | None, protocol: str | None) -> TestHalf | None:
    """Return what top-1 is measured on; None where it is not asked for.

    Raises:
        ConfigError: the model or the store has no such classes, or one of the two is not named.
    """
    if store is None and protocol is None:
        return None
    if store is None or protocol is None:
        raise ConfigError("--store and --protocol go together: top-1 is measured on the protocol's test half")
    if isinstance(model, Encoder):
        raise ConfigError("--store is for a recogniser or a detector: an encoder names no class, and has no top-1")
    store = store if isinstance(store, Store) else Store.open(store)
    if sorted(store.classes) != sorted(model.classes):
        raise ConfigError(
            f"expected a store with the classes of the model ({', '.join(model.classes)}); {store.path} has "
            f"{', '.join(store.classes) or 'none'}"
        )
    rows = protocol_rows(store, protocol)[1]
    if isinstance(model, Labeller):
        rows = rows[np.asarray(store.label)[rows] >= 0]
        label = np.asarray(store.label)[rows]
    else:
        label = _frame_labels(store, rows)
    if not (label >= 0).any():
        raise DataError(f"{store.path}: nothing in the test half of {protocol!r} has a label")
    # Both may name them in another order; what belongs to no class stays what it is.
    places = np.array([*(model.classes.index(name) for name in store.classes), len(store.classes), -1])
    return TestHalf(encoder_of(model).readable([store.sequence(int(row)) for row in rows]), places[label])


def _frame_labels(store: Store, rows: Int64[np.ndarray, " row"]) -> Int64[np.ndarray, " frame"]:
    """Return the class of the frames of recordings, one behind the other; -1 where a reader filled them in."""
    recordings = Recordings.of(store, rows)
    labels = labels_of(store, recordings, len(store.classes))
    for label, recorded in zip(labels, recorded_frames(store, recordings), strict=True):
        label[np.setdiff1d(np.arange(len(label)), recorded)] = -1
    return np.concatenate([*labels, np.zeros(0, np.int64)])


def answers(model: Exportable | Model, sequences: Sequence[SkeletonSequence]) -> np.ndarray:
    """Return what a model in memory or a file says of recordings; of a detector, of the frames of all of them."""
    if not isinstance(model, Model):
        return eager(model, sequences)
    if model.description.kind == "detector":
        return np.concatenate(model.frames(sequences))
    return model.predict(sequences) if model.description.kind == "recogniser" else model.embed(sequences)


def measured(name: str, path: Path | None, file: Model | None, model: Exportable, judged: TestHalf | None) -> Side:
    """Compare answers with those of the model in memory, and take their time.

    Args:
        name: of the form.
        path: its file; None: the model in memory itself is measured.
        file: what it answers with.
        model: in memory.
        judged: what top-1 is measured on.
    """
    encoder, head, asked = encoder_of(model), head_of(model), file or model
    weights = [*encoder.parameters(), *(() if head is None else head.parameters())]
    size = path.stat().st_size if path else sum(weight.numel() * weight.element_size() for weight in weights)
    top1 = None
    if judged is not None:
        found = np.concatenate([answers(asked, judged.sequences[at : at + 16]).argmax(1) for at in _starts(judged)])
        top1 = 100.0 * float((found == judged.label)[judged.label >= 0].mean())
    with one_thread():
        difference = 0.0 if file is None else max(_difference(model, file, part) for part in examples(encoder))
        milliseconds = {people: _milliseconds(asked, _one(encoder, people)) for people in (1, 2)}
    asked_by = "embed" if isinstance(model, Encoder) else "predict" if isinstance(model, Labeller) else "segments"
    return Side(name, path, size, milliseconds, difference, asked_by, top1)


def _starts(judged: TestHalf) -> range:
    return range(0, len(judged.sequences), 16)


def _difference(model: Exportable, file: Model, sequences: Sequence[SkeletonSequence]) -> float:
    """Return the largest difference; of features, in units of the largest number where that is above 1."""
    expected, got = answers(model, sequences), answers(file, sequences)
    if expected.shape != got.shape:
        return float("inf")
    return float(np.abs(got - expected).max() / max(1.0, float(np.abs(expected).max())))


def _milliseconds(model: Exportable | Model, sequence: SkeletonSequence, seconds: float = 0.3, most: int = 50) -> float:
    """Return the median time of an answer."""
    for _ in range(3):
        answers(model, [sequence])
    times = list[float]()
    while len(times) < 5 or (len(times) < most and sum(times) < seconds):
        start = time.perf_counter()
        answers(model, [sequence])
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
