"""Where the time of a step goes: clocks around the phases of the loop, which cost nothing while nobody asks."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Literal

import torch

from marrow.files import write_text_whole

_log = logging.getLogger(__name__)

Phase = Literal["load", "sample", "forward", "backward", "exchange", "update", "log", "save"]
_MEANINGS: dict[Phase, str] = {
    "load": "wait for the batch: read, crop, augment",
    "sample": "draw what is random in the loss",
    "forward": "compute the loss",
    "backward": "compute the gradients (of several processes: and exchange them)",
    "exchange": "add up loss and weight over micro-batches and processes; divide the gradients",
    "update": "norm of the gradient, optimizer",
    "log": "read the numbers from the device, monitor, write the log",
    "save": "write a checkpoint",
}
_NOTHING = nullcontext()
# Of the detailed trace: so many steps are left out first, for the first ones are not typical; so many are recorded.
_TRACE_AFTER, _TRACE_STEPS = 3, 3


class Profile:
    """Adds up the time that each phase takes. Results are the same with and without.

    Args:
        device: where it computes. On a GPU every phase waits for the device, or its time would show up in the next
            one; a profiled run is slower there.
        folder: receives `profile.json` and `profile_trace.json` (for chrome://tracing or ui.perfetto.dev); None: no
            clocks at all.
    """

    def __init__(self, device: torch.device, folder: Path | None) -> None:
        self._device, self._folder = device, folder
        self._seconds: dict[Phase, float] = dict.fromkeys(_MEANINGS, 0.0)
        self._steps = 0
        self._begin = time.perf_counter()
        self._trace: torch.profiler.profile | None = None

    def __call__(self, phase: Phase) -> AbstractContextManager[None]:
        """Return a context whose time counts for a phase."""
        return _NOTHING if self._folder is None else self._clock(phase)

    @contextmanager
    def _clock(self, phase: Phase) -> Iterator[None]:
        begin = self._now()
        with torch.profiler.record_function(phase):
            yield
            now = self._now()
        self._seconds[phase] += now - begin

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    def step_done(self) -> None:
        """Count a step; begin or end the detailed trace where it is time."""
        if self._folder is None:
            return
        self._steps += 1
        if self._steps == _TRACE_AFTER:
            self._trace = torch.profiler.profile()
            self._trace.start()
        elif self._trace is not None and self._steps == _TRACE_AFTER + _TRACE_STEPS:
            self._trace.stop()
            self._trace.export_chrome_trace(str(self._folder / "profile_trace.json"))
            self._trace = None

    def finish(self) -> None:
        """Write `profile.json` and say the table."""
        if self._trace is not None:
            self._trace.stop()
            self._trace = None
        if self._folder is None or not self._steps:
            return
        total = time.perf_counter() - self._begin
        seconds = {**self._seconds, "everything else": total - sum(self._seconds.values())}
        phases = {
            phase: {"seconds": spent, "milliseconds_per_step": 1e3 * spent / self._steps, "share": spent / total}
            for phase, spent in seconds.items()
        }
        facts = {"steps": self._steps, "seconds": total, "device": str(self._device), "phases": phases}
        write_text_whole(self._folder / "profile.json", json.dumps(facts, indent=1) + "\n")
        _log.info("%s", table(facts))


def table(facts: dict) -> str:
    """Return the content of `profile.json` as a table for people."""
    lines = [f"{facts['steps']} steps in {facts['seconds']:.1f} s on {facts['device']}; of a step, on average:"]
    for phase, spent in facts["phases"].items():
        numbers = f"{spent['milliseconds_per_step']:9.2f} ms {100 * spent['share']:5.1f} %"
        lines.append(f"  {phase:<16}{numbers}  {_MEANINGS.get(phase, '')}".rstrip())
    return "\n".join(lines)
