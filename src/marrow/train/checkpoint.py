"""Checkpoints that a cut or a full disk cannot turn into nonsense.

    checkpoints/step-00001200.pt     tensors and plain numbers; loads under `weights_only=True`
    checkpoints/step-00001200.json   its length in bytes and SHA-256, written after it

A file gets its name only when all of it is on the disk. One whose length or hash differs from what stands beside it is
never loaded: the one before it is, and a warning says so.
"""

import hashlib
import json
import logging
import pickle
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from marrow.errors import CheckpointError, ConfigError
from marrow.files import make_folder, write_whole

_log = logging.getLogger(__name__)
# Of what a checkpoint holds; one of another version is refused.
VERSION = 1
_SEAL = re.compile(r"step-(\d{8,})\.json")
_OURS = re.compile(r"step-(\d{8,})\.(pt|json)(\.partial)?")


@dataclass(frozen=True)
class CheckpointConfig:
    """When to save, and what to keep. The end of a run and an interruption always save.

    Args:
        every_minutes: wall-clock minutes between two checkpoints.
        every_steps: optimizer steps between two checkpoints, besides; null: only the clock counts.
        keep_last: how many of the newest to keep.
        keep_steps: keep for good those at multiples of so many steps; null: none.
    """

    every_minutes: float = 10.0
    every_steps: int | None = None
    keep_last: int = 2
    keep_steps: int | None = None

    def __post_init__(self) -> None:
        if self.every_minutes <= 0:
            raise ConfigError(f"checkpoints.every_minutes must be positive, got {self.every_minutes}")
        if self.keep_last < 1:
            raise ConfigError(f"checkpoints.keep_last must be at least 1, got {self.keep_last}")
        for name in ("every_steps", "keep_steps"):
            steps = getattr(self, name)
            if steps is not None and steps < 1:
                raise ConfigError(f"checkpoints.{name} must be at least 1 or null, got {steps}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _steps(folder: Path) -> list[int]:
    """List the steps of the checkpoints in a folder, oldest first."""
    return sorted(int(seal[1]) for path in folder.glob("step-*.json") if (seal := _SEAL.fullmatch(path.name)))


def _paths(folder: Path, step: int) -> tuple[Path, Path]:
    return folder / f"step-{step:08d}.pt", folder / f"step-{step:08d}.json"


def save(folder: Path, step: int, state: dict[str, Any], config: CheckpointConfig) -> Path:
    """Save a checkpoint, then remove those that need not be kept.

    Args:
        folder: of the run's checkpoints.
        step: optimizer steps done.
        state: nested dictionaries and lists of tensors, numbers, strings and None.
        config: what to keep.
    """
    make_folder(folder)
    tensors, seal = _paths(folder, step)
    try:
        write_whole(tensors, lambda path: torch.save(state, path))
        facts = {"step": step, "bytes": tensors.stat().st_size, "sha256": _sha256(tensors)}
        write_whole(seal, lambda path: path.write_text(json.dumps(facts) + "\n", encoding="utf-8"))
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
        reason = error.strerror if isinstance(error, OSError) else "PyTorch could not write all of it"
        free = shutil.disk_usage(folder).free / 2**20
        raise CheckpointError(
            f"{tensors}: cannot be written ({reason}; {free:,.1f} MiB are free there). Free some space and give the "
            f"same command again: the checkpoints before it are untouched"
        ) from error
    _remove_others(folder, step, config)
    return tensors


def _remove_others(folder: Path, newest: int, config: CheckpointConfig) -> None:
    """Remove what need not be kept: old ones, unfinished ones, and later ones that a resume has passed over."""
    done = [step for step in _steps(folder) if step <= newest]
    keep = set(done[-config.keep_last :])
    if config.keep_steps is not None:
        keep.update(step for step in done if step % config.keep_steps == 0)
    # Seals sort before tensors: should removing stop half-way, tensors without a seal count for nothing.
    for path in sorted(folder.iterdir()):
        name = _OURS.fullmatch(path.name)
        if name and int(name[1]) not in keep:
            path.unlink()


def load(folder: Path, step: int) -> dict[str, Any]:
    """Load the checkpoint of one step, to the CPU, after checking length and hash."""
    tensors, seal = _paths(folder, step)
    try:
        facts = json.loads(seal.read_text(encoding="utf-8"))
        expected_bytes, expected_hash = facts["bytes"], facts["sha256"]
        actual_bytes = tensors.stat().st_size
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{tensors}: expected it and its length and hash in {seal.name}: {error}") from error
    if actual_bytes != expected_bytes:
        raise CheckpointError(
            f"{tensors}: expected {expected_bytes} bytes, found {actual_bytes}: the file was cut short"
        )
    if _sha256(tensors) != expected_hash:
        raise CheckpointError(
            f"{tensors}: its content differs from what was written (SHA-256): the disk or a copy erred"
        )
    try:
        return torch.load(tensors, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{tensors}: expected tensors and plain values, found something else: {error}") from error


def load_latest(folder: Path) -> dict[str, Any] | None:
    """Load the newest checkpoint that is whole; None where there is none at all.

    A damaged one is passed over with a warning. Where every one is damaged, that is an error, for starting afresh
    would throw the run away.
    """
    steps, problem = _steps(folder), None
    for step in reversed(steps):
        try:
            state = load(folder, step)
        except CheckpointError as error:
            _log.warning("Checkpoint passed over: %s", error)
            problem = error
            continue
        version = state.get("version", 1)  # the first versions did not say theirs
        if version != VERSION:
            raise CheckpointError(
                f"{_paths(folder, step)[0]} is of version {version}; this marrow reads version {VERSION}. "
                "Go on with the marrow that made it, or start afresh in another folder"
            )
        return state
    if steps:
        raise CheckpointError(
            f"{folder}: none of the {len(steps)} checkpoints is whole; remove the folder to start afresh. {problem}"
        )
    return None
