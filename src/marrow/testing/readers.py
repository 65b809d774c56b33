"""What every reader must do, whatever it reads."""

import tempfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np

from marrow.errors import ConfigError, ParseError
from marrow.readers.base import Reader, SkipRecording, declared_folds, reader_for
from marrow.readers.folds import check_declared_folds
from marrow.skeleton.sequence import Record, SkeletonSequence

PLAUSIBLE_BONE_M = (0.05, 0.8)
# Thumbs and finger tips are shorter than other bones, so a quarter of the bones may lie outside.
_PLAUSIBLE_SHARE = 0.75


def check_reader(
    reader: Reader,
    root: Path,
    *,
    broken: Mapping[str, bytes | Mapping[str, bytes]] | None = None,
    splits_cover: bool | Collection[str] = True,
    recordings_read: int = 20,
    of_people: bool = True,
) -> None:
    """Check a reader on recordings that it can read, and on files that it must refuse.

    - Ids are unique, labels fit the classes, listing and reading twice gives the same.
    - What is read belongs to its record, holds somebody, is finite where present and zero where absent, and has bones
      of 0.05 to 0.8 m: in metres, not in millimetres.
    - No record is in both halves of a split, and none in neither unless `splits_cover` is False.
    - Folds that it declares can be read, go by an attribute that records have, and have no name of a split.
    - A malformed file is refused with a `ParseError` that names it, and the line unless its name is what is wrong.

    Args:
        reader: to be checked.
        root: a folder with some recordings of its format.
        broken: malformed files, content by file name (relative to a root folder); or several files that are read
            together, by a name for the case: {"no labels": {"a.txt": b"...", "labels.txt": b""}}.
        splits_cover: whether every record is in one half of each split; or the names of the splits of which that holds.
        recordings_read: how many of the recordings to read, evenly spread.
        of_people: whether positions are those of people, of whom bones have a length to check.

    Raises:
        AssertionError: says which of these does not hold.
    """
    assert isinstance(reader, Reader), f"{type(reader).__name__} lacks an attribute or method of marrow.readers.Reader"
    original, reader = reader, reader_for(reader, root)
    records = list(reader.records(root))
    assert records, f"{reader.name}: no recordings below {root}"
    assert records == list(reader.records(root)), f"{reader.name}: listing twice gives different records"
    _check_records(reader, records, splits_cover)
    _check_folds(reader, records)

    bone_lengths = []
    for index in np.unique(np.linspace(0, len(records) - 1, min(recordings_read, len(records)), dtype=int)):
        try:
            sequence = reader.read(root, records[index])
        except SkipRecording:
            continue
        _check_sequence(reader, records[index], sequence, again=reader.read(root, records[index]))
        bone_lengths.append(_median_bone_lengths(sequence))
    assert bone_lengths, f"{reader.name}: every recording that was read is skipped, so nothing was checked"
    if of_people:
        _check_unit(reader, np.array(bone_lengths))

    for name, content in (broken or {}).items():
        _check_refusal(original, name, content)


def _check_records(reader: Reader, records: Iterable[Record], splits_cover: bool | Collection[str]) -> None:
    seen: set[str] = set()
    for record in records:
        assert record.id not in seen, f"{reader.name}: two records are called {record.id}"
        seen.add(record.id)
        labels = len(reader.classes)
        assert -1 <= record.label < labels or not labels, (
            f"{reader.name}: {record.id} has label {record.label}, but there are {labels} classes"
        )
        for name, split in reader.splits.items():
            halves = int(split.train(record)) + int(split.test(record))
            assert halves < 2, f"{reader.name}: {record.id} is in both halves of {name}"
            covers = splits_cover if isinstance(splits_cover, bool) else name in splits_cover
            assert halves or not covers, f"{reader.name}: {record.id} is in neither half of {name}"


def _check_folds(reader: Reader, records: Iterable[Record]) -> None:
    attributes = {name for record in records for name in record.attributes}
    try:
        check_declared_folds(declared_folds(reader), reader.splits, attributes)
    except ConfigError as error:
        raise AssertionError(f"{reader.name}: {error}") from error


def _check_sequence(reader: Reader, record: Record, sequence: SkeletonSequence, again: SkeletonSequence) -> None:
    where = f"{reader.name}: {record.id}"
    assert sequence.record == record, f"{where}: what is read carries another record ({sequence.record.id})"
    assert sequence.skeleton == reader.skeleton, f"{where}: what is read has another layout ({sequence.skeleton.name})"
    assert sequence.fps > 0, f"{where}: frames per second must be positive, got {sequence.fps}"
    assert sequence.present.any(), f"{where}: nobody is present; read must raise SkipRecording"
    assert np.isfinite(sequence.joints[sequence.present]).all(), f"{where}: a present joint is not finite"
    assert (sequence.joints[~sequence.present] == 0).all(), f"{where}: an absent joint is not at zero"
    assert np.array_equal(sequence.joints, again.joints), f"{where}: reading twice gives different positions"
    assert np.array_equal(sequence.present, again.present), f"{where}: reading twice gives different presence"


def _median_bone_lengths(sequence: SkeletonSequence) -> np.ndarray:
    """Return the median length of each bone in metres; NaN for a bone of which no frame shows both ends."""
    lengths = []
    for joint, parent in sequence.skeleton.bones:
        both = sequence.present[:, :, joint] & sequence.present[:, :, parent]
        bones = (sequence.joints[:, :, joint] - sequence.joints[:, :, parent])[both]
        lengths.append(np.median(np.linalg.norm(bones, axis=-1)) if len(bones) else np.nan)
    return np.array(lengths)


def _check_unit(reader: Reader, lengths: np.ndarray) -> None:
    """Check the bones' lengths (metres, [recording, bone]); a joint that stays on its parent tells no unit."""
    medians = np.array([np.median(column[np.isfinite(column)]) for column in lengths.T if np.isfinite(column).any()])
    medians = medians[medians > 0]
    shortest, longest = PLAUSIBLE_BONE_M
    share = np.mean((medians >= shortest) & (medians <= longest)) if len(medians) else 0.0
    assert share >= _PLAUSIBLE_SHARE, (
        f"{reader.name}: only {share:.0%} of the bones are {shortest} to {longest} m long (medians from "
        f"{medians.min(initial=np.inf):.3g} to {medians.max(initial=0):.3g}); are the positions in metres?"
    )


def _check_refusal(reader: Reader, name: str, content: bytes | Mapping[str, bytes]) -> None:
    contents = content if isinstance(content, Mapping) else {name: content}
    with tempfile.TemporaryDirectory() as folder:
        files = {Path(folder, file): data for file, data in contents.items()}
        for file, data in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        listing_error, reading_error = _errors_of(reader, Path(folder))
    error = listing_error or reading_error
    assert error is not None, f"{reader.name}: {name} must raise a ParseError, but it was read"
    if not isinstance(error, ParseError):
        kind = type(error).__name__
        raise AssertionError(f"{reader.name}: {name} must raise a ParseError, got {kind}: {error}") from error
    assert error.path in files, f"{reader.name}: the ParseError for {name} names {error.path}"
    assert error.line >= 1 or listing_error, f"{reader.name}: the ParseError for {name} has no line: {error}"


def _errors_of(reader: Reader, root: Path) -> tuple[Exception | None, Exception | None]:
    """Return what listing the records raises and what reading them raises."""
    try:
        reader = reader_for(reader, root)
        records = list(reader.records(root))
        if any(record.fault for record in records):
            return next(record.fault for record in records if record.fault), None
    except Exception as error:
        return error, None
    try:
        for record in records:
            reader.read(root, record)
    except Exception as error:
        return None, error
    return None, None
