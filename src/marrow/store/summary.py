"""What a store holds, and what looks wrong in it: units, axes, absent joints, bones that change length, copies.

Every figure is exact except the median bone lengths of large stores, which are taken over evenly spaced frames.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from marrow.skeleton.derived import measured
from marrow.store.copies import copied_rows
from marrow.store.doubts import check_store
from marrow.store.format import Store
from marrow.store.motion_checks import check_motion
from marrow.store.writer import Dropped

# What moving a clip there and back may leave of a difference.
_SAME_METRES = 1e-6
# Frames over which the median length of a bone is taken.
_MEDIAN_FRAMES = 200_000
# Pairs of copies that are named, of each kind.
_EXAMPLES = 3


@dataclass(frozen=True)
class SplitSummary:
    """One protocol.

    Args:
        train: clips to train on.
        test: clips to test on.
        shared: test clips that are bit-identical to a training clip.
        near: further test clips that are nearly the same as a training clip; None where that was not looked for.
        examples: some pairs of a training clip and a test clip that copies it, exactly or nearly, by id.
    """

    train: int
    test: int
    shared: int
    near: int | None = None
    examples: tuple[tuple[str, str], ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Summary:
    """What a store holds.

    Args:
        clips: number of clips.
        frames: sum of the clips' frames; a frame with two bodies counts once.
        bodies: clips by number of bodies.
        dropped: recordings left out, by reason.
        notes: what the reader had to mend or to leave out, by kind, and how often.
        labels: clips by class; unlabelled ones under "-".
        segments: labelled intervals of untrimmed clips by class; empty where there is none.
        splits: protocols by name.
        copies: clips that are bit-identical to an earlier one.
        length_frames: shortest, 5 %, 25 %, median, 75 %, 95 % and longest clip.
        fps: clips by frames per second.
        missing: share of a body's frames in which a joint is absent, by joint; those that are derived say nothing new.
        at_origin: frames of bodies with a joint that is marked present at exactly (0, 0, 0) of the source.
        bone_metres: median length by bone, which is named by its outer joint.
        bone_variation: how much a bone's length changes within a clip: the standard deviation over the mean, median
            over clips and bodies, by bone.
        upright: share of the frames in which the chest is above the hips along the skeleton's upward axis.
        upright_axis: the axis and sense in which chests are above hips, for example "-z"; "" if it cannot be told.
        stored_bytes: size on disk.
        warnings: what looks wrong, a sentence each.
        not_checked: what could not be checked, and why.
    """

    clips: int
    frames: int
    bodies: dict[int, int]
    dropped: dict[str, int]
    notes: dict[str, int]
    labels: dict[str, int]
    segments: dict[str, int]
    splits: dict[str, SplitSummary]
    copies: int
    length_frames: tuple[int, ...]
    fps: dict[float, int]
    missing: dict[str, float]
    at_origin: int
    bone_metres: dict[str, float]
    bone_variation: dict[str, float]
    upright: float
    upright_axis: str
    stored_bytes: int
    warnings: tuple[str, ...] = ()
    not_checked: tuple[str, ...] = ()


def summarise(store: Store, *, near: bool | None = None) -> Summary:
    """Read a whole store and say what it holds.

    Args:
        store: the store.
        near: whether to look for test clips that are nearly the same as a training clip; None: where it takes seconds.
    """
    motion = check_motion(store)
    axis, upright = motion.up or ("", 0.0)
    names = dict(enumerate(store.classes)) | {-1: "-"}
    labels = Counter(store.label.tolist())
    segments = Counter(segment.label for row in range(len(store)) for segment in store.segments(row))
    summary = Summary(
        clips=len(store),
        frames=int(store.frame_count.sum()),
        bodies=dict(sorted(Counter(store.body_count.tolist()).items())),
        dropped=dict(Counter(map(reason_without_file, store.dropped)).most_common()),
        notes=store.notes,
        labels={names.get(label, str(label)): labels[label] for label in sorted(set(labels) | set(names) - {-1})},
        segments={names.get(label, str(label)): count for label, count in sorted(segments.items())},
        splits={name: _split(store, name, near) for name in store.splits},
        copies=len(store) - len(set(store.content)),
        length_frames=tuple(
            int(frames)
            for frames in np.quantile(store.frame_count, (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1), method="nearest")
        ),
        fps=dict(Counter(store.fps.tolist()).most_common()),
        **_measure(store),
        upright=upright if axis == store.skeleton.up else 0.0,
        upright_axis=axis,
        stored_bytes=store.byte_count,
    )
    checks = check_store(store, summary, motion)
    return replace(
        summary,
        warnings=tuple(doubt for check in checks for doubt in check.doubts),
        not_checked=tuple(f"{check.name}: {check.not_run}" for check in checks if check.not_run),
    )


def reason_without_file(dropped: Dropped) -> str:
    """Return why a recording was left out, in words that are the same for every file."""
    if not dropped.path:
        return dropped.reason
    file = rf"\S*{re.escape(dropped.path)}(:\d+)?"
    return re.sub(file, "the file", re.sub(rf"^{file}: ", "", dropped.reason))


def _split(store: Store, name: str, near: bool | None) -> SplitSummary:
    train, test = store.split_rows(name)
    copies = copied_rows(store, train, test, near=near)
    pairs = [*list(copies.identical.items())[:_EXAMPLES], *list((copies.near or {}).items())[:_EXAMPLES]]
    return SplitSummary(
        train=len(train),
        test=len(test),
        shared=len(copies.identical),
        near=None if copies.near is None else len(copies.near),
        examples=tuple((store.ids[of], store.ids[row]) for row, of in pairs),
    )


def _measure(store: Store) -> dict[str, Any]:
    """Go through the shards once; return the fields of the summary that tell of the frames."""
    skeleton = store.skeleton
    outer, inner = np.array(skeleton.bones).reshape(-1, 2).T
    stored_rows = int((store.frame_count * store.body_count).sum())
    stride = -(-stored_rows // _MEDIAN_FRAMES)
    absent = np.zeros(len(skeleton.joints), np.int64)
    at_origin = 0
    lengths, variations = [], []
    for number in range(store.shard_count):
        clips, joints, present = store.shard(number)
        if not len(clips):
            continue
        frame_counts = np.repeat(store.frame_count[clips], store.body_count[clips])
        first = np.cumsum(frame_counts) - frame_counts
        absent += (~present).sum(axis=0)
        # A reader may have moved the clip: zeros of the source are no longer zeros.
        origins = np.stack([store.placement(int(clip)).source_origin() for clip in clips])
        origin = np.repeat(origins, store.frame_count[clips] * store.body_count[clips], axis=0)[:, None]
        lies_there = present & (np.abs(joints - origin) < _SAME_METRES).all(axis=-1)
        # A middle that was derived may lie there: MediaPipe's origin is the middle of the hips.
        lies_there &= measured(skeleton)
        # A joint that is there in every frame was put there: the root of poses without a place.
        at_origin += int(lies_there[:, ~lies_there.all(axis=0)].any(axis=-1).sum())

        length = np.linalg.norm(joints[:, outer] - joints[:, inner], axis=-1)
        whole = present[:, outer] & present[:, inner]
        lengths.append(np.where(whole, length, np.nan)[::stride])
        variations.append(_variation(length, whole, first))
    bones = [skeleton.joints[joint] for joint, _ in skeleton.bones]
    derived = {skeleton.joints[joint] for joint in skeleton.derived}  # says nothing that the others do not say

    def by_name(names: Sequence[str], values: Sequence[float]) -> dict[str, float]:
        return {name: value for name, value in zip(names, values, strict=True) if name not in derived}

    return {
        "missing": by_name(skeleton.joints, (absent / stored_rows).tolist()),
        "at_origin": at_origin,
        "bone_metres": by_name(bones, _medians(np.concatenate(lengths))),
        "bone_variation": by_name(bones, _medians(np.concatenate(variations))),
    }


def _mean(
    values: Float[np.ndarray, "row value"],
    counted: Bool[np.ndarray, "row value"],
    first: Int64[np.ndarray, " body"],
) -> Float64[np.ndarray, "body value"]:
    """Average over the counted frames of each body of each clip; NaN where none is."""
    totals = np.add.reduceat(np.where(counted, values, 0).astype(np.float64), first, axis=0)
    counts = np.add.reduceat(counted, first, axis=0, dtype=np.int64)
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)


def _variation(
    length: Float32[np.ndarray, "row bone"], whole: Bool[np.ndarray, "row bone"], first: Int64[np.ndarray, " body"]
) -> Float64[np.ndarray, "body bone"]:
    """Return the standard deviation over the mean of each bone in each body of each clip; NaN where undefined."""
    mean = _mean(length, whole, first)
    repeats = np.diff(first, append=len(length))
    deviation = length - np.repeat(np.nan_to_num(mean), repeats, axis=0)
    variance = _mean(deviation**2, whole, first)
    return np.where(mean > 0, np.sqrt(variance) / np.where(mean > 0, mean, 1), np.nan)


def _medians(values: Float[np.ndarray, "row bone"]) -> list[float]:
    """Return the median of what is not NaN in each column; 0 where nothing is."""
    columns = [column[np.isfinite(column)] for column in values.T]
    return [float(np.median(column)) if len(column) else 0.0 for column in columns]
