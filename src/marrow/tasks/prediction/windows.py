"""The windows of motion prediction: which ones are forecast and scored, what is left out, and their poses."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from marrow.data.frames import ClipArrays
from marrow.data.recordings import Cuts, Recordings, sliding
from marrow.errors import ConfigError, DataError
from marrow.skeleton.layout import H36M_32, Skeleton
from marrow.store.format import Store
from marrow.tasks.base import TaskData
from marrow.tasks.prediction.config import PredictionConfig
from marrow.tasks.prediction.metrics import H36M_SETS, h36m_window_starts


@dataclass(frozen=True)
class ForecastWindows:
    """What is forecast and scored.

    Args:
        recordings: at the frame rate of the task.
        cuts: observed and future frames together.
        ids: of the recordings.
        name: of the set of windows, where there are several; "" for the first.
        left_out: what is not scored, in a sentence.
        group: of each recording; groups have equal weight. None: windows have.
    """

    recordings: Recordings
    cuts: Cuts
    ids: tuple[str, ...]
    name: str
    left_out: str
    group: tuple[str, ...] | None = None


def scored_windows(data: TaskData, config: PredictionConfig) -> list[ForecastWindows]:
    """Cut the test recordings, as the protocol of Human3.6M says where they are of it."""
    store = data.store
    recordings = Recordings.of(store, data.test_rows, config.fps)
    ids = tuple(store.ids[row] for row in data.test_rows.tolist())
    if store.source == "h36m" and store.skeleton.joints == H36M_32.joints:
        return _h36m_windows(store, recordings, ids, config)
    length = config.observed_frames + config.predicted_frames
    cuts = sliding(recordings, length, config.test_stride, whole=False)
    if not len(cuts):
        raise DataError(
            f"motion prediction: no test clip of protocol {data.protocol!r} has {length} frames at {config.fps:g} per "
            f"second (the longest has {recordings.frame_count.max()}); lower motion_prediction.observed_frames"
        )
    return [ForecastWindows(recordings, cuts, ids, "", left_out("test", recordings.frame_count, length, config.fps))]


def _h36m_windows(
    store: Store, recordings: Recordings, ids: tuple[str, ...], config: PredictionConfig
) -> list[ForecastWindows]:
    """Return the official sets of windows, the larger one first."""
    if config.fps != 25.0 or config.predicted_frames > 100:
        raise ConfigError(
            "the test windows of Human3.6M are defined at 25 frames per second, with up to 100 forecast frames; got "
            f"motion_prediction.fps {config.fps:g} and motion_prediction.predicted_frames {config.predicted_frames}"
        )
    subject, action, take = (store.attribute(name)[recordings.row] for name in ("subject", "action", "take"))
    group = tuple(f"S{who} {what}" for who, what in zip(subject.tolist(), action.tolist(), strict=True))
    pairs: dict[str, dict[int, int]] = {}
    for recording, (name, number) in enumerate(zip(group, take.tolist(), strict=True)):
        pairs.setdefault(name, {})[int(number)] = recording
    whole = {name: (takes[1], takes[2]) for name, takes in pairs.items() if {1, 2} <= takes.keys()}
    if not whole:
        raise DataError("the test windows of Human3.6M are drawn from both takes of an action; no action here has both")
    missing = sorted(pairs.keys() - whole.keys())
    left_out = f"Left out, as one of two takes is missing: {', '.join(missing)}." if missing else ""
    length, frames = config.observed_frames + config.predicted_frames, recordings.frame_count.tolist()
    sets = []
    for name, draws in sorted(H36M_SETS.items(), key=lambda drawn: -drawn[1]):
        cuts = [
            (recording, start, length)
            for takes in whole.values()
            for recording, starts in zip(
                takes,
                h36m_window_starts((frames[takes[0]], frames[takes[1]]), config.observed_frames, draws),
                strict=True,
            )
            for start in starts.tolist()
        ]
        sets.append(
            ForecastWindows(recordings, np.array(cuts, np.int64), ids, "" if not sets else name, left_out, group)
        )
    return sets


def frames_at(store: Store, row: int, fps: float) -> int:
    """Return how many frames a clip has at a frame rate, without reading it."""
    return max(1, round(int(store.frame_count[row]) * fps / float(store.fps[row])))


def left_out(half: str, frame_count: Int64[np.ndarray, " recording"], length: int, fps: float) -> str:
    """Say how many recordings are too short for one window."""
    short = int((frame_count < length).sum())
    if not short:
        return ""
    return f"{short} of {len(frame_count)} {half} clips are shorter than a window ({length / fps:.1f} s) and left out."


def side_by_side(
    clips: Sequence[ClipArrays],
) -> tuple[Float64[np.ndarray, "window body frame joint 3"], Bool[np.ndarray, "window body frame joint"]]:
    """Stack clips of one length; bodies that a clip does not have are absent."""
    bodies = max(present.shape[0] for _, present in clips)
    frames, joint_count = clips[0][1].shape[1:]
    joints = np.zeros((len(clips), bodies, frames, joint_count, 3))
    present = np.zeros(joints.shape[:-1], bool)
    for clip, (its_joints, its_present) in enumerate(clips):
        joints[clip, : len(its_joints)] = np.where(its_present[..., None], its_joints, 0.0)
        present[clip, : len(its_present)] = its_present
    return joints, present


def held(
    joints: Float[Tensor, "batch body time joint 3"], present: Bool[Tensor, "batch body time joint"]
) -> Float[Tensor, "batch body time joint 3"]:
    """Let every joint stay where it was last seen, and where it will first be seen before that; zero if it never is."""
    frame = torch.arange(joints.shape[2], device=joints.device)[:, None].expand_as(present)
    last = torch.where(present, frame, -1).cummax(dim=2).values
    first = torch.where(present, frame, joints.shape[2] - 1).amin(dim=2, keepdim=True)
    source = torch.where(last >= 0, last, first)
    return torch.where(present[..., None], joints, 0.0).gather(2, source[..., None].expand_as(joints))


def centre_of(skeleton: Skeleton, *, is_measured: bool = False) -> int:
    """Return the joint that root-centred positions are relative to: the skeleton's centre, else its first root.

    Where `is_measured`, a centre that is derived does not count: what is learned from has no such joint.
    """
    roots = [joint for joint, parent in enumerate(skeleton.parents) if joint == parent]
    centre = skeleton.anchors.get("centre")
    if centre is None or (is_measured and centre in skeleton.derived):
        return roots[0] if roots else 0
    return centre
