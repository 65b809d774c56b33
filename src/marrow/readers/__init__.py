"""Raw files to skeleton sequences, one file per source. NumPy only.

`READERS` names every reader of this package. A package of yours adds its own by an entry point in the group
`marrow.readers`: `mine = "my_package.my_module:MyReader"`.
"""

import importlib
from dataclasses import fields
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
    "pku_mmd": "marrow.readers.pku_mmd:PKUMMD",
    "synthetic": "marrow.readers.synthetic:Synthetic",
    "utkinect": "marrow.readers.utkinect:UTKinect",
}


def reader_names() -> list[str]:
    """Return the names of all readers, those of other installed packages included."""
    return extensions.names("marrow.readers", READERS)


def get_reader_class(name: str) -> type[Any]:
    """Return a reader's class: a frozen dataclass whose fields are its options.

    Raises:
        ConfigError: there is no reader of that name, or it cannot be imported.
    """
    if name in READERS:
        module, _, attribute = READERS[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    return extensions.load("marrow.readers", name, READERS)


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
