"""Looks at the encoder while it trains: does it tell actions apart, do features collapse, does the step wait for data?

A small fixed set of training clips is encoded now and then, in eval mode, and put back as it was: the training is the
same to the last bit with and without. Test clips are never touched. Labels, where there are any, are only counted: each
clip of the set is asked whether its nearest neighbour has its label. Where the store knows who the people are, the
neighbour is looked for among clips of other people: clips of one performance, seen by several cameras, are near each
other whatever the features are worth. It is a trend, not a score.

The monitor limits itself. Cadence and number of clips follow from what it may spend, a share of what the run has spent
so far; a run too short for that is not measured.
"""

import logging
import math
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from lightning_fabric import Fabric
from torch import Tensor

from marrow.data.batch import Batch
from marrow.data.sampling import evaluation_batches
from marrow.data.source import ClipSource
from marrow.errors import ConfigError, MarrowError
from marrow.models.encoder import Encoder
from marrow.models.features import chance_percent, effective_rank, leave_one_out_percent, spread_percent
from marrow.train.loop import Loader
from marrow.train.step import MicroBatches
from marrow.train.verdict import Verdict, judge

_log = logging.getLogger(__name__)

_BATCH_CLIPS = 32
# Encoded twice to learn what a clip costs, as soon as that is within the share if encoding a clip takes no more than
# four times as long as training on one.
_PILOT_CLIPS, _PILOT_COST = 16, 2 * 4
# Fewer clips say too little: one standard error of 30 % is 4 points for 128. It takes this many measurements to see
# a trend: with less to spend, it is fewer clips.
_FEWEST_CLIPS, _WANTED_MEASUREMENTS = 128, 10
# So many clips of a class come before those of another class, as far as there are so many.
_CLIPS_PER_CLASS = 8
# Costs vary; what is planned is somewhat less than what is allowed.
_CAUTION = 0.9


@dataclass(frozen=True)
class MonitorConfig:
    """How a run is watched while it trains. What is learned does not depend on it.

    Args:
        enabled: whether the encoder is looked at; the time spent on data is measured in any case.
        clips: training clips to look at, at most; fewer where a run is too short for them.
        max_share_percent: what it may cost, in percent of the run's processor seconds; on a GPU, also in percent of its
            time on the clock.
        every_percent: least part of the run between two measurements, in percent.
    """

    enabled: bool = True
    clips: int = 512
    max_share_percent: float = 2.0
    every_percent: float = 2.0

    def __post_init__(self) -> None:
        if self.clips < 2:
            raise ConfigError(f"monitor.clips must be at least 2, got {self.clips}")
        if not 0.0 < self.max_share_percent <= 100.0:
            raise ConfigError(f"monitor.max_share_percent must lie in (0, 100], got {self.max_share_percent}")
        if not 0.0 < self.every_percent <= 100.0:
            raise ConfigError(f"monitor.every_percent must lie in (0, 100], got {self.every_percent}")


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


class Monitor:
    """What the loop asks for further numbers whenever it writes an entry of its log. In one process only.

    Args:
        config: what it may do.
        encoder: the one in training, not wrapped.
        fabric: whose device and precision it computes in. No collective operation is called.
        store: the data.
        rows: those that are trained on; never test rows.
        loader: of the run.
        seed: of the run; decides which clips are looked at and the random initialisation to compare with.
        history: the log of the run so far, where it is resumed.
        sharded: whether the weights are spread over processes, so that this one alone cannot use the encoder.
    """

    def __init__(
        self,
        config: MonitorConfig,
        encoder: Encoder,
        fabric: Fabric,
        store: ClipSource,
        rows: Int64[np.ndarray, " clip"],
        loader: TimedLoader,
        *,
        seed: int = 0,
        history: Sequence[Mapping[str, Any]] = (),
        sharded: bool = False,
    ) -> None:
        self._config, self._encoder, self._fabric, self._store, self._loader = config, encoder, fabric, store, loader
        self._rows, self._seed = watched_rows(store, rows, config.clips, seed), seed
        self._history, self._entries = list(history), list[Mapping[str, Any]]()
        self._watches = config.enabled and not sharded and len(self._rows) >= 2
        if config.enabled and sharded:
            _log.info("The monitor does not look at the encoder: its weights are spread over several processes")
        self._batches: list[Batch] = []
        self._label = torch.from_numpy(np.asarray(store.label)[self._rows])
        self._person = _people(store, self._rows)
        self._stores = store.members_of(self._rows)
        # Costs are arrays: processor seconds, and beside a GPU seconds on the clock too. What to expect is known after
        # a pilot: of making the batches, once, and of a measurement.
        self._counted = 1 if fabric.device.type == "cpu" else 2
        self._spent, self._making = np.zeros(self._counted), np.zeros(self._counted)
        self._cost: Float64[np.ndarray, " clock"] | None = None
        self._count: int | None = None
        self._baseline: dict[str, float] = {}
        self._measured_at = -1.0
        self._announced_at, self._announced = 0.0, ""

    def _go_on(self, step: int, progress: float) -> None:
        """Take up what was known before a step; the log may tell of later ones, which a resumed run lives anew.

        Its progress may be behind that of earlier entries: an extended run has farther to go.
        """
        self._entries = [entry for entry in self._history if entry["step"] < step]
        self._history = []
        self._spent += max((entry.get("monitor_cpu_seconds", 0.0) for entry in self._entries), default=0.0)
        measured = [entry for entry in self._entries if "effective_rank_random" in entry]
        if measured and measured[-1]["monitor_clips"] <= len(self._rows):
            last = measured[-1]
            self._count = int(last["monitor_clips"])
            names = ("effective_rank_random", "nearest_neighbour_random_percent", "chance_percent", "monitor_people")
            self._baseline = {name: last[name] for name in names if name in last}
            self._measured_at = self._announced_at = min(last["progress"], progress)

    def __call__(self, entry: Mapping[str, Any]) -> dict[str, float]:
        """Return further numbers for an entry of the log: shares of time always, those of the features when due."""
        began = self._clocks()
        numbers = self._loader.read()
        if self._history:
            self._go_on(entry["step"], entry["progress"])
        before = self._spent
        try:
            if self._watches and self._is_due(entry):
                numbers |= self._measure()
                self._measured_at = entry["progress"]
        except (MarrowError, RuntimeError, OSError) as error:
            # Nobody wants to lose a night's training to the one who watches.
            self._watches = False
            _log.warning("The monitor stops looking at the encoder, and training goes on: %s", error)
        self._entries.append({**entry, **numbers})
        self._announce(entry["progress"], measured="effective_rank" in numbers)
        self._spent = before + self._clocks() - began
        return numbers | {"monitor_cpu_seconds": round(float(self._spent[0]), 3)}

    def verdict(self) -> Verdict:
        """Return what to make of the run so far."""
        return judge(self._entries)

    def _clocks(self) -> Float64[np.ndarray, " clock"]:
        """Return the time by the clocks that count."""
        return np.array([time.process_time(), time.monotonic()])[: self._counted]

    def _is_due(self, entry: Mapping[str, Any]) -> bool:
        """Tell whether it is time for a measurement, and whether that can be paid for."""
        config, progress = self._config, entry["progress"]
        last = progress >= 1.0
        if not last and progress < self._measured_at + config.every_percent / 100.0 - 1e-9:
            return False
        share = _CAUTION * config.max_share_percent / 100.0
        run = np.array([entry["cpu_seconds"], entry["wall_seconds"]])[: self._counted]
        allowed = share * run - self._spent
        if self._cost is None:
            trained = entry["step"] * self._loader.clips / max(1, self._loader.steps)
            if trained * share < _PILOT_CLIPS * _PILOT_COST:
                return False
            self._plan(share * run / max(progress, 1e-9))
        assert self._cost is not None
        needed = self._cost * (1 if self._baseline else 2) + (0.0 if self._batches else self._making)
        # Room is kept for the last measurement, which is the one that counts: the run will have paid for it by then.
        to_come = share * run / max(progress, 1e-9) - self._spent
        last_one = 0.0 if last else self._cost
        return bool((needed <= allowed).all() and (needed + last_one <= to_come).all())

    def _plan(self, affordable: Float64[np.ndarray, " clock"]) -> None:
        """Find out what a clip costs, and decide how many to look at.

        Args:
            affordable: what may be spent over the whole run.
        """
        clips = min(_PILOT_CLIPS, len(self._rows))
        began = self._clocks()
        batches = self._make_batches(clips)
        made = self._clocks()
        self._encode(self._encoder, batches)  # the first time costs more than all that follow
        warm = self._clocks()
        self._encode(self._encoder, batches)
        making, encoding = (made - began) / clips, (self._clocks() - warm) / clips
        if self._count is None:
            wanted = affordable / (making + encoding * (_WANTED_MEASUREMENTS + 1))
            self._count = max(_FEWEST_CLIPS, int(wanted.min()))
        self._rows, self._label = self._rows[: self._count], self._label[: self._count]
        self._person = self._person[: self._count]
        self._making, self._cost = making * len(self._rows), encoding * len(self._rows)

    def _make_batches(self, clips: int) -> list[Batch]:
        source = (self._store, self._rows[:clips], self._encoder.input, _BATCH_CLIPS, self._fabric.device)
        return list(evaluation_batches(*source))

    def _measure(self) -> dict[str, float]:
        """Return what the features say now, beside the same architecture at random initialisation."""
        self._batches = self._batches or self._make_batches(len(self._rows))
        if not self._baseline:
            features = self._encode(self._encoder.fresh(self._seed), self._batches)
            self._baseline = {"effective_rank_random": effective_rank(features)}
            self._baseline |= self._neighbours(features, "nearest_neighbour_random_percent")
        began = self._clocks()
        features = self._encode(self._encoder, self._batches)
        numbers = {
            "effective_rank": effective_rank(features),
            "feature_spread_percent": spread_percent(features),
            "feature_dim": float(features.shape[1]),
            "monitor_clips": float(len(features)),
        }
        numbers |= self._neighbours(features, "nearest_neighbour_percent") | self._baseline
        # Of several stores, each by itself too: one may be learned at the cost of another.
        for name, places in self._stores.items():
            here = torch.from_numpy(places[places < len(features)])
            of_store = self._neighbours(features, "nearest_neighbour_percent", here)
            numbers |= {f"{number}.{name}": value for number, value in of_store.items()}
        self._cost = self._clocks() - began
        return numbers

    def _neighbours(
        self, features: Float[Tensor, "clip dim"], name: str, among: Int64[Tensor, " some"] | None = None
    ) -> dict[str, float]:
        """Return the score of the nearest neighbours and that of chance; nothing where labels allow no comparison.

        `among` are the clips that it is about; None: all.
        """
        labelled = self._label >= 0
        if among is not None:
            labelled &= torch.zeros_like(labelled).index_fill(0, among, True)
        label, person = self._label[labelled], self._person[labelled]
        if len(torch.unique(person)) < 2:
            person = torch.arange(len(label))
        chance = chance_percent(label, person) if len(label) > 1 else math.nan
        if not 0.0 < chance < 100.0:  # nor where there is none
            return {}
        numbers = {name: leave_one_out_percent(features[labelled], label, person), "chance_percent": chance}
        people = len(torch.unique(person))
        return numbers | ({"monitor_people": float(people)} if people < len(person) else {})

    def _encode(self, encoder: Encoder, batches: Sequence[Batch]) -> Float[Tensor, "clip dim"]:
        """Return pooled features in eval mode; every module goes back to the mode in which it was."""
        modes = [(module, module.training) for module in encoder.modules()]
        encoder.eval()
        try:
            # Not inference mode: what a module might cache in it could not take part in the training.
            with torch.no_grad(), self._fabric.autocast():
                features = torch.cat([encoder(batch).pooled().float() for batch in batches]).cpu()
        finally:
            for module, training in modes:
                module.training = training
        if not bool(features.isfinite().all()):
            raise MarrowError("the features are not finite")
        return features

    def _announce(self, progress: float, *, measured: bool) -> None:
        """Say how it goes, ten times in a run, and as soon as something is wrong."""
        verdict = self.verdict() if measured or progress >= self._announced_at + 0.1 else None
        if verdict is None or verdict.level == "wait" or progress >= 1.0:
            return  # the last word is said when the run is over
        alarming = verdict.level == "warning" and verdict.headline != self._announced
        if alarming or progress >= self._announced_at + 0.1:
            self._announced_at, self._announced = progress, verdict.headline
            _log.log(logging.WARNING if verdict.level == "warning" else logging.INFO, "%s", verdict)


def _people(store: ClipSource, rows: Int64[np.ndarray, " clip"]) -> Int64[Tensor, " clip"]:
    """Return a number for the person in each clip; where fewer than two are known of, one for each clip."""
    subject = store.subjects()
    if subject is not None:
        person = np.unique([str(name) for name in subject[rows]], return_inverse=True)[1]
        if person.max(initial=0) > 0:
            return torch.from_numpy(person.astype(np.int64))
    return torch.arange(len(rows))


def watched_rows(
    store: ClipSource, rows: Int64[np.ndarray, " clip"], count: int, seed: int
) -> Int64[np.ndarray, " watched"]:
    """Draw at most `count` of some rows: eight of one class after the other, so that a few clips have neighbours.

    The draw of fewer is the beginning of the draw of more.
    """
    generator = np.random.default_rng([seed, zlib.crc32(b"monitor")])
    shuffled = generator.permutation(rows)
    label = np.asarray(store.label)[shuffled]
    place_of_class, turn = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    for place, number in enumerate(generator.permutation(np.unique(label))):
        of_class = label == number
        place_of_class[of_class], turn[of_class] = place, np.arange(of_class.sum())
    # Clips without a label come last: they cannot be asked for their neighbours.
    return shuffled[np.lexsort((place_of_class, turn // _CLIPS_PER_CLASS, label < 0))][:count]
