"""What an encoder is given of a sequence: the settings that decide it, and which frames they amount to.

The settings are kept inside every exported encoder.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from marrow.errors import ConfigError

Stream = Literal["joint", "bone", "motion", "bone_motion"]
Alignment = Literal["none", "yaw", "body", "pair"]
Pace = Literal["resized", "recorded"]


@dataclass(frozen=True)
class InputConfig:
    """From a stored sequence to a window.

    Args:
        window_frames: frames after resizing; at recorded pace, the most frames that a clip keeps.
        stream: joint positions, bones (joint minus parent), motion (next frame minus this one), or motion of the bones.
        alignment: what is undone before the encoder sees a clip, once per clip, from its own frames:
            none: nothing, the coordinates as stored.
            yaw: one turn about the vertical that fixes the clip's mean hip and shoulder axis, and a shift that puts its
            mean hip centre at the origin.
            body: as yaw, and scaled by the clip's mean trunk length, so that the unit is the trunk.
            pair: two persons in the frame of both: as body, from the middle between them, x along the way from the
            one who moves more to the other, the unit their mean trunk. A clip with one person: as body.
        test_crop: centred share of the frames that is used where nothing is random (evaluation).
        pace: how fast a clip moves through its window:
            resized: every clip is stretched or compressed to `window_frames`.
            recorded: a clip keeps its own frames, and its window ends with them (`Batch.frame_count`). Only clips of
            fewer than `min_frames` are stretched to so many, and those of more than `window_frames` compressed.
        min_frames: fewest frames of a clip at recorded pace.
        fps: frames per second at recorded pace, to which clips of other rates are resampled by time; null: every clip
            keeps its own frames.
    """

    window_frames: int = 120
    stream: Stream = "joint"
    alignment: Alignment = "none"
    test_crop: float = 0.95
    pace: Pace = "resized"
    min_frames: int = 15
    fps: float | None = None

    def __post_init__(self) -> None:
        if self.window_frames < 2:
            raise ConfigError(f"input.window_frames must be at least 2, got {self.window_frames}")
        for name, kind in (("stream", Stream), ("alignment", Alignment), ("pace", Pace)):
            choices = get_args(kind)
            if getattr(self, name) not in choices:
                raise ConfigError(f"input.{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if not 0.0 < self.test_crop <= 1.0:
            raise ConfigError(f"input.test_crop must lie in (0, 1], got {self.test_crop}")
        if self.pace == "recorded" and not 2 <= self.min_frames <= self.window_frames:
            raise ConfigError(
                "at input.pace recorded, input.min_frames must lie between 2 and input.window_frames "
                f"({self.window_frames}), got {self.min_frames}; lower it, or widen the window"
            )
        if self.fps is not None and (self.pace != "recorded" or not 0.0 < self.fps < math.inf):
            raise ConfigError(
                "input.fps must be a positive number of frames per second, and input.pace recorded, got "
                f"{self.fps} at the pace {self.pace}; a clip that is resized has as many frames as its window"
            )


@dataclass
class Windows:
    """One run of frames per clip of a batch.

    Args:
        start: first frame, counted from the clip's first.
        length: frames.
    """

    start: Int64[Tensor, " batch"]
    length: Int64[Tensor, " batch"]


def centre_windows(frame_count: Int64[Tensor, " batch"], share: float) -> Windows:
    """Take the centred share of every clip: int((1 - share) * L / 2) frames are dropped at each end.

    The product is taken in float64, in the order in which the released feeder takes it, so that the same frames are
    dropped. Where the device has no float64 (mps), it is taken on the host.
    """
    exact = frame_count.cpu() if frame_count.device.type == "mps" else frame_count
    dropped = ((1 - share) * exact.to(torch.float64) / 2).to(torch.int64).to(frame_count.device)
    return Windows(dropped, frame_count - 2 * dropped)


def frames_at_pace(
    windows: Windows, input: InputConfig, fps: Float32[Tensor, " batch"] | None = None, *, fixed: bool = False
) -> tuple[int, Int64[Tensor, " batch"] | None]:
    """Return how long the time axis of a batch is, and how many frames of it each clip gets (None: all).

    At recorded pace the axis is as long as the longest clip of the batch needs: the one number that is read back from
    the device, since a shape must be known here. Where shapes are `fixed`, it is as long as any clip may need. `fps`
    are the rates of the clips, for an input that has a rate of its own.
    """
    if input.pace == "resized":
        return input.window_frames, None
    length = windows.length
    if input.fps is not None:
        assert fps is not None, "the rate of every clip is needed"
        length = torch.round(length * (input.fps / fps)).to(torch.int64)
    frame_count = length.clamp(input.min_frames, input.window_frames)
    return input.window_frames if fixed else int(frame_count.max()), frame_count
