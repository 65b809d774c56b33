"""Models as programs of torch.export: written with what they say of themselves, and opened without running a pickle.

torch's own reader falls back on pickles that run what they ask for; a file that holds such a one is refused before it
is read. It also evaluates sizes that are written as formulas: a .pt2 of somebody whom you do not trust is not to be
opened, by this or by torch. ONNX files are data.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch.export import ExportedProgram

from marrow.errors import CheckpointError
from marrow.runtime.description import MEMBER, Description
from marrow.runtime.model import Model


def torch_file(program: ExportedProgram, description: Description) -> bytes:
    """Return a traced model with what it says of itself as the content of a file."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={MEMBER: description.to_json()})
    return buffer.getvalue()


def load_torch(path: Path | str) -> Model:
    """Open a file of `--to torch`; it is asked as one of `marrow.runtime.load` is.

    Raises:
        CheckpointError: nothing is there, or it is no such file, or of another version, or holds a pickle to be run.
    """
    extra = {MEMBER: ""}
    try:
        content = Path(path).read_bytes()
        unsafe = _pickle_in(content)
        program = None if unsafe else torch.export.load(io.BytesIO(content), extra_files=extra)
    except Exception as error:  # whatever a damaged file brings, the person needs its name
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{path}: torch {torch.__version__} cannot read it ({reason})") from error
    if program is None:
        raise CheckpointError(
            f"{path}: expected a file of `marrow export --to torch`, where numbers are data; in this one {unsafe} is "
            "a pickle, which would be run. It was not opened"
        )
    description, module = Description.from_json(extra[MEMBER], str(path)), program.module()

    def run(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        with torch.no_grad():
            return module(**{name: torch.from_numpy(value) for name, value in arrays.items()}).numpy()

    return Model(run, description)


def _pickle_in(content: bytes) -> str | None:
    """Return which member of a file torch would unpickle, or could not be told from one; None: none.

    Raises:
        ValueError, zipfile.BadZipFile: it is no archive of a program.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        if not any(PurePosixPath(name).name == "archive_format" for name in names):
            raise ValueError("it is no archive of a program")
        if len(set(names)) < len(names):
            raise ValueError("it holds a member twice")
        for name in names:
            member = PurePosixPath(name)
            if member.suffix == ".pt" and not _is_of_tensors(archive.read(name)):
                return name
            if member.parent.name not in ("weights", "constants"):
                continue
            if member.name.endswith("_config.json"):
                members = json.loads(archive.read(name))["config"].values()
                pickled = [entry["path_name"] for entry in members if entry.get("use_pickle", True)]
                if pickled:
                    return pickled[0]
            elif not member.name.startswith(("weight_", "tensor_")):
                return name
    return None


def _is_of_tensors(content: bytes) -> bool:
    """Tell whether a pickle holds tensors and plain values alone."""
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception:  # whatever it holds, it is not to be opened
        return False
    return True
