"""Compare our reading of NTU recordings with recorded results of the published preparation."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from marrow.errors import DataError
from marrow.readers.base import SkipRecording
from marrow.readers.ntu import NTU
from marrow.skeleton.sequence import Record


class RecordingError(NamedTuple):
    """How far one recording is from what was expected.

    Args:
        name: the recording.
        error_m: largest absolute difference of a coordinate in metres; infinite where the two cannot be compared.
        note: why they cannot, or what the comparison assumed; empty if there is nothing to say.
    """

    name: str
    error_m: float
    note: str = ""


def compare_ntu(folder: Path, expected: Path) -> list[RecordingError]:
    """Read each recording that an `.npz` names and compare positions.

    Args:
        folder: `.skeleton` files of NTU RGB+D 60 or 120.
        expected: per recording name an array [frame, body, 25, 3] in metres, zero where a body is absent. Where its
            second body is an exact copy of its first, the reader's switch `duplicate_single_body` is set.

    Raises:
        DataError: a file or folder is missing or not of the expected kind.
    """
    try:
        with np.load(expected) as archive:
            arrays = {name: archive[name] for name in sorted(archive.files)}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(f"expected an .npz with one array per recording at {expected}: {error}") from error
    if not arrays:
        raise DataError(f"expected an .npz with one array per recording at {expected}; it is empty")
    records = {record.id: record for record in NTU(version=120).records(folder)}
    return [_compare(folder, records.get(name), name, array) for name, array in arrays.items()]


def _compare(folder: Path, record: Record | None, name: str, wanted: np.ndarray) -> RecordingError:
    if record is None:
        return RecordingError(name, np.inf, f"{folder} holds no {name}.skeleton")
    if wanted.ndim != 4 or wanted.shape[2:] != (25, 3):
        return RecordingError(name, np.inf, f"expected numbers must be [frame, body, 25, 3], got {list(wanted.shape)}")
    is_duplicated = wanted.shape[1] == 2 and bool(wanted[:, 0].any()) and np.array_equal(wanted[:, 0], wanted[:, 1])
    try:
        sequence = NTU(version=120, duplicate_single_body=is_duplicated).read(folder, record)
    except SkipRecording as reason:
        return RecordingError(name, np.inf, f"dropped: {reason}")
    got = np.where(sequence.present[..., None], sequence.joints, 0).swapaxes(0, 1)
    body_count = max(got.shape[1], wanted.shape[1])
    got, wanted = (_with_bodies(array, body_count) for array in (got, wanted))
    if got.shape != wanted.shape:
        return RecordingError(name, np.inf, f"expected {wanted.shape[0]} frames, got {got.shape[0]}")
    difference = np.abs(got.astype(np.float64) - wanted)
    error_m = float(difference.max(initial=0.0)) if np.isfinite(difference).all() else np.inf
    return RecordingError(name, error_m, "compared with duplicate_single_body" if is_duplicated else "")


def _with_bodies(joints: np.ndarray, body_count: int) -> np.ndarray:
    """Add absent bodies (zeros) up to a number of bodies."""
    return np.pad(joints, ((0, 0), (0, body_count - joints.shape[1]), (0, 0), (0, 0)))
