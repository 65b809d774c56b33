"""Encoders as files: safetensors beside a JSON with everything that is needed to use them.

A folder holds `encoder.safetensors` and `encoder.json`: kind and size of the network, its input (window, stream,
alignment), the skeleton with its joint names, units, and where it came from. Nothing in it is executable.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor, nn

from marrow import extensions
from marrow.data.window import InputConfig
from marrow.errors import CheckpointError, MarrowError, damaged, did_you_mean
from marrow.files import did_you_mean_path, make_folder, write_text_whole, write_whole
from marrow.models.encoder import Encoder
from marrow.models.frame_transformer import FrameTransformer
from marrow.models.hierarchical_transformer import HierarchicalTransformer
from marrow.models.packed import is_packed, read_packed
from marrow.models.patch_transformer import PatchTransformer
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.places import full_description
from marrow.weights import SHIPPED, shipped_folder

ENCODER_VERSION = 1
WEIGHTS, DESCRIPTION = "encoder.safetensors", "encoder.json"

# Every kind of encoder by the name that its file bears; out of tree, an entry point in the group `marrow.encoders`.
ENCODERS: dict[str, type[Encoder]] = {
    "patch_transformer": PatchTransformer,
    "hierarchical_transformer": HierarchicalTransformer,
    "frame_transformer": FrameTransformer,
}


def get_encoder(kind: str) -> type[Encoder]:
    """Return the class of a kind of encoder.

    Raises:
        ConfigError: there is none, or it cannot be imported.
    """
    return ENCODERS[kind] if kind in ENCODERS else extensions.load("marrow.encoders", kind, ENCODERS)


def encoder_kind(encoder: Encoder) -> str:
    """Return the name of an encoder's kind.

    Raises:
        CheckpointError: it has none, and so could not be read again.
    """
    for kind in extensions.names("marrow.encoders", ENCODERS):
        if type(encoder) is get_encoder(kind):
            return kind
    raise CheckpointError(
        f"cannot export a {type(encoder).__name__}: it is not among the known encoders "
        f"({', '.join(extensions.names('marrow.encoders', ENCODERS))}); name it by an entry point in 'marrow.encoders'"
    )


def plain_weights(module: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a network as files hold them."""
    return {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}


def weight_bytes(encoder: Encoder) -> bytes:
    """Return the weights of an encoder as its file holds them."""
    return save(plain_weights(encoder))


def describe(encoder: Encoder) -> dict[str, Any]:
    """Return everything that using the weights of an encoder takes, apart from its kind, as plain values."""
    return {
        "size": encoder.size_name(),
        "config": asdict(encoder.config),  # pyright: ignore[reportArgumentType]
        "input": asdict(encoder.input),
        "skeleton": full_description(encoder.skeleton),
        "unit": "metre",
    }


def save_encoder(encoder: Encoder, folder: Path | str, provenance: Mapping[str, Any] | None = None) -> None:
    """Write an encoder.

    Args:
        encoder: what to write.
        folder: where; made if missing, files in it are replaced.
        provenance: plain values that tell where the encoder came from (recipe, steps, fingerprint of the store).

    Raises:
        CheckpointError: its kind has no name, and so it could not be read again.
    """
    folder, description = Path(folder), described(encoder, provenance)
    make_folder(folder)
    # The description first goes and last comes: a folder that has one has the weights that it describes.
    (folder / DESCRIPTION).unlink(missing_ok=True)
    write_whole(folder / WEIGHTS, lambda path: path.write_bytes(weight_bytes(encoder)))
    write_text_whole(folder / DESCRIPTION, json.dumps(description, indent=1) + "\n")


def described(encoder: Encoder, provenance: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what the file of an encoder says: version, kind, `describe`, and where it came from.

    Raises:
        CheckpointError: its kind has no name, and so it could not be read again.
    """
    header = {"version": ENCODER_VERSION, "kind": encoder_kind(encoder)}
    return header | describe(encoder) | {"provenance": dict(provenance or {})}


def load_encoder(folder: Path | str) -> Encoder:
    """Read an encoder: exported, packed, that of a run directory, or one that marrow ships by its name.

    Args:
        folder: the folder, or "general".

    Raises:
        CheckpointError: nothing is there, or it is damaged or of another version.
    """
    folder = shipped_folder(folder) or Path(folder)
    if is_packed(folder):
        packed = read_packed(folder)
        return encoder_from(packed.encoder, packed.part("encoder"), folder)
    if (folder / "encoder" / DESCRIPTION).is_file():
        folder = folder / "encoder"
    if folder.is_file():
        raise CheckpointError(f"expected the folder of an encoder, {folder} is a file: give {folder.parent}")
    if not (folder / DESCRIPTION).is_file():
        raise CheckpointError(
            f"{folder} holds no encoder (expected {DESCRIPTION} and {WEIGHTS}, a run directory with a finished run, or "
            f"the name of an encoder that marrow ships: {', '.join(SHIPPED)})"
            f"{'' if folder.exists() else did_you_mean(folder.name, SHIPPED) or did_you_mean_path(folder)}"
        )
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        weights = load_file(folder / WEIGHTS)
    except Exception as error:  # whatever a damaged file brings, the person needs the file's name
        raise damaged(folder, "an encoder", error) from error
    return encoder_from(description, weights, folder)


def encoder_from(description: Mapping[str, Any], weights: Mapping[str, Tensor], folder: Path) -> Encoder:
    """Make an encoder of what its file says and its weights; `folder` is for messages.

    A description of an older marrow may lack settings that there are now: they are what they were before there were
    any. One with settings that are not known names the marrow that made it.

    Raises:
        CheckpointError: they are damaged, or of another version.
    """
    try:
        made_by = f"marrow {description.get('provenance', {}).get('marrow', '(version unknown)')}"
        if description["version"] != ENCODER_VERSION:
            raise CheckpointError(
                f"{folder}: encoder format version {description['version']}, made by {made_by}; this marrow reads "
                f"version {ENCODER_VERSION}. Load it with {made_by}"
            )
        encoder_type: Any = get_encoder(description["kind"])
        for kind, said in ((encoder_type.config_type, description["config"]), (InputConfig, description["input"])):
            unknown = sorted(said.keys() - {field.name for field in fields(kind)})
            if unknown:
                raise CheckpointError(
                    f"{folder}: made by {made_by}, with the setting {unknown[0]!r}, which this marrow does not have; "
                    f"load it with {made_by}"
                )
        config = {
            name: tuple(value) if isinstance(value, list) else value for name, value in description["config"].items()
        }
        encoder: Encoder = encoder_type(
            encoder_type.config_type(**config),
            InputConfig(**description["input"]),
            Skeleton.from_description(description["skeleton"]),
        )
        encoder.load_state_dict(dict(weights))
    except MarrowError:
        raise
    except Exception as error:
        raise damaged(folder, "an encoder", error) from error
    return encoder.eval()
