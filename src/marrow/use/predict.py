"""What is who doing in which recording, and when: recordings cut into people and windows, and what a model says."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from marrow.errors import ConfigError
from marrow.skeleton.sequence import SkeletonSequence
from marrow.use.inputs import Input, Unreadable, readable
from marrow.use.labeller import Judgement, Labeller

_log = logging.getLogger(__name__)

# Parts of recordings that are computed at a time.
_BATCH_PARTS = 64
# A recording that lasts so many times longer than what was learned from is not likely to be one action.
_LONG = 3.0


@dataclass(frozen=True)
class Answer:
    """What a model says of a part of a recording.

    Args:
        file: where the recording comes from.
        recording: its id.
        person: who, counted from 1; None: all who are seen.
        start_seconds: where the part begins.
        end_seconds: where it ends.
        classes: name and probability, the most probable first; none where nobody is seen.
        distance: from what was learned; None where the model keeps nothing to compare with.
        is_unknown: whether that is too far; None where it cannot tell, or nobody is seen.
        is_example: whether the model was made from the recording itself; None where that is not kept.
        raw_file: of a clip of a store: the file that it was made from, below the folder that the store was; "": not
            known.
    """

    file: str
    recording: str
    person: int | None
    start_seconds: float
    end_seconds: float
    classes: tuple[tuple[str, float], ...]
    distance: float | None
    is_unknown: bool | None
    is_example: bool | None = None
    raw_file: str = ""

    @property
    def label(self) -> str | None:
        """The answer in one word: a class, "unknown", or None where nobody is seen."""
        if not self.classes:
            return None
        return "unknown" if self.is_unknown else self.classes[0][0]


@dataclass(frozen=True)
class Part:
    """A part of a recording.

    Args:
        answer: what is known of it before the model has said anything.
        sequence: its frames, of one person or of all; None where nobody is seen.
    """

    answer: Answer
    sequence: SkeletonSequence | None


def predict(
    labeller: Labeller, inputs: Iterable[Input | Unreadable], model: str, *, every: float | None = None, top: int = 3
) -> Iterator[Answer | Unreadable]:
    """Say what recordings are, in their order.

    Args:
        labeller: the model.
        inputs: recordings.
        model: its name, for messages.
        every: length of windows in seconds; None: whole recordings.
        top: classes of an answer.

    Raises:
        DataError: a recording has another layout than the model reads.
        ConfigError: a window has fewer than two frames.
    """
    longest = None if labeller.known is None else labeller.known.longest_seconds

    def parts() -> Iterator[Part | Unreadable]:
        for given in inputs:
            if isinstance(given, Unreadable):
                yield given
                continue
            seconds = given.sequence.frame_count / given.sequence.fps
            if every is None and longest is not None and seconds > _LONG * longest:
                _log.warning(
                    "%s lasts %.0f s, the longest recording that was learned from %.1f s: --every %.2g asks about one "
                    "window after the other",
                    *(given.sequence.record.id, seconds, longest, longest),
                )
            sequence = readable(labeller.encoder, given.sequence, model)
            is_example = None if labeller.examples is None else sequence in labeller.examples
            for part in parts_of(replace(given, sequence=sequence), every):
                yield replace(part, answer=replace(part.answer, is_example=is_example))

    waiting = iter(parts())
    while block := list(islice(waiting, _BATCH_PARTS)):
        seen = [part.sequence for part in block if isinstance(part, Part) and part.sequence is not None]
        judged = iter(labeller.judge(seen) if seen else [])
        for part in block:
            if isinstance(part, Unreadable):
                yield part
            elif part.sequence is None:
                yield part.answer
            else:
                yield _answered(part.answer, next(judged), labeller.classes, top)


def parts_of(given: Input, every: float | None) -> Iterator[Part]:
    """Cut a recording into windows: all people together and, where there are several, each while seen."""
    sequence = given.sequence
    for start, end in windows(sequence.frame_count, sequence.fps, every):
        yield _part(given, None, start, end)
        for person in range(sequence.body_count) if sequence.body_count > 1 else ():
            seen = np.flatnonzero(sequence.present[person, start:end].any(axis=1))
            if len(seen):
                yield _part(given, person, start + int(seen[0]), start + int(seen[-1]) + 1)


def windows_of(sequence: SkeletonSequence, every: float | None) -> list[SkeletonSequence]:
    """Cut a recording into windows, and leave out those in which nobody is seen, unless nobody ever is."""
    if every is None:
        return [sequence]
    cut = [
        _frames(sequence, slice(None), start, end) for start, end in windows(sequence.frame_count, sequence.fps, every)
    ]
    return [part for part in cut if part.present.any()] or [sequence]


def _frames(sequence: SkeletonSequence, bodies: slice, start: int, end: int) -> SkeletonSequence:
    joints, present = sequence.joints[bodies, start:end], sequence.present[bodies, start:end]
    return replace(sequence, joints=joints, present=present, segments=(), recorded=None)


def _part(given: Input, person: int | None, start: int, end: int) -> Part:
    """Take the frames of one person, or of all, out of a recording."""
    sequence, fps = given.sequence, given.sequence.fps
    bodies = slice(None) if person is None else slice(person, person + 1)
    who = None if person is None else person + 1
    raw_file = sequence.record.path
    answer = Answer(given.file, sequence.record.id, who, start / fps, end / fps, (), None, None, raw_file=raw_file)
    frames = _frames(sequence, bodies, start, end)
    return Part(answer, frames if frames.present.any() else None)


def windows(frame_count: int, fps: float, every: float | None) -> list[tuple[int, int]]:
    """Return first frame and the frame after the last one of each window.

    One window begins where the one before it ends. What is left at the end is a window of its own if it fills half of
    one, and else belongs to the one before it; a recording that is shorter than a window is one.

    Args:
        frame_count: of the recording.
        fps: its frames per second.
        every: length of a window in seconds; None: the whole recording is one.
    """
    if every is None:
        return [(0, frame_count)]
    if every * fps < 2.0:
        raise ConfigError(
            f"--every must be at least two frames, {2.0 / fps:.3g} s at {fps:g} frames per second; got {every:g} s"
        )
    count = max(1, int(frame_count / (every * fps) + 0.5))
    starts = [round(number * every * fps) for number in range(count)]
    return list(zip(starts, [*starts[1:], frame_count], strict=True))


def _answered(answer: Answer, judgement: Judgement, classes: tuple[str, ...], top: int) -> Answer:
    order = np.argsort(-judgement.probability, kind="stable")[:top].tolist()
    named = tuple((classes[number], float(judgement.probability[number])) for number in order)
    return replace(answer, classes=named, distance=judgement.distance, is_unknown=judgement.is_unknown)
