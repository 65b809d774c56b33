"""Encoders to be judged, exported or in memory: what they say of themselves, and whether they fit a store."""

import copy
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marrow.errors import CheckpointError, ConfigError
from marrow.models.encoder import Encoder
from marrow.models.export import DESCRIPTION, WEIGHTS, describe, load_encoder, weight_bytes
from marrow.store.format import Store


@dataclass(frozen=True)
class RunFacts:
    """One evaluated encoder.

    Args:
        name: of the run's folder; "encoder 1", for example, where it is in memory alone.
        seed: of its pre-training.
        description: what the exported encoder says of itself: kind, size, input, skeleton, provenance.
        fingerprint: SHA-256 of its weights, shortened; the same in memory as exported.
    """

    name: str
    seed: int
    description: dict[str, Any]
    fingerprint: str


def encoder_of(source: Encoder | Path) -> Encoder:
    """Return an encoder that may be trained and moved: from its folder, or a copy of the one in memory."""
    return copy.deepcopy(source).eval() if isinstance(source, Encoder) else load_encoder(source)


def facts_of(source: Encoder | Path, index: int) -> RunFacts:
    """Return what an encoder, or that of a folder, says of itself; `index` is its seed where it names none."""
    if isinstance(source, Encoder):
        description = {"kind": type(source).__name__, **describe(source), "provenance": {}}
        return RunFacts(f"encoder {index + 1}", index, description, _fingerprint(weight_bytes(source)))
    folder = source
    inner = folder / "encoder" if (folder / "encoder" / DESCRIPTION).is_file() else folder
    try:
        description = json.loads((inner / DESCRIPTION).read_text(encoding="utf-8"))
        fingerprint = _fingerprint((inner / WEIGHTS).read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} holds no finished encoder: {_why_unreadable(folder, inner, error)}") from error
    seed = description.get("provenance", {}).get("seed")
    return RunFacts(folder.resolve().name, index if seed is None else int(seed), description, fingerprint)


def _fingerprint(weights: bytes) -> str:
    return hashlib.sha256(weights).hexdigest()[:16]


def _why_unreadable(folder: Path, inner: Path, error: Exception) -> str:
    if not folder.is_dir():
        return "there is no such folder"
    if (folder / "checkpoints").is_dir() and not (inner / DESCRIPTION).exists():
        return "its training was not finished; give `marrow pretrain` the same settings again, and it goes on"
    if (inner / DESCRIPTION).exists():
        return f"{inner} is damaged ({error})"
    return f"expected a run directory of `marrow pretrain`, or a folder with {DESCRIPTION} and {WEIGHTS}"


def distinct_names(folders: Sequence[Path]) -> list[str]:
    """Name folders: by their own names, and those that bear one name by as much of their paths as tells them apart."""
    paths = [folder.resolve() for folder in folders]
    names = [path.name for path in paths]
    for depth in range(2, max((len(path.parts) for path in paths), default=0) + 1):
        count = Counter(names)
        names = [
            "/".join(path.parts[-depth:]) if count[name] > 1 else name for path, name in zip(paths, names, strict=True)
        ]
    return names


def check_skeleton(encoder: Encoder, store: Store, name: Path | str) -> None:
    """Raise a ConfigError, with the name of the encoder, where an encoder and a store have different skeletons."""
    if encoder.skeleton.joints != store.skeleton.joints:
        raise ConfigError(
            f"{name} was trained on the skeleton {encoder.skeleton.name!r} ({len(encoder.skeleton.joints)} joints), "
            f"{store.path} holds {store.skeleton.name!r} ({len(store.skeleton.joints)} joints); use an encoder of that "
            "skeleton, or recordings of the encoder's"
        )
