"""Where the time of a step goes: clocks around the phases of the loop, which cost nothing while nobody asks."""

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Literal

import torch

from marrow.files import write_text_whole, write_whole

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
# The first steps are not typical (kernels are compiled, memory is taken) and do not count; the next ones are traced.
_WARM_UP_STEPS, _TRACE_STEPS = 3, 3


class Profile:
    """Adds up the time that each phase takes. Results are the same with and without.

    Args:
        device: where it computes. On a GPU every phase waits for the device, or its time would show up in the next
            one; a profiled run is slower there, and its steps are not captured.
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
        begin = time.perf_counter()
        if self._steps == _WARM_UP_STEPS:
            self._seconds = dict.fromkeys(_MEANINGS, 0.0)
            self._trace = torch.profiler.profile()
            with _silent_stderr():
                self._trace.start()
            self._begin = time.perf_counter()
        elif self._steps == _WARM_UP_STEPS + _TRACE_STEPS:
            self._end_trace(self._folder)
            self._begin += time.perf_counter() - begin

    def finish(self) -> None:
        """Write `profile.json` and say the table; where there were too few steps, say so."""
        if self._folder is None:
            return
        total, counted = time.perf_counter() - self._begin, self._steps - _WARM_UP_STEPS
        self._end_trace(self._folder)
        if counted < 1:
            _log.info("No profile: it takes more than %d steps, got %d", _WARM_UP_STEPS, self._steps)
            return
        seconds = {**self._seconds, "everything else": total - sum(self._seconds.values())}
        phases = {
            phase: {"seconds": spent, "milliseconds_per_step": 1e3 * spent / counted, "share": spent / total}
            for phase, spent in seconds.items()
        }
        facts = {"steps": counted, "seconds": total, "device": str(self._device), "phases": phases}
        write_text_whole(self._folder / "profile.json", json.dumps(facts, indent=1) + "\n")
        _log.info("%s", table(facts))

    def _end_trace(self, folder: Path) -> None:
        if self._trace is None:
            return
        with _silent_stderr():
            self._trace.stop()
        write_whole(folder / "profile_trace.json", self._export)
        self._trace = None

    def _export(self, path: Path) -> None:
        assert self._trace is not None
        self._trace.export_chrome_trace(str(path))


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Keep what PyTorch's tracer writes to the process's standard error, whatever its log level, from the user."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def table(facts: dict) -> str:
    """Return the content of `profile.json` as a table for people."""
    lines = [f"{facts['steps']} steps in {facts['seconds']:.1f} s on {facts['device']}; of a step, on average:"]
    for phase, spent in facts["phases"].items():
        numbers = f"{spent['milliseconds_per_step']:9.2f} ms {100 * spent['share']:5.1f} %"
        lines.append(f"  {phase:<16}{numbers}  {_MEANINGS.get(phase, '')}".rstrip())
    return "\n".join(lines)
