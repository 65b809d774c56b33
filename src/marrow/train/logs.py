"""The numbers of a run: gathered on the device, read now and then, kept as one JSON object per line."""

import json
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from marrow.errors import MarrowError
from marrow.files import write_text_whole
from marrow.models.trainable import StepOutput


def totals_of(output: StepOutput, clips: int) -> Float[Tensor, " total"]:
    """Lay the sums of a micro-batch side by side (loss, weight, clips, metrics): processes exchange them at once."""
    count = torch.full_like(output.loss_sum, clips, requires_grad=False)
    return torch.stack([output.loss_sum.detach(), output.weight.detach(), count, *output.metrics.values()]).float()


@dataclass
class _Step:
    """What one optimizer step leaves behind, on the device."""

    number: int
    learning_rate: float
    totals: Float[Tensor, " total"]
    gradient_norm: Float[Tensor, ""]
    rows: list[Int64[Tensor, " clip"]]


class Meter:
    """Steps since the last reading. Adding one costs no host synchronisation; reading costs one."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []
        self._metric_names: list[str] = []
        self._since = time.monotonic()

    def add(
        self,
        number: int,
        learning_rate: float,
        totals: Float[Tensor, " total"],
        metric_names: Iterable[str],
        gradient_norm: Float[Tensor, ""],
        rows: list[Int64[Tensor, " clip"]],
    ) -> None:
        """Note one step.

        Args:
            number: of the step, counted from 0.
            learning_rate: that it used.
            totals: of the global batch.
            metric_names: names of the totals behind loss, weight and clips.
            gradient_norm: of the mean gradient, before clipping.
            rows: store rows of each micro-batch of this process.
        """
        self._steps.append(_Step(number, learning_rate, totals, gradient_norm.detach(), rows))
        self._metric_names = list(metric_names)

    def read(self) -> dict[str, float]:
        """Return means over the steps since the last reading, and forget those steps. Synchronises with the device.

        Raises:
            MarrowError: a loss or a gradient is not finite; names the first such step.
        """
        if not self._steps:
            return {}
        table = torch.stack(
            [torch.cat([step.totals, step.gradient_norm.float()[None]]) for step in self._steps]
        ).tolist()
        for step, (loss_sum, weight, *_, norm) in zip(self._steps, table, strict=True):
            if not (math.isfinite(loss_sum) and math.isfinite(norm) and weight > 0):
                raise MarrowError(_not_finite(step, loss_sum, weight, norm))
        loss_sum, weight, clips, *metrics, norm_sum = (math.fsum(column) for column in zip(*table, strict=True))
        now = time.monotonic()
        entry = {"loss": loss_sum / weight}
        entry |= {name: metric / weight for name, metric in zip(self._metric_names, metrics, strict=True)}
        entry |= {"gradient_norm": norm_sum / len(table), "clips_per_second": clips / (now - self._since)}
        self._steps, self._since = [], now
        return entry


def _not_finite(step: _Step, loss_sum: float, weight: float, norm: float) -> str:
    rows = [row for rows in step.rows for row in rows.tolist()]
    return (
        f"step {step.number}: expected a finite loss over at least one target, got a loss sum of {loss_sum} over "
        f"{weight:g} targets, gradient norm {norm}, at learning rate {step.learning_rate:.3g}; "
        f"rows of the store: {rows}. Look at these rows (`marrow inspect`), or lower optimizer.learning_rate, "
        "or set optimizer.clip_norm"
    )


class JsonLines:
    """A log of one JSON object per line, each handed to the system as soon as it is written.

    Args:
        path: the file; None: write nothing (all processes but one).
        keep_steps: lines of later steps are dropped first: they belong to a future that a resumed run lives anew.
    """

    def __init__(self, path: Path | None, keep_steps: int) -> None:
        self._file = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = [json.dumps(entry) + "\n" for entry in read_log(path) if entry["step"] <= keep_steps]
            write_text_whole(path, "".join(kept))
            self._file = path.open("a", encoding="utf-8", buffering=1)

    def write(self, entry: dict[str, Any]) -> None:
        """Append one line."""
        if self._file is not None:
            self._file.write(json.dumps(entry) + "\n")

    def __enter__(self) -> "JsonLines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a log; none where there is no file. A last line that was cut short is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]
