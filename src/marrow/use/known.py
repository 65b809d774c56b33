"""What a model knows, kept beside it: how sure its scores are, and how far new recordings may be from what it learned.

OUT/known.safetensors    features of the training clips, and how distances among them are measured
OUT/known.json           temperature, threshold, calibration error, and what they were chosen on
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64
from safetensors.numpy import load_file, save_file

from marrow.errors import CheckpointError
from marrow.files import write_text_whole, write_whole
from marrow.models.packed import is_packed
from marrow.use.calibration import expected_calibration_error_percent, fitted_temperature, probabilities
from marrow.use.unknown import FALSE_ALARM_PERCENT, Gallery, threshold_of

WEIGHTS, DESCRIPTION = "known.safetensors", "known.json"
VERSION = 1
# With fewer held-out clips nothing is said of calibration error: by chance alone it is tens of percent.
_FEWEST_FOR_ERROR = 30
# With fewer, a new recording lies farther than all of them in one case of ten and more.
_FEWEST_FOR_UNKNOWN = 10


@dataclass(frozen=True)
class HeldOut:
    """What a model that had not learned from some clips said of them.

    Args:
        scores: before the softmax.
        label: place of each clip's class among the scores.
        distance: from the clips that it had learned from.
    """

    scores: Float[np.ndarray, "clip class"]
    label: Int64[np.ndarray, " clip"]
    distance: Float[np.ndarray, " clip"]


@dataclass(frozen=True)
class Known:
    """What a model knows.

    Args:
        gallery: its training clips; None in a packed folder, which passes no features of recordings on.
        threshold: distance beyond which a recording is unknown; None: nothing ever is.
        temperature: that scores are divided by.
        false_alarm_percent: share of held-out clips beyond the threshold, at most.
        held_out_clips: that temperature and threshold were chosen on.
        calibration_error_percent: expected calibration error of the held-out clips without and with the temperature;
            None where there are too few.
        chosen_on: what was held out, in words.
        longest_seconds: duration of the longest training clip.
        median_distance: of held-out clips; None where there are none, or it was not kept.
        held_out_right: how many of the held-out clips were named rightly; None where that was not kept.
    """

    gallery: Gallery | None
    threshold: float | None
    temperature: float
    held_out_clips: int
    calibration_error_percent: tuple[float, float] | None
    chosen_on: str
    longest_seconds: float
    false_alarm_percent: float = FALSE_ALARM_PERCENT
    median_distance: float | None = None
    held_out_right: int | None = None

    @classmethod
    def of(cls, gallery: Gallery, held_out: HeldOut, chosen_on: str, longest_seconds: float) -> "Known":
        """Choose temperature and threshold on held-out clips."""
        count = len(held_out.label)
        temperature, error = 1.0, None
        if count:
            temperature = fitted_temperature(held_out.scores, held_out.label)
        if count >= _FEWEST_FOR_ERROR:
            before, after = (
                expected_calibration_error_percent(probabilities(held_out.scores, value), held_out.label)
                for value in (1.0, temperature)
            )
            error = (before, after)
        return cls(
            *(gallery, threshold_of(held_out.distance) if count >= _FEWEST_FOR_UNKNOWN else None, temperature),
            *(count, error, chosen_on, longest_seconds),
            median_distance=float(np.median(held_out.distance)) if count else None,
            held_out_right=int((held_out.scores.argmax(axis=1) == held_out.label).sum()),
        )

    def sentences(self) -> list[str]:
        """Say what the probabilities and the word "unknown" rest on."""
        if not self.held_out_clips:
            return [f"probabilities are not calibrated and nothing is ever unknown: {self.chosen_on}"]
        said = f"probabilities at temperature {self.temperature:.2f}"
        if self.calibration_error_percent is not None:
            before, after = self.calibration_error_percent
            said += f" (expected calibration error {after:.1f} %, without it {before:.1f} %)"
        said += f", chosen on {self.held_out_clips} held-out clips ({self.chosen_on})"
        if self.held_out_right is not None:
            said += f", of which {self.held_out_right} were named rightly"
        if self.gallery is None:
            return [
                said,
                "nothing is ever unknown: features of the training clips are not in a packed folder",
            ]
        if self.threshold is None:
            return [
                said,
                f"nothing is ever unknown: that takes at least {_FEWEST_FOR_UNKNOWN} held-out clips, from which is "
                "learned how far such recordings lie",
            ]
        half = "" if self.median_distance is None else f", half of them within {self.median_distance:.3g}"
        return [
            said,
            f"unknown is what lies farther than {self.threshold:.3g} from what was learned: "
            f"{100 - self.false_alarm_percent:g} % of the held-out clips lie within that{half}",
        ]

    def noted(self) -> dict[str, Any]:
        """Return what a report says of calibration."""
        before, after = self.calibration_error_percent or (None, None)
        return {
            "temperature": self.temperature,
            "held_out_clips": self.held_out_clips,
            "chosen_on": self.chosen_on,
            "expected_calibration_error_percent": {"before": before, "calibrated": after},
        }

    def save(self, folder: Path) -> None:
        """Write both files into a folder; the description comes last, and one that is there has its arrays."""
        (folder / DESCRIPTION).unlink(missing_ok=True)
        arrays = (
            {} if self.gallery is None else {name: np.ascontiguousarray(a) for name, a in vars(self.gallery).items()}
        )
        write_whole(folder / WEIGHTS, lambda path: save_file(arrays, path))
        values = {name: value for name, value in vars(self).items() if name != "gallery"}
        write_text_whole(folder / DESCRIPTION, json.dumps({"version": VERSION, **values}, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Known | None":
        """Read what is kept in a folder; None where nothing is.

        Raises:
            CheckpointError: it is damaged or of another version.
        """
        if not (folder / DESCRIPTION).is_file():
            return None
        try:
            values: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
            version = values.pop("version")
            if version != VERSION:
                raise CheckpointError(f"{folder}: {DESCRIPTION} has version {version}, this marrow reads {VERSION}")
            error = values.pop("calibration_error_percent")
            # A packed folder passes no features of recordings on.
            gallery = None if is_packed(folder) else Gallery.kept(load_file(folder / WEIGHTS))
            return cls(gallery, calibration_error_percent=None if error is None else tuple(error), **values)
        except CheckpointError:
            raise
        except Exception as problem:  # whatever a damaged file brings, the person needs the file's name
            raise CheckpointError(
                f"{folder}: {DESCRIPTION} and {WEIGHTS} cannot be read: {type(problem).__name__}: {problem}. Delete "
                "them, and give the `marrow finetune` command again: it makes them anew"
            ) from problem
