"""What an exported encoder says of itself, and whether it fits a store."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marrow.errors import CheckpointError, ConfigError
from marrow.models.encoder import Encoder
from marrow.models.export import DESCRIPTION, WEIGHTS
from marrow.store.format import Store


@dataclass(frozen=True)
class RunFacts:
    """One evaluated encoder.

    Args:
        name: of the run's folder.
        seed: of its pre-training.
        description: what the exported encoder says of itself: kind, size, input, skeleton, provenance.
        fingerprint: SHA-256 of its weights, shortened.
    """

    name: str
    seed: int
    description: dict[str, Any]
    fingerprint: str


def facts_of(folder: Path, index: int) -> RunFacts:
    """Read what the encoder of a run says of itself; where it names no seed, `index` is taken for it."""
    inner = folder / "encoder" if (folder / "encoder" / DESCRIPTION).is_file() else folder
    try:
        description = json.loads((inner / DESCRIPTION).read_text(encoding="utf-8"))
        digest = hashlib.sha256((inner / WEIGHTS).read_bytes()).hexdigest()[:16]
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} holds no finished encoder: {_why_unreadable(folder, inner, error)}") from error
    seed = description.get("provenance", {}).get("seed")
    return RunFacts(folder.resolve().name, index if seed is None else int(seed), description, digest)


def _why_unreadable(folder: Path, inner: Path, error: Exception) -> str:
    if not folder.is_dir():
        return "there is no such folder"
    if (folder / "checkpoints").is_dir() and not (inner / DESCRIPTION).exists():
        return "its training was not finished; give `marrow pretrain` the same settings again, and it goes on"
    if (inner / DESCRIPTION).exists():
        return f"{inner} is damaged ({error})"
    return f"expected a run directory of `marrow pretrain`, or a folder with {DESCRIPTION} and {WEIGHTS}"


def check_skeleton(encoder: Encoder, store: Store, folder: Path) -> None:
    """Raise a ConfigError where an encoder and a store have different skeletons."""
    if encoder.skeleton.joints != store.skeleton.joints:
        raise ConfigError(
            f"{folder} was trained on the skeleton {encoder.skeleton.name!r} ({len(encoder.skeleton.joints)} joints), "
            f"{store.path} holds {store.skeleton.name!r} ({len(store.skeleton.joints)} joints); use an encoder of that "
            "skeleton, or recordings of the encoder's"
        )
