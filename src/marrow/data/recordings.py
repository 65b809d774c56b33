"""Windows out of long recordings: what dense tasks (detection, motion prediction) learn from and predict on.

A recording is never copied as a whole: a cut names its recording, first frame and length, and only the cuts of a batch
are laid end to end on the device. Each is aligned by its own frames, as a clip would be.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from marrow.data.augment import AugmentConfig
from marrow.data.batch import Batch, FixedShapes
from marrow.data.frames import ClipArrays, FlatFrames, flat_from_arrays
from marrow.data.loader import Schedule, TrainingLoader
from marrow.data.sampling import evaluation_batch
from marrow.data.window import InputConfig
from marrow.errors import ConfigError
from marrow.runtime.frames import window_starts
from marrow.skeleton.geometry import resample
from marrow.skeleton.layout import Skeleton
from marrow.store.format import Store

# recording (its place in `Recordings`), first frame, number of frames
Cuts = Int64[np.ndarray, "cut 3"]


@dataclass(frozen=True)
class Recordings:
    """Whole recordings of a store, at one frame rate.

    Args:
        arrays: positions in metres [body frame joint 3] and flags [body frame joint] of each.
        row: their rows in the store.
        fps: frames per second of each.
        skeleton: the layout of the joint axis.
        read_as: that of the encoder, which may have more dimensions; None: the same.
    """

    arrays: tuple[ClipArrays, ...]
    row: Int64[np.ndarray, " recording"]
    fps: tuple[float, ...]
    skeleton: Skeleton
    read_as: Skeleton | None = None

    @classmethod
    def of(cls, store: Store, rows: Int64[np.ndarray, " row"], fps: float | None = None) -> "Recordings":
        """Open recordings.

        Args:
            store: the data.
            rows: which.
            fps: frames per second that they are resampled to, between the frames that were seen; None: as stored, in
                which case nothing is read before it is cut.
        """
        arrays = [store.frames(int(row)) for row in rows]
        rates = [float(store.fps[int(row)]) for row in rows]
        if fps is not None:
            arrays = [at_rate(clip, rate, fps) for clip, rate in zip(arrays, rates, strict=True)]
            rates = [fps] * len(rates)
        return cls(tuple(arrays), np.asarray(rows, np.int64), tuple(rates), store.skeleton, store.read_as)

    def __len__(self) -> int:
        return len(self.arrays)

    @property
    def frame_count(self) -> Int64[np.ndarray, " recording"]:
        """Frames of each recording."""
        return np.array([present.shape[1] for _, present in self.arrays], np.int64)

    @property
    def max_bodies(self) -> int:
        """Most bodies of a recording."""
        return max(present.shape[0] for _, present in self.arrays)

    def cut(self, recording: int, start: int, length: int) -> ClipArrays:
        """Return a part of a recording: positions and flags."""
        joints, present = self.arrays[recording]
        return joints[:, start : start + length], present[:, start : start + length]


def at_rate(clip: ClipArrays, rate: float, fps: float) -> ClipArrays:
    """Resample a recording; one that has the rate is left as it is."""
    frames = round(clip[1].shape[1] * fps / rate)
    return clip if frames == clip[1].shape[1] else resample(*clip, max(frames, 1))


def sliding(recordings: Recordings, length: int, stride: int, *, whole: bool = True) -> Cuts:
    """Cut windows at equal distances out of every recording.

    Args:
        recordings: to cut.
        length: frames of a window.
        stride: frames between the beginnings of two.
        whole: cover every frame: the last window is moved to the end of its recording, and a recording that is shorter
            than a window becomes one. Otherwise what does not fill a window is left out.
    """
    if length < 1 or stride < 1:
        raise ConfigError(f"windows need a length and a stride of at least one frame, got {length} and {stride}")
    cuts: list[tuple[int, int, int]] = []
    for recording, frames in enumerate(recordings.frame_count.tolist()):
        starts = window_starts(frames, length, stride) if whole else range(0, frames - length + 1, stride)
        cuts += [(recording, start, min(length, frames)) for start in starts]
    return np.array(cuts, np.int64).reshape(-1, 3)


def cut_frames(
    recordings: Recordings,
    cuts: Cuts,
    input: InputConfig,
    device: torch.device | str,
    *,
    row: Int64[np.ndarray, " cut"] | None = None,
    aligned_by: int | None = None,
) -> FlatFrames:
    """Lay cuts end to end on a device, each aligned by its own frames.

    Args:
        recordings: where they are from.
        cuts: which.
        input: its `alignment` is computed here.
        device: where the frames are wanted.
        row: what each is called in the batches; None: its place in `cuts`.
        aligned_by: how many of a cut's first frames decide its alignment (those that are observed); None: all.
    """
    return flat_from_arrays(
        [recordings.cut(*cut) for cut in cuts.tolist()],
        *(recordings.skeleton, input, device),
        fps=[recordings.fps[recording] for recording in cuts[:, 0].tolist()],
        row=np.arange(len(cuts)) if row is None else row,
        max_bodies=recordings.max_bodies,
        aligned_by=aligned_by,
        read_as=recordings.read_as,
    )


def cut_batches(
    recordings: Recordings, cuts: Cuts, input: InputConfig, batch_clips: int, device: torch.device | str
) -> Iterator[Batch]:
    """Yield batches of whole cuts in their order. Nothing is random; `Batch.row` is the place in `cuts`."""
    if batch_clips < 1:
        raise ConfigError(f"batch_clips must be at least 1, got {batch_clips}")
    uncropped = replace(input, test_crop=1.0)
    for begin in range(0, len(cuts), batch_clips):
        of_batch = cuts[begin : begin + batch_clips]
        frames = cut_frames(recordings, of_batch, input, device, row=np.arange(begin, begin + len(of_batch)))
        yield evaluation_batch(frames, torch.arange(len(of_batch), device=frames.device), uncropped)


def uncropped(augment: AugmentConfig) -> AugmentConfig:
    """Return an augmentation that leaves time as it is, so that a frame keeps its place in a cut."""
    whole = {"crop_low": 1.0, "crop_high": 1.0, "min_crop_frames": 1, "one_of_each": 0.0}
    return replace(augment, **whole, min_crop_seconds=None, max_crop_seconds=None)


class CutLoader(TrainingLoader):
    """Training batches of cuts, for `marrow.train.loop.fit`; `Batch.row` is the place in `cuts`, labels are -1.

    Args:
        recordings: where the cuts are from.
        cuts: what an epoch visits once, in an order of its own.
        input: of the encoder.
        augment: what is varied; cuts are not cropped (`uncropped`).
        batch_clips: cuts per optimizer step.
        seed: of order and augmentation.
        device: of the batches.
        aligned_by: see `cut_frames`.
        fixed: whether all batches are of a few shapes (`Batch.shapes`).
    """

    def __init__(
        self,
        recordings: Recordings,
        cuts: Cuts,
        input: InputConfig,
        augment: AugmentConfig,
        *,
        batch_clips: int,
        seed: int,
        device: torch.device | str,
        aligned_by: int | None = None,
        fixed: bool = False,
    ) -> None:
        augment.check_layout(recordings.skeleton)
        shapes = None
        if fixed:
            bodies = np.array([present.shape[0] for _, present in recordings.arrays], np.int64)[cuts[:, 0]]
            # Whether anything is absent in any cut is not known without reading all of them.
            fps = np.array(recordings.fps, np.float64)[cuts[:, 0]]
            shapes = FixedShapes.of_windows(
                *(bodies, cuts[:, 2], fps, input, batch_clips, recordings.max_bodies),
                whole=False,
                joints=len(recordings.skeleton.joints),
            )
        schedule = Schedule(len(cuts), batch_clips, seed)
        super().__init__(schedule, np.arange(len(cuts)), input, uncropped(augment), shapes)
        self.recordings, self.cuts = recordings, cuts
        self._device, self._aligned_by = device, aligned_by

    def _frames(self) -> Iterator[tuple[FlatFrames, Int64[Tensor, " batch"]]]:
        for places in self._schedule.clips_of(self.position):
            frames = cut_frames(
                *(self.recordings, self.cuts[places], self._input, self._device),
                row=places,
                aligned_by=self._aligned_by,
            )
            yield frames, torch.arange(len(places), device=frames.device)
