"""Where an encoder comes from, and what it cost: part of every fair comparison with training from scratch."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from marrow.data.augment import AugmentConfig
from marrow.train.logs import read_log


@dataclass(frozen=True)
class Origin:
    """Where the encoder that a task is given comes from: what it cost, and how its clips were varied.

    Args:
        source: "trained", or "random" for the baseline at random initialisation (to fine-tune it is to train from
            scratch). What follows is then about the pre-training that it is compared with.
        steps: optimizer steps of the pre-training; None where unknown.
        cpu_seconds: processor seconds of the pre-training; None where unknown.
        wall_seconds: seconds of the pre-training on the clock; None where unknown.
        augment: its augmentation; None where unknown.
        seed: its seed; None where unknown.
    """

    source: str = "trained"
    steps: int | None = None
    cpu_seconds: float | None = None
    wall_seconds: float | None = None
    augment: AugmentConfig | None = None
    seed: int | None = None

    @property
    def start(self) -> str:
        """Where a training of the encoder starts, as reports say it."""
        return "from scratch" if self.source == "random" else "from pre-training"

    def from_scratch(self) -> "Origin":
        """Return what is known, of the same architecture at random initialisation."""
        return replace(self, source="random")

    def seconds(self, device_type: str) -> float | None:
        """Return what the pre-training cost, on the clock that counts: the processor's on a CPU, else the wall's."""
        return self.cpu_seconds if device_type == "cpu" else self.wall_seconds


def origin_of(run: Path | None, provenance: Mapping[str, Any]) -> Origin:
    """Gather what is known of a pre-training.

    Args:
        run: a run directory, or the folder of an exported encoder; None: it is in memory alone.
        provenance: what the encoder says of itself.
    """
    # The encoder knows its own cost; a run that has gone on since has spent more. The log is for older encoders.
    log = [] if run is None else read_log(run / "log.jsonl")
    known = {**(log or [{}])[-1], **provenance}
    augment = provenance.get("settings", {}).get("augment")
    return Origin(
        steps=known.get("steps", known.get("step")),
        cpu_seconds=_number(known, "cpu_seconds"),
        wall_seconds=_number(known, "wall_seconds"),
        augment=None if augment is None else AugmentConfig(**augment),
    )


def _number(entry: Mapping[str, Any], name: str) -> float | None:
    return None if entry.get(name) is None else float(entry[name])
