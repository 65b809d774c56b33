"""What a reader of a raw format is: one file per source, no state, plain functions of a path.

A reader lists the recordings under a folder, reads one, and names the protocols of its data set as predicates. Adding
one: `docs/add-a-reader.md`; the checks that it must pass: `marrow.testing.check_reader`.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from marrow.errors import DataError
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence


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

    A reader whose skeleton or classes stand in the files also has `for_root` (see `FromFiles`).
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

        Raises:
            DataError: the folder is missing or holds no recording of this format.
            ParseError: a file has a name that the format does not know.
        """
        ...

    def read(self, root: Path, record: Record) -> SkeletonSequence:
        """Read one recording.

        Raises:
            ParseError: the file does not follow the format (with path and line).
            SkipRecording: the file is well-formed but nobody can be seen in it.
        """
        ...


@runtime_checkable
class FromFiles(Protocol):
    """A reader that learns its skeleton or its classes from the files, and so differs from folder to folder."""

    def for_root(self, root: Path) -> Reader:
        """Return this reader as it is for one folder, with the skeleton and classes of what lies there.

        Raises:
            DataError: the folder is missing, or its files cannot be read as one data set.
        """
        ...


def reader_for(reader: Reader, root: Path) -> Reader:
    """Return a reader that knows its skeleton and classes: whatever goes through a folder begins with this."""
    return reader.for_root(root) if isinstance(reader, FromFiles) else reader


def some_files(root: Path, files: Iterable[Path], wanted: str, pattern: str) -> list[Path]:
    """Return the files that a reader has found, sorted by path.

    Args:
        root: the folder that it looks in.
        files: what it has found there, not yet looked for where this is an iterator.
        wanted: what the folder should hold, for the message.
        pattern: of the files' paths, for the message.

    Raises:
        DataError: there is none.
    """
    paths = sorted(files) if root.is_dir() else []
    if not paths:
        state = f"holds no file {pattern}" if root.is_dir() else "is not a folder"
        raise DataError(f"expected a folder with {wanted}; {root} {state}")
    return paths
