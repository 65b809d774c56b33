"""The numbers of a run: gathered on the device, read now and then, kept as one JSON object per line."""

import json
import math
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from marrow.errors import DataError
from marrow.files import write_text_whole
from marrow.train.non_finite import NonFiniteLoss, StepNumbers
from marrow.train.step import TakenStep


class Meter:
    """Steps since the last reading. Adding one costs no host synchronisation; reading costs one."""

    def __init__(self) -> None:
        self._steps: list[tuple[int, float, TakenStep]] = []
        self._since = time.monotonic()

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, number: int, learning_rate: float, taken: TakenStep) -> None:
        """Note one step.

        Args:
            number: of the step, counted from 0.
            learning_rate: that it used.
            taken: what it left behind.
        """
        self._steps.append((number, learning_rate, taken))

    def read(self) -> dict[str, float]:
        """Return means over the steps since the last reading, and forget those steps. Synchronises with the device.

        Raises:
            NonFiniteLoss: a loss or a gradient is not finite; names the first such step.
        """
        if not self._steps:
            return {}
        table = torch.stack(
            [torch.cat([taken.totals, taken.gradient_norm.float()[None]]) for _, _, taken in self._steps]
        ).tolist()
        rates = list[float]()
        for (number, rate, taken), (loss_sum, weight, *_, norm) in zip(self._steps, table, strict=True):
            if not (math.isfinite(loss_sum) and math.isfinite(norm) and weight > 0):
                raise NonFiniteLoss(StepNumbers(number, rate, loss_sum, weight, norm, taken.rows), rates)
            rates.append(rate)
        loss_sum, weight, clips, *metrics, norm_sum = (math.fsum(column) for column in zip(*table, strict=True))
        names = self._steps[-1][2].metric_names
        now = time.monotonic()
        entry = {"loss": loss_sum / weight}
        entry |= {name: metric / weight for name, metric in zip(names, metrics, strict=True)}
        entry |= {"gradient_norm": norm_sum / len(table), "clips_per_second": clips / (now - self._since)}
        self._steps, self._since = [], now
        return entry


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
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines[:-1] if line]
    except ValueError as error:
        raise DataError(
            f"{path}: cannot be read as a log: {error}. Move it away: the curves are lost, the run is not"
        ) from error
