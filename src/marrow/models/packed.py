"""A packed folder: an encoder, and the head that was fine-tuned with it, as three files that are passed on.

    FOLDER/config.json         all but the weights: kind, size, input, layout, classes, where it came from, a hash
    FOLDER/model.safetensors   the weights: `encoder.*` and, of a recogniser, `head.*`
    FOLDER/README.md           the card, for people

The names are those of the Hugging Face hub. Nothing in them is executable. Whoever reads encoders or recognisers reads
these too: `marrow.load_encoder(FOLDER)`, `marrow.Recogniser.load(FOLDER)`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from marrow.errors import CheckpointError, damaged
from marrow.files import make_folder, write_text_whole, write_whole

PACKED_VERSION = 1
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"


@dataclass(frozen=True)
class Packed:
    """What a packed folder holds.

    Args:
        encoder: what `encoder.json` says of an exported encoder.
        head: what `head.json` says of a recogniser's head; None: there is none.
        weights: of both, by name.
        marrow: version that packed it.
    """

    encoder: Mapping[str, Any]
    head: Mapping[str, Any] | None
    weights: Mapping[str, Tensor]
    marrow: str

    def part(self, name: str) -> dict[str, Tensor]:
        """Return the weights of the encoder or the head, by their names there."""
        prefix = f"{name}."
        return {key.removeprefix(prefix): value for key, value in self.weights.items() if key.startswith(prefix)}

    def weight_bytes(self) -> bytes:
        """Return the weights as the file holds them; the same bytes for the same weights."""
        return save({key: value.detach().cpu().contiguous() for key, value in self.weights.items()})

    def sha256(self) -> str:
        """Return the hash of the file of the weights."""
        return hashlib.sha256(self.weight_bytes()).hexdigest()


def is_packed(folder: Path) -> bool:
    """Tell whether a folder was packed by marrow: other programs have a config.json, too."""
    try:
        return "marrow_packed" in json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def write_packed(folder: Path, packed: Packed, card: str) -> None:
    """Write the three files; those that are there are replaced."""
    make_folder(folder)
    # The description first goes and last comes: one that is there has the weights that it describes.
    (folder / CONFIG).unlink(missing_ok=True)
    weights = packed.weight_bytes()
    write_whole(folder / WEIGHTS, lambda path: path.write_bytes(weights))
    write_text_whole(folder / CARD, card)
    description = {
        "marrow_packed": PACKED_VERSION,
        "library_name": "marrow",
        "marrow": packed.marrow,
        "sha256": {WEIGHTS: hashlib.sha256(weights).hexdigest()},
        "encoder": dict(packed.encoder),
        "head": None if packed.head is None else dict(packed.head),
    }
    write_text_whole(folder / CONFIG, json.dumps(description, indent=1) + "\n")


def read_packed(folder: Path) -> Packed:
    """Read a packed folder.

    Raises:
        CheckpointError: a file is missing or damaged, or of another version.
    """
    try:
        description = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        made_by = description.get("marrow", "unknown")
        if description["marrow_packed"] != PACKED_VERSION:
            raise CheckpointError(
                f"{folder}: packed format version {description['marrow_packed']}, made by marrow {made_by}; this "
                f"marrow reads version {PACKED_VERSION}. Install marrow {made_by}, or pack the model anew"
            )
        weights = (folder / WEIGHTS).read_bytes()
        expected, found = description["sha256"][WEIGHTS], hashlib.sha256(weights).hexdigest()
        if found != expected:
            raise CheckpointError(
                f"{folder / WEIGHTS}: expected the hash {expected[:16]} that {CONFIG} names, got {found[:16]}: the "
                "file has changed since it was packed; fetch it again, or pack the model anew"
            )
        return Packed(description["encoder"], description["head"], load(weights), made_by)
    except CheckpointError:
        raise
    except Exception as error:  # whatever a damaged file brings, the person needs the folder's name
        raise damaged(folder, "a packed folder", error) from error
