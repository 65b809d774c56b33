"""The nearest motions: which clips of a store, or which places inside its recordings, are most like one.

Every clip, or every window of some seconds (`within`), is one feature vector of the encoder, standardised over all of
them; distance is 1 - cosine, between 0 (the same) and 2. A recording that is the query itself is not among its
neighbours; inside long recordings, only what overlaps the query is left out.
"""

import hashlib
import json
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from marrow.data.sampling import batch_from_sequences
from marrow.errors import CheckpointError, ConfigError, DataError, did_you_mean
from marrow.importing.in_memory import read
from marrow.models.encoder import Encoder
from marrow.models.export import describe, load_encoder
from marrow.skeleton.sequence import SkeletonSequence
from marrow.store.format import Store
from marrow.store.writer import content_hash
from marrow.tasks.encoders import facts_of, store_for
from marrow.train.device import make_fabric
from marrow.use.motion_index import Hit, Index, IndexFacts

_log = logging.getLogger(__name__)

_BATCH_CLIPS = 64
# Windows overlap: a movement that lies across the border of two lies well inside of another one.
_STRIDES_PER_WINDOW = 4
# Longer recordings than this hold more than one motion.
_LONG_SECONDS = 20.0


@dataclass(frozen=True)
class Question:
    """The motion that others are compared with.

    Args:
        motion: the recording, or the part of it that is meant, in its own layout.
        name: of the recording.
        start_seconds: where the part begins in the recording.
        end_seconds: where it ends.
        rows: rows of the store that hold this very recording, to the last bit.
    """

    motion: SkeletonSequence
    name: str
    start_seconds: float
    end_seconds: float
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Answer:
    """What is nearest to a question.

    Args:
        question: what was asked.
        hits: the nearest first.
        notes: what was left out, and what is doubtful, in sentences.
        count: motions that were compared.
    """

    question: Question
    hits: list[Hit]
    notes: list[str]
    count: int


def find_neighbours(
    model: Encoder | Path | str,
    store: Store,
    query: str | SkeletonSequence,
    *,
    count: int = 10,
    within: bool = False,
    part: tuple[float, float] | None = None,
    seconds: float | None = None,
    stride: float | None = None,
    index: Path | None = None,
    device: str = "auto",
) -> Answer:
    """Find what is nearest to a motion in a store.

    Args:
        model: an encoder, or whatever `marrow.load_encoder` takes.
        store: what is searched.
        query: id of a clip of the store, a file of any known format with one recording, or a sequence.
        count: neighbours at most.
        within: search inside the recordings, whose windows of some seconds are compared, instead of whole clips.
        part: from and to which second the query is meant; None: all of it.
        seconds: length of the windows; None: that of the index, or of the query where there is none yet.
        stride: seconds between the beginnings of two windows; None: a quarter of their length.
        index: file that keeps the features; made where there is none, of this encoder and store.
        device: auto, cpu, cuda, ...

    Raises:
        ConfigError: the query is not there, or settings do not fit together.
        CheckpointError: the index is of another encoder, of other data or of other windows.
        DataError: the query cannot be read, or is not for the encoder.
    """
    if count < 1:
        raise ConfigError(f"the number of neighbours must be at least 1, got {count}")
    if not within and (seconds is not None or stride is not None):
        raise ConfigError(
            "the length and the stride of windows are for a search inside recordings: ask for it (within)"
        )
    encoder = model if isinstance(model, Encoder) else load_encoder(model)
    if within:  # mirror images find no more windows (docs/use.md), and make an index four times as large
        encoder = encoder.one_sided()
    question = ask(store, query, part)
    [features] = features_of(encoder, [question.motion], within=within, device=device)
    searched = _index(encoder, model, store, question, within, seconds, stride, index, device)
    left_out = np.zeros(len(searched), bool)
    for row in question.rows:
        start, end = (question.start_seconds, question.end_seconds) if within else (0.0, math.inf)
        left_out |= searched.overlapping(row, start, end)
    notes = _notes(store, question, searched, within)
    return Answer(question, searched.nearest(features, count, left_out), notes, len(searched))


def ask(store: Store, query: str | SkeletonSequence, part: tuple[float, float] | None = None) -> Question:
    """Look a query up: a clip of the store, or a recording of a file or in memory.

    Raises:
        ConfigError: it is neither an id nor a file, or the part of it that is meant is empty.
        DataError: the file holds no recording, or several.
    """
    if isinstance(query, SkeletonSequence):
        sequence, content = query, _content(query)
    elif query in store.ids:
        row = store.ids.index(query)
        sequence, content = store.sequence(row), store.content[row]
    elif Path(query).exists():
        sequences = read(query)
        if len(sequences) != 1:
            ids = [sequence.record.id for sequence in sequences[:3]]
            raise DataError(
                f"{query}: expected one recording to compare with, got {len(sequences)} {ids}; give a file with one, "
                "or the id of one that is in the store"
            )
        sequence, content = sequences[0], _content(sequences[0])
    else:
        hint = did_you_mean(query, store.ids)
        raise ConfigError(f"--query {query!r} is neither a clip of {store.path} nor a file.{hint}")
    rows = tuple(row for row, other in enumerate(store.content) if other == content)
    length = sequence.frame_count / sequence.fps
    start, end = (0.0, length) if part is None else (max(0.0, part[0]), min(length, part[1]))
    frames = round(start * sequence.fps), round(end * sequence.fps)
    if frames[1] - frames[0] < 2:
        raise ConfigError(
            f"{sequence.record.id} lasts {length:.3g} seconds: expected a part of it of at least two frames "
            f"({2 / sequence.fps:.2g} seconds), got {'all of it' if part is None else f'{part[0]:g} to {part[1]:g}'}"
        )
    return Question(part_of(sequence, *frames), sequence.record.id, start, end, rows)


def _content(sequence: SkeletonSequence) -> str:
    """Return the hash that a store would have of a sequence: of bodies that are seen, zero where absent."""
    bodies = sequence.present.any(axis=(1, 2))
    present = sequence.present[bodies]
    joints = np.where(present[..., None], sequence.joints[bodies], np.float32(0))
    return content_hash(joints, np.packbits(present, axis=-1))


def _notes(store: Store, question: Question, searched: Index, within: bool) -> list[str]:
    notes, what = [], "what overlaps it" if within else "it"
    if question.rows:
        ids = ", ".join(store.ids[row] for row in question.rows[:5])
        notes.append(f"the query is in the store itself ({ids}): {what} is left out")
    length, seconds = question.end_seconds - question.start_seconds, searched.facts.seconds
    usual = float(np.median(store.frame_count / store.fps))
    if seconds is None and usual > _LONG_SECONDS:
        notes.append(f"recordings last {usual:.0f} seconds, and are compared as wholes: --within searches inside them")
    if seconds is not None and not 0.5 <= length / seconds <= 2.0:
        notes.append(
            f"the query lasts {length:.1f} seconds, the windows {seconds:g}: motions of one length compare best"
        )
    return notes


def _index(
    encoder: Encoder,
    model: Encoder | Path | str,
    store: Store,
    question: Question,
    within: bool,
    seconds: float | None,
    stride: float | None,
    path: Path | None,
    device: str,
) -> Index:
    """Open the index that is asked for, or make it; one that was made for something else is refused."""
    ours = fingerprint_of(encoder)
    if path is None or not path.exists():
        if within:
            seconds = seconds or round(question.end_seconds - question.start_seconds, 3)
            stride = stride or seconds / _STRIDES_PER_WINDOW
        made = build_index(encoder, store, IndexFacts(ours, store.fingerprint, seconds, stride), device=device)
        if path is not None:
            made.save(path)
            _log.info("wrote %s (%d motions)", path, len(made))
        return made
    there = Index.open(path)
    facts = there.facts
    wanted = "windows" if within else "whole clips"
    for is_other, what in (
        (facts.encoder != ours, f"of another encoder ({facts.encoder}) than {_named(model)} ({ours})"),
        (facts.store != store.fingerprint, f"of other data ({facts.store[:16]}) than {store.path}"),
        ((facts.seconds is not None) != within, f"not of {wanted}"),
        (seconds not in (None, facts.seconds), f"of windows of {facts.seconds} seconds, not {seconds}"),
        (stride not in (None, facts.stride), f"of windows every {facts.stride} seconds, not {stride}"),
    ):
        if is_other:
            raise CheckpointError(f"{path} is an index {what}; give another --index, and it is made")
    return there


def _named(model: Encoder | Path | str) -> str:
    return "the encoder" if isinstance(model, Encoder) else str(model)


def build_index(
    encoder: Encoder,
    store: Store,
    facts: IndexFacts,
    *,
    name: Path | str = "the encoder",
    device: str = "auto",
    batch_clips: int = _BATCH_CLIPS,
) -> Index:
    """Encode every clip of a store, or every window of its recordings in which somebody is.

    Args:
        encoder: the encoder.
        store: the data.
        facts: whose index it is; its `seconds` and `stride` say what is encoded.
        name: of the encoder, for messages.
        device: auto, cpu, cuda, ...
        batch_clips: motions per forward pass.

    Raises:
        ConfigError: a window has no length, or the encoder reads other recordings.
        DataError: nobody is in any of them.
    """
    store = store_for(encoder, store, name)
    motions, places, features = [], [], []
    for place, motion in motions_of(store, facts):
        motions.append(motion)
        places.append(place)
        if len(motions) == batch_clips:
            features.append(features_of(encoder, motions, within=facts.seconds is not None, device=device))
            motions = []
    if motions:
        features.append(features_of(encoder, motions, within=facts.seconds is not None, device=device))
    if not places:
        raise DataError(f"{store.path}: nobody is seen in any of its recordings")
    whole = np.concatenate(features)
    if not np.isfinite(whole).all():
        raise DataError(f"{name} gives features that are not finite on {store.path}")
    row, start, end = (np.array(values) for values in zip(*places, strict=True))
    return Index.of(whole, row.astype(np.int64), start.astype(np.float64), end.astype(np.float64), facts)


def motions_of(store: Store, facts: IndexFacts) -> Iterator[tuple[tuple[int, float, float], SkeletonSequence]]:
    """Yield what is encoded of a store, in its order: the row, from and to which second, and the motion."""
    for row in range(len(store)):
        sequence, fps = store.sequence(row), float(store.fps[row])
        for start, end in _spans(sequence.frame_count, fps, facts):
            motion = part_of(sequence, start, end)
            if motion.present.any():
                yield (row, start / fps, end / fps), motion


def _spans(frames: int, fps: float, facts: IndexFacts) -> list[tuple[int, int]]:
    """Cover a recording with windows; the last one ends with it, and a shorter recording is one window."""
    if facts.seconds is None or facts.stride is None:
        return [(0, frames)]
    if not (0 < facts.seconds < math.inf and 0 < facts.stride < math.inf):
        raise ConfigError(f"windows must have seconds and a stride above 0, got {facts.seconds} and {facts.stride}")
    length, stride = max(2, round(facts.seconds * fps)), max(1, round(facts.stride * fps))
    starts = list(range(0, frames - length + 1, stride))
    if not starts or starts[-1] + length < frames:
        starts.append(max(0, frames - length))
    return [(start, min(start + length, frames)) for start in starts]


def part_of(sequence: SkeletonSequence, start: int, end: int) -> SkeletonSequence:
    """Return frames of a sequence, from one up to, not including, another; labelled intervals are left out."""
    frames = slice(start, end)
    return replace(
        sequence,
        joints=np.asarray(sequence.joints[:, frames]),
        present=sequence.present[:, frames],
        segments=(),
        recorded=None,
    )


@torch.inference_mode()
def features_of(
    encoder: Encoder, motions: Sequence[SkeletonSequence], *, within: bool, device: str = "auto"
) -> Float32[np.ndarray, "motion dim"]:
    """Return the pooled features of motions: of a window, all frames; of a clip, what the encoder reads of clips.

    Raises:
        DataError: a motion has another skeleton than the encoder, or fewer dimensions.
    """
    fabric, _ = make_fabric(device, "fp32")
    encoder.to(fabric.device).eval()
    input = replace(encoder.input, test_crop=1.0) if within else encoder.input
    batch = batch_from_sequences(encoder.readable(motions), input, fabric.device, encoder.skeleton)
    return encoder(batch).pooled().float().cpu().numpy()


def fingerprint_of(encoder: Encoder) -> str:
    """Return the fingerprint of an encoder, as an index names it: of its weights, and of how they are used."""
    said = json.dumps(describe(encoder), sort_keys=True)
    return f"{facts_of(encoder, 0).fingerprint}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"


def class_of(store: Store, hit: Hit) -> str:
    """Return the class of a motion: of the clip, or of the labelled interval that takes half of it; "": none."""
    fps, label = float(store.fps[hit.row]), int(store.label[hit.row])
    for segment in store.segments(hit.row):
        start, end = segment.start_frame / fps, segment.end_frame / fps
        shared = min(hit.end_seconds, end) - max(hit.start_seconds, start)
        if shared >= 0.5 * (hit.end_seconds - hit.start_seconds):
            label = segment.label
    return store.classes[label] if 0 <= label < len(store.classes) else ""
