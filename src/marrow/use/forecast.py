"""How a recording goes on, by a forecaster: positions of every joint, in the coordinates of the file."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from marrow.data.recordings import at_rate
from marrow.errors import DataError
from marrow.files import make_folder, write_text_whole, write_whole
from marrow.tasks.prediction.forecaster import TrainedForecaster
from marrow.use.inputs import Input, readable


@dataclass(frozen=True)
class Forecast:
    """What follows a recording.

    Args:
        source: file or store that the recording comes from.
        recording: its id.
        positions: in metres, in the coordinates of the file; NaN where a joint was never seen.
        seen: which joints of which body were seen before.
        joints: their names.
        fps: frames per second.
        end_seconds: when the recording ends; the first frame of the forecast is one frame later.
    """

    source: str
    recording: str
    positions: Float32[np.ndarray, "body frame joint 3"]
    seen: Bool[np.ndarray, "body joint"]
    joints: tuple[str, ...]
    fps: float
    end_seconds: float

    def write(self, path: Path) -> None:
        """Write a file that ends in .npz (arrays by the names above) or .csv (a row per person, frame and joint)."""
        if path.suffix == ".csv":
            write_text_whole(path, self._as_csv())
            return
        values = {name: np.asarray(value) for name, value in vars(self).items()}

        def write(partial: Path) -> None:
            with partial.open("wb") as file:  # np.savez would add an ending to the name
                np.savez(file, **values)  # pyright: ignore[reportArgumentType]

        make_folder(path.parent)
        write_whole(path, write)

    def _as_csv(self) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["recording", "person", "time_seconds", "joint", "x", "y", "z"])
        bodies, frames = self.positions.shape[:2]
        for body in range(bodies):
            for frame in range(frames):
                time = f"{self.end_seconds + (frame + 1) / self.fps:.4f}"
                for joint in np.flatnonzero(self.seen[body]).tolist():
                    place = (f"{value:.5f}" for value in self.positions[body, frame, joint])
                    writer.writerow([self.recording, body + 1, time, self.joints[joint], *place])
        return text.getvalue()


def forecast(forecaster: TrainedForecaster, given: Input, model: str) -> Forecast:
    """Continue a recording from its last frames.

    Raises:
        DataError: it is too short, nobody is seen at its end, or it has another layout.
    """
    config, encoder = forecaster.forecasting.config, forecaster.forecasting.encoder
    sequence = readable(encoder, given.sequence, model)
    joints, present = at_rate((sequence.joints, sequence.present), sequence.fps, config.fps)
    name, frames = sequence.record.id, config.observed_frames
    if present.shape[1] < frames:
        raise DataError(
            f"{name} lasts {present.shape[1] / config.fps:.2g} s, and a forecast by {model} is made from the last "
            f"{frames / config.fps:.2g} s ({frames} frames at {config.fps:g} per second)"
        )
    joints, present = joints[:, -frames:], present[:, -frames:]
    seen = np.asarray(present.any(axis=1))
    if not seen.any():
        raise DataError(
            f"nobody is seen in the last {frames / config.fps:.2g} s of {name}: there is nothing to continue"
        )
    ahead = forecaster.forecast([(joints, present)])[0]
    positions = sequence.placement.to_source(ahead.astype(np.float32))
    positions = np.where(seen[:, None, :, None], positions, np.float32(np.nan))
    seconds = sequence.frame_count / sequence.fps
    return Forecast(given.file, name, positions, seen, sequence.skeleton.joints, config.fps, seconds)
