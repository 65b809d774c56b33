"""Encoders to be judged, in a folder or in memory: what they say of themselves, and whether they fit a store."""

import copy
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from safetensors.torch import save

from marrow.data.augment import AugmentConfig
from marrow.errors import CheckpointError, ConfigError, did_you_mean, setting
from marrow.files import did_you_mean_path
from marrow.models.adapt import adapted
from marrow.models.encoder import Encoder
from marrow.models.export import DESCRIPTION, WEIGHTS, describe, load_encoder, weight_bytes
from marrow.models.packed import is_packed, read_packed
from marrow.store.format import Store
from marrow.tasks.base import Origin
from marrow.tasks.evaluation_report import RunFacts
from marrow.train.logs import read_log
from marrow.weights import SHIPPED, shipped_folder

_log = logging.getLogger(__name__)


def encoder_of(source: Encoder | Path) -> Encoder:
    """Return an encoder that may be trained and moved: from its folder, or a copy of the one in memory."""
    return copy.deepcopy(source).eval() if isinstance(source, Encoder) else load_encoder(source)


def facts_of(source: Encoder | Path, index: int) -> RunFacts:
    """Return what an encoder, or that of a folder, says of itself; `index` is its seed where it names none."""
    if isinstance(source, Encoder):
        description = {"kind": type(source).__name__, **describe(source), "provenance": {}}
        return RunFacts(f"encoder {index + 1}", index, description, _fingerprint(weight_bytes(source)))
    source = shipped_folder(source) or source
    if is_packed(source):
        packed = read_packed(source)
        seed = packed.encoder.get("provenance", {}).get("seed")
        fingerprint = _fingerprint(save(packed.part("encoder")))
        name = source.resolve().name
        return RunFacts(name, index if seed is None else int(seed), dict(packed.encoder), fingerprint)
    inner = source / "encoder" if (source / "encoder" / DESCRIPTION).is_file() else source
    try:
        description = json.loads((inner / DESCRIPTION).read_text(encoding="utf-8"))
        fingerprint = _fingerprint((inner / WEIGHTS).read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{source} holds no finished encoder: {_why_unreadable(source, inner, error)}") from error
    seed = description.get("provenance", {}).get("seed")
    return RunFacts(source.resolve().name, index if seed is None else int(seed), description, fingerprint)


def _fingerprint(weights: bytes) -> str:
    return hashlib.sha256(weights).hexdigest()[:16]


def _why_unreadable(folder: Path, inner: Path, error: Exception) -> str:
    if not folder.is_dir():
        shipped = did_you_mean(folder.name, SHIPPED)
        return f"there is no such folder{f'.{shipped}' if shipped else did_you_mean_path(folder)}"
    if (folder / "checkpoints").is_dir() and not (inner / DESCRIPTION).exists():
        return "its training was not finished; give `marrow pretrain` the same settings again, and it goes on"
    if (inner / DESCRIPTION).exists():
        return f"{inner} is damaged ({error})"
    return (
        f"expected a run directory of `marrow pretrain`, a folder with {DESCRIPTION} and {WEIGHTS}, or the name of an "
        f"encoder that marrow ships: {', '.join(SHIPPED)}"
    )


def facts_of_all(sources: Sequence[Encoder | Path]) -> list[RunFacts]:
    """Return what encoders say of themselves, under names that tell them apart.

    Raises:
        ConfigError: one is given twice.
        CheckpointError: a folder holds no finished encoder.
    """
    facts = [facts_of(source, index) for index, source in enumerate(sources)]
    folders = [source for source in sources if isinstance(source, Path)]
    names = iter(distinct_names(folders))
    facts = [
        replace(run, name=next(names)) if isinstance(source, Path) else run
        for run, source in zip(facts, sources, strict=True)
    ]
    if len({run.name for run in facts}) < len(facts):
        raise ConfigError(f"each run must be given once; got {', '.join(map(str, folders))}")
    return facts


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


def store_for(
    encoder: Encoder, store: Store, name: Path | str, joints: Mapping[str, str | None] | None = None
) -> Store:
    """Return a store as an encoder reads it: brought to its layout, where its joints are places of the body.

    Args:
        encoder: that is to read.
        store: as it was opened.
        name: of the encoder, for messages.
        joints: joint of the encoder by joint of the store, where names do not tell.

    Raises:
        ConfigError: the encoder reads another skeleton, or another number of dimensions.
    """
    if encoder.is_by_place and encoder.skeleton.joints != store.skeleton.joints:
        named = {place: joint for joint, place in (joints or {}).items() if place is not None}
        store = store.brought_to(encoder.skeleton, named)
    check_skeleton(encoder, store, name)
    _check_dimensions(encoder, store, name)
    if store.skeleton.dimensions != encoder.skeleton.dimensions:
        store = store.in_dimensions(encoder.skeleton.dimensions)
    return store


def _check_dimensions(encoder: Encoder, store: Store, name: Path | str) -> None:
    if encoder.skeleton.dimensions != store.skeleton.dimensions and not encoder.takes_flat:
        raise ConfigError(
            f"{name} reads {encoder.skeleton.dimensions} dimensions, the recordings of {store.path} have "
            f"{store.skeleton.dimensions}; use an encoder that was made for both (encoder.takes_flat)"
        )


def encoder_for(
    encoder: Encoder, store: Store, transfer: bool | Mapping[str, str | None], seed: int, name: Path | str
) -> tuple[Encoder, list[str]]:
    """Return an encoder that reads a store, and what is to be said of it.

    Args:
        encoder: as it was trained.
        store: that it is to read.
        transfer: adapt it where the skeletons differ, joints being matched by name; or joint of the encoder by joint
            of the store, where names do not tell (None: that one begins untrained). False: do not.
        seed: of the joints that the encoder has never seen.
        name: of the encoder, for messages.

    Raises:
        ConfigError: the skeletons differ, and `transfer` is False or cannot make one of the other.
    """
    if encoder.is_by_place:
        read = store_for(encoder, store, name, transfer if isinstance(transfer, Mapping) else None)
        if read.brought is store.brought:
            return encoder, []
        places = len(read.brought.sources) if read.brought is not None else 0
        return encoder, [f"{places} joints of {store.skeleton.name} were read as places of the body"]
    if transfer is False:
        try:
            check_skeleton(encoder, store, name)
        except ConfigError as error:
            adapt = f"or adapt the encoder with {setting('transfer')}, which matches joints by name"
            raise ConfigError(f"{error}; {adapt}") from error
        return encoder, []
    if transfer is True and encoder.skeleton.joints == store.skeleton.joints:
        return encoder, []
    _check_dimensions(encoder, store, name)
    result, adaptation = adapted(encoder, store.skeleton, None if transfer is True else transfer, seed)
    notes = [adaptation.sentence()]
    up = encoder.skeleton.up, store.skeleton.up
    if encoder.input.alignment == "none" and up[0] != up[1]:
        notes.append(
            f"the encoder reads coordinates as they are stored, and learned them with {up[0]} pointing up; "
            f"in this store {up[1]} does"
        )
    return result, notes


def origin_of(run: Path | None, provenance: Mapping[str, Any]) -> Origin:
    """Gather what is known of a pre-training.

    Args:
        run: a run directory, or the folder of an exported encoder; None: it is in memory alone.
        provenance: what the encoder says of itself.
    """
    # The encoder knows its own cost; a run that has gone on since has spent more. The log is for older encoders.
    log = [] if run is None else read_log(run / "log.jsonl")
    facts = {**(log or [{}])[-1], **provenance}
    cpu_seconds, wall_seconds = (
        None if facts.get(name) is None else float(facts[name]) for name in ("cpu_seconds", "wall_seconds")
    )
    augment = _augmentation_of(provenance)
    return Origin("trained", facts.get("steps", facts.get("step")), cpu_seconds, wall_seconds, augment)


def _augmentation_of(provenance: Mapping[str, Any]) -> AugmentConfig | None:
    """Return how clips were varied in a pre-training; None where that is not known."""
    settings = provenance.get("settings", {}).get("augment")
    if settings is None:
        return None
    unknown = sorted(set(settings) - {field.name for field in fields(AugmentConfig)})
    if unknown:
        _log.warning(
            "The encoder was made by marrow %s, which varied clips by settings that this marrow does not have (%s): "
            "fine-tuning varies them as by default",
            *(provenance.get("marrow", "(version unknown)"), ", ".join(f"augment.{name}" for name in unknown)),
        )
        return None
    return AugmentConfig(**settings)
