"""What is to be understood: files and folders of any format that `marrow import` knows, and stores, one by one."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from marrow.errors import DataError, setting
from marrow.files import check_exists
from marrow.importing.importer import Recordings
from marrow.models.encoder import Encoder
from marrow.progress import counting
from marrow.readers.base import SkipRecording
from marrow.skeleton.places import places_of
from marrow.skeleton.sequence import SkeletonSequence
from marrow.store.format import Store
from marrow.store.writer import HEADER_FILE, PLAN_FILE

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Input:
    """One recording.

    Args:
        file: where it comes from: a file, or a store.
        sequence: as it was recorded.
    """

    file: str
    sequence: SkeletonSequence


@dataclass(frozen=True)
class Unreadable:
    """One recording that cannot be used.

    Args:
        file: where it comes from.
        problem: why, in a sentence.
    """

    file: str
    problem: str


def inputs_of(path: Path, options: Mapping[str, Any]) -> Iterator[Input | Unreadable]:
    """Read the recordings of a file, a folder or a store, one after the other.

    What a file was taken for, and may not be, is logged with the option that says otherwise.

    Args:
        path: a file, a folder of files of one format, or a store.
        options: of `Recordings`, where files do not say it.

    Raises:
        DataError: there is nothing to read, or it is of no known format.
        ConfigError: an option does not fit the files.
    """
    if is_store(path):
        store = Store.open(path)
        with counting(f"asking about {path}", "recordings") as progress:
            for row in range(len(store)):
                progress(row, len(store))
                yield Input(str(path), store.sequence(row))
        return
    reader, root = reader_of(path, {**options, "labels": "none", "pattern": None})
    for doubt in reader.findings.doubts if reader.findings else ():
        _log.info("? %s: %s%s", path, doubt.text, f" [{doubt.option}]" if doubt.option else "")
    count = len(reader.findings.members) if reader.findings else 0
    with counting(f"asking about {path}", "recordings") as progress:
        for done, (file, sequence) in enumerate(read_all(reader, root, options)):
            progress(done, count)
            if isinstance(sequence, SkipRecording):
                yield Unreadable(file, f"{file}: {sequence}")
            elif isinstance(sequence, DataError):
                yield Unreadable(file, str(sequence))
            else:
                yield Input(file, sequence)


def read_all(
    reader: Recordings, root: Path, options: Mapping[str, Any]
) -> Iterator[tuple[str, SkeletonSequence | DataError]]:
    """Read recordings one after the other; where one cannot be read, return why.

    Files of a folder whose layout is not that of most are read each by itself.
    """
    tried_alone = set()
    for record in reader.records(root):
        file = root / record.path.partition("#")[0]
        try:
            yield str(file), reader.read(root, record)
        except DataError as error:
            if isinstance(error, SkipRecording) or reader.paths is not None:
                yield str(file), error
            elif file not in tried_alone:
                tried_alone.add(file)
                try:
                    alone, _ = reader_of(file, {**options, "labels": "none", "pattern": None})
                except DataError:
                    yield str(file), error
                    continue
                for name, sequence in read_all(alone, file.parent, options):
                    if not isinstance(sequence, DataError):
                        sequence = replace(sequence, record=replace(sequence.record, label=record.label))
                    yield name, sequence


def is_store(path: Path) -> bool:
    """Tell whether a folder is a store, finished or not."""
    return any((path / name).is_file() for name in (HEADER_FILE, PLAN_FILE))


def reader_of(path: Path, options: Mapping[str, Any]) -> tuple[Recordings, Path]:
    """Return what reads the recordings of a file or a folder, and the folder that they are below."""
    check_exists(path, "a file, a folder of recordings or a store")
    root, paths = (path, None) if path.is_dir() else (path.parent, [path.name])
    return Recordings(paths=paths, **options).for_root(root), root


def readable(encoder: Encoder, sequence: SkeletonSequence, model: str) -> SkeletonSequence:
    """Return a recording as an encoder reads it.

    Args:
        encoder: that is to read it.
        sequence: as it was recorded.
        model: what the encoder is called, for messages.

    Raises:
        DataError: its layout does not fit, with what would.
        ConfigError: likewise, of a layout that shares no place with the encoder's.
    """
    own, wanted = sequence.skeleton, encoder.skeleton
    if not encoder.is_by_place and own.joints != wanted.joints:
        raise DataError(
            f"{model} reads the layout {wanted.name!r} ({len(wanted.joints)} joints), {sequence.record.id} has "
            f"{own.name!r} ({len(own.joints)} joints); what fits: an encoder that reads places of the body, of any "
            "layout (`general`), or one that `marrow finetune ENCODER --transfer` has adapted to a store of such "
            "recordings"
        )
    if own.dimensions != wanted.dimensions and not encoder.takes_flat:
        raise DataError(
            f"{model} reads recordings in {wanted.dimensions} dimensions, {sequence.record.id} has "
            f"{own.dimensions}; what fits: an encoder that was made for both (`general`)"
        )
    if encoder.is_by_place and own.joints != wanted.joints and not places_of(own):
        raise DataError(
            f"{model} reads places of the body, and none of the joints of {sequence.record.id} is known as one "
            f"({', '.join(own.joints[:4])}, ...); a layout file says which joint is where: "
            f"{setting('layout', 'FILE.yaml')}"
        )
    return encoder.readable([sequence])[0]
