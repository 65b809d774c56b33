"""How much of a run's time goes into its data: measured around the loader, in every run."""

import time
from typing import Any

from marrow.train.loop import Loader
from marrow.train.step import MicroBatches


class TimedLoader:
    """A loader that knows how much of the time goes into it.

    Args:
        loader: that is asked.
    """

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self.steps = self.clips = 0
        self._since: float | None = None
        self._wall = self._busy = 0.0

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the rows."""
        return self._loader.steps_per_epoch

    def next_step(self) -> MicroBatches:
        """Return the micro-batches of this process for the next optimizer step."""
        wall, busy = time.monotonic(), time.thread_time()
        self._since = wall if self._since is None else self._since
        step = self._loader.next_step()
        self._wall += time.monotonic() - wall
        self._busy += time.thread_time() - busy
        self.steps += 1
        self.clips += sum(len(batch) for batch, _ in step)
        return step

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the sequence of steps."""
        return self._loader.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a place in the sequence of steps."""
        self._loader.load_state_dict(state)

    def read(self) -> dict[str, float]:
        """Return the shares of the time since the last reading that went into the loader, and into waiting there.

        A resident loader on a CPU computes its batches itself, which is work. What this thread does not spend working
        in the loader, it waits: for a worker, a disk, or another program.
        """
        if self._since is None:
            return {}
        passed = max(time.monotonic() - self._since, 1e-9)
        waiting = max(0.0, self._wall - self._busy)
        shares = {
            "loader_share_percent": 100.0 * self._wall / passed,
            "waiting_share_percent": 100.0 * waiting / passed,
        }
        self._since, self._wall, self._busy = None, 0.0, 0.0
        return shares
