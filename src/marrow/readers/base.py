"""What a reader of a raw format is: one file per source, no state, plain functions of a path.

A reader lists the recordings under a folder, reads one, and names the protocols of its data set as predicates. Adding
one: `docs/add-a-reader.md`; the checks that it must pass: `marrow.testing.check_reader`.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from marrow.errors import DataError, ParseError
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence

# How the note on nodes of a file begins that are no joints.
LEFT_OUT = "left out, being no joints: "
# What lies beside recordings and is none, whatever it holds.
_LEFT_BY_SYSTEMS = {"__MACOSX", "Thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class Split:
    """A protocol: which records train and which test. A record may belong to neither, never to both."""

    train: Callable[[Record], bool]
    test: Callable[[Record], bool]


def split_by(attribute: str, train: Collection[int | str], test: Collection[int | str] | None = None) -> Split:
    """Return the protocol that goes by the value of one attribute.

    Args:
        attribute: its name; a record without it belongs to neither half.
        train: values to train on.
        test: values to test on; all others where None.
    """

    def is_tested(record: Record) -> bool:
        value = record.attributes.get(attribute)
        return value is not None and (value not in train if test is None else value in test)

    return Split(train=lambda record: record.attributes.get(attribute) in train, test=is_tested)


class SkipRecording(DataError):
    """Raised by `Reader.read` for a well-formed file that holds nothing to learn from; the message is the reason.

    Preparation drops the recording and lists it with its reason. A malformed file is a `ParseError` instead.
    """


@runtime_checkable
class Reader(Protocol):
    """A source of skeleton sequences. The four properties may be plain attributes of the class.

    A reader whose skeleton or classes stand in the files also has `for_root` (see `FromFiles`); one whose data set is
    evaluated fold by fold has `folds` (see `DeclaresFolds`).
    """

    @property
    def name(self) -> str:
        """How the command line and stores refer to the source."""
        ...

    @property
    def skeleton(self) -> Skeleton:
        """The layout of what `read` returns."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the labels; empty where the source has none."""
        ...

    @property
    def splits(self) -> Mapping[str, Split]:
        """Protocols of the data set by name, for example "xsub"."""
        ...

    def records(self, root: Path) -> Iterator[Record]:
        """List the recordings below a folder, sorted, without opening them.

        What is wrong with one recording does not end the list: it is the `fault` of its record (see
        `faulty_record`), so that preparing can drop it and go on. Hidden files are none.

        Raises:
            DataError: the folder is missing or holds no recording of this format.
        """
        ...

    def read(self, root: Path, record: Record) -> SkeletonSequence:
        """Read one recording.

        Raises:
            ParseError: the file does not follow the format (with path and line), or its record has this fault.
            SkipRecording: the file is well-formed but nobody can be seen in it.
        """
        ...


@runtime_checkable
class FromFiles(Protocol):
    """A reader that learns its skeleton or its classes from the files, and so differs from folder to folder."""

    def for_root(self, root: Path) -> Reader:
        """Return this reader as it is for one folder, with the skeleton and classes of what lies there.

        What is wrong with some of the files is kept, and becomes the `fault` of their records.

        Raises:
            DataError: the folder is missing, or none of its files can be read.
        """
        ...


@runtime_checkable
class NamesFiles(Protocol):
    """A reader of which a recording may lie in several files; of others it is the file at the path of its record."""

    def files_of(self, root: Path, record: Record) -> tuple[Path, ...]:
        """Return the files that reading a recording reads."""
        ...


@runtime_checkable
class DeclaresFolds(Protocol):
    """A reader whose data set is also evaluated fold by fold: every clip is tested once, the scores are pooled."""

    @property
    def folds(self) -> Mapping[str, str]:
        """Protocols of folds by name: "leave-one-out:ATTRIBUTE", "k-fold:K" (by clip) or "k-fold:K:ATTRIBUTE".

        For example {"loso": "leave-one-out:subject"}; `--protocol loso` then means that. No split has such a name.
        """
        ...


def declared_folds(reader: Reader) -> Mapping[str, str]:
    """Return the folds that a reader declares; none where it says nothing of them."""
    return reader.folds if isinstance(reader, DeclaresFolds) else {}


def reader_for(reader: Reader, root: Path) -> Reader:
    """Return a reader that knows its skeleton and classes: whatever goes through a folder begins with this."""
    return reader.for_root(root) if isinstance(reader, FromFiles) else reader


def is_hidden(path: Path) -> bool:
    """Tell whether a path leads to what systems leave beside recordings: "._x", ".ipynb_checkpoints", "__MACOSX".

    Args:
        path: relative to the folder of the recordings.
    """
    return any(name.startswith(".") or name in _LEFT_BY_SYSTEMS for name in path.parts)


def some_files(root: Path, files: Iterable[Path], wanted: str, pattern: str) -> list[Path]:
    """Return the files that a reader has found, sorted by path, without hidden ones.

    Args:
        root: the folder that it looks in.
        files: what it has found there, not yet looked for where this is an iterator.
        wanted: what the folder should hold, for the message.
        pattern: of the files' paths, for the message.

    Raises:
        DataError: there is none.
    """
    is_folder = root.is_dir()
    paths = (
        sorted(file for file in files if not is_hidden(file.relative_to(root)) and _is_file(file)) if is_folder else []
    )
    if not paths:
        state = f"holds no file {pattern}" if is_folder else "is not a folder"
        raise DataError(f"expected a folder with {wanted}; {root} {state}")
    return paths


def _is_file(path: Path) -> bool:
    """Tell a file, or a link that leads nowhere, from folders and pipes."""
    return path.is_file() or not path.exists()


def faulty_record(root: Path, fault: ParseError) -> Record:
    """Return the record of a file that listing cannot make sense of, such as one with a wrong name.

    Preparing stops at it, or drops it and goes on; reading it raises the fault.

    Args:
        root: the folder that is listed.
        fault: what is wrong, with the file's path below that folder.
    """
    path = fault.path.relative_to(root).as_posix()
    return Record(id=path, path=path, fault=fault)
