"""Raw files to skeleton sequences, one file per source. NumPy only.

`READERS` names every reader of this package. A package of yours adds its own by an entry point in the group
`marrow.readers`: `mine = "my_package.my_module:MyReader"`.
"""

import importlib
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from marrow import extensions
from marrow.errors import ConfigError
from marrow.readers.base import Reader, SkipRecording, Split, reader_for

__all__ = [
    "READERS",
    "Reader",
    "SkipRecording",
    "Split",
    "get_reader",
    "get_reader_class",
    "reader_for",
    "reader_names",
]

# Where each class is; it is imported when it is asked for, so that the command line starts fast.
READERS: dict[str, str] = {
    "bvh": "marrow.readers.bvh:BVH",
    "cmu_mocap": "marrow.readers.cmu_mocap:CMUMocap",
    "h36m": "marrow.readers.h36m:H36M",
    "ntu": "marrow.readers.ntu:NTU",
    "nw_ucla": "marrow.readers.nw_ucla:NWUCLA",
    "penn_action": "marrow.readers.penn_action:PennAction",
    "pku_mmd": "marrow.readers.pku_mmd:PKUMMD",
    "synthetic": "marrow.readers.synthetic:Synthetic",
    "utkinect": "marrow.readers.utkinect:UTKinect",
}


def reader_names() -> list[str]:
    """Return the names of all readers, those of other installed packages included."""
    return extensions.names("marrow.readers", READERS)


def get_reader_class(name: str) -> type[Any]:
    """Return a reader's class: a frozen dataclass whose fields are its options.

    Args:
        name: of a reader, or a file and a class in it: "my_file.py:MyReader".

    Raises:
        ConfigError: there is no reader of that name, or it cannot be imported.
    """
    if ".py:" in name:
        return _from_file(name)
    if name in READERS:
        module, _, attribute = READERS[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    try:
        return extensions.load("marrow.readers", name, READERS)
    except ConfigError as error:
        if name in extensions.names("marrow.readers", READERS):
            raise
        raise ConfigError(
            f"{error}. Recordings of other formats: `marrow import PATH --out STORE` finds out what they are; "
            f"docs/add-a-reader.md shows how to read your own, and `marrow.write_store` takes arrays"
        ) from error


def _from_file(name: str) -> type[Any]:
    """Return a class of a file that belongs to no package; worker processes find it by its folder."""
    path_text, _, attribute = name.rpartition(":")
    path = Path(path_text).resolve()
    if not path.is_file():
        raise ConfigError(f"expected FILE.py:CLASS of a reader, got {name!r}: there is no file {path}")
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    try:
        module = importlib.import_module(path.stem)
    except Exception as error:  # whatever the file does at import, the person needs to know
        raise ConfigError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    if Path(module.__file__ or "").resolve() != path:
        raise ConfigError(f"{path} has the name of another module ({module.__file__}): give the file another name")
    reader = getattr(module, attribute, None)
    if not (isinstance(reader, type) and is_dataclass(reader)):
        classes = [
            key
            for key, value in vars(module).items()
            if isinstance(value, type) and is_dataclass(value) and value.__module__ == module.__name__
        ]
        raise ConfigError(
            f"{path} has no reader {attribute!r}, a frozen dataclass with `records` and `read`. "
            f"Its dataclasses: {', '.join(classes) or 'none'}"
        )
    return reader


def get_reader(name: str, **options: Any) -> Reader:
    """Return a reader by its name.

    Args:
        name: of the reader, for example "ntu".
        options: settings of this reader that differ from its defaults.

    Raises:
        ConfigError: there is no reader of that name, it cannot be imported, or it has no such option.
    """
    reader = get_reader_class(name)
    names = [field.name for field in fields(reader) if field.init] if options else []
    for option in options:
        if option not in names:
            raise ConfigError(f"the reader {name!r} has no option {option!r}. It has {', '.join(names) or 'none'}")
    return reader(**options)
