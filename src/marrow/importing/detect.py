"""Which format a file is of, by its content; and which files below a folder are recordings at all."""

import importlib
import os
from collections.abc import Sequence
from pathlib import Path

from marrow.errors import ConfigError, DataError, did_you_mean
from marrow.files import check_exists
from marrow.importing.recording import HEAD_BYTES, Format, Head
from marrow.readers.base import is_hidden

# Where each format is, from what is unmistakable to what is general: the first that accepts a file has it.
FORMATS: dict[str, str] = {
    "bvh": "marrow.importing.motion_capture.bvh:Bvh",
    "acclaim": "marrow.importing.motion_capture.acclaim:Acclaim",
    "c3d": "marrow.importing.motion_capture.c3d:C3d",
    "ntu_skeleton": "marrow.importing.kinect.ntu_skeleton:NtuSkeleton",
    "kinect_json": "marrow.importing.kinect.json_export:KinectJson",
    "openpose": "marrow.importing.estimators.openpose:OpenPose",
    "alphapose": "marrow.importing.estimators.alphapose:AlphaPose",
    "mmpose": "marrow.importing.estimators.mmpose:MmPose",
    "coco": "marrow.importing.estimators.coco:Coco",
    "yolo_pose": "marrow.importing.estimators.yolo:YoloPose",
    "mediapipe": "marrow.importing.estimators.mediapipe:MediaPipe",
    "pyskl": "marrow.importing.arrays.pyskl:Pyskl",
    "ntu_npz": "marrow.importing.arrays.ntu_npz:NtuNpz",
    "array": "marrow.importing.arrays.npy:Array",
    "mat": "marrow.importing.arrays.mat:Mat",
    "ui_prmd": "marrow.importing.kinect.ui_prmd:UiPrmd",
    "table": "marrow.importing.tables.table:Table",
    "kinect_text": "marrow.importing.kinect.text:KinectText",
}


def get_format(name: str) -> Format:
    """Return a format by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in FORMATS:
        raise ConfigError(f"unknown format {name!r}.{did_you_mean(name, FORMATS)} Formats: {', '.join(FORMATS)}")
    module, _, attribute = FORMATS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)()


def read_head(path: Path) -> Head:
    """Return the beginning of a file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return Head(path, file.read(HEAD_BYTES))
    except OSError as error:
        raise DataError(f"{path}: expected a readable file: {error.strerror or error}") from error


def head_of(path: Path) -> Head:
    """Return the beginning of a file; nothing of one that cannot be read, which reading it will say."""
    try:
        return read_head(path)
    except DataError:
        return Head(path, b"")


def is_readable(path: Path) -> bool:
    """Tell whether the beginning of a file can be read."""
    try:
        read_head(path)
    except DataError:
        return False
    return True


def detect(path: Path) -> Format | None:
    """Return the format of a file, or None if it is of none that is known.

    One that cannot be read is of the format that its name says.
    """
    head = head_of(path)
    return next((candidate for candidate in map(get_format, FORMATS) if candidate.accepts(head)), None)


def files_below(paths: Sequence[Path]) -> list[Path]:
    """Return the files at and below some paths, sorted, without hidden ones, those that systems leave, and stores.

    A path that is named itself is taken whatever it is called. Folders are not followed out of where they lie.

    Raises:
        DataError: a path does not exist, or a folder may not be read.
    """

    def unreadable(error: OSError) -> None:
        raise DataError(f"{error.filename}: expected a readable folder: {error.strerror or error}") from error

    found: dict[Path, None] = {}
    for path in paths:
        if path.is_file():
            found[path] = None
            continue
        check_exists(path, "a file or a folder")
        for folder, folders, names in os.walk(path, onerror=unreadable):
            if "shards" in folders and {"plan.json", "store.json"} & set(names):
                folders.clear()  # a store: it was made of recordings and holds none
                continue
            folders[:] = sorted(name for name in folders if not is_hidden(Path(name)))
            files = (Path(folder) / name for name in sorted(names) if not is_hidden(Path(name)))
            found |= {file: None for file in files if file.is_file() or not file.exists()}  # no pipes
    return sorted(found)
