import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from marrow.cli.main import main
from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.data.window import InputConfig
from marrow.errors import ConfigError
from marrow.models.encoder import Features
from marrow.models.export import load_encoder
from marrow.models.features import effective_rank, leave_one_out_percent
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.objectives.mamp import MAMPConfig
from marrow.pretrain_config import PretrainConfig
from marrow.pretraining import build_objective, pretrain
from marrow.readers.base import Split
from marrow.skeleton.layout import KINECT_V1_20
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.format import Store
from marrow.store.memory import write_store
from marrow.tasks.features import extract
from marrow.train import monitor as home
from marrow.train.checkpoint import CheckpointConfig, load_latest
from marrow.train.device import make_fabric
from marrow.train.logs import read_log
from marrow.train.monitor import Monitor, MonitorConfig, TimedLoader, watched_rows
from marrow.train.run_directory import plain
from marrow.train.verdict import judge

# Costs nothing to wait for: every entry of the log is measured.
ALWAYS = MonitorConfig(clips=24, max_share_percent=100.0, every_percent=1.0)


def _clips(labels: list[int]) -> list[SkeletonSequence]:
    """Random walks; the first subject trains."""
    generator = np.random.default_rng(0)
    sequences = []
    for number, label in enumerate(labels):
        joints = np.cumsum(generator.normal(0, 0.02, (1, 20 + number % 7, 20, 3)), axis=1).astype(np.float32)
        record = Record(f"clip{number:03d}", label=label, attributes={"subject": 1 + number % 2})
        sequences.append(SkeletonSequence(joints, np.ones(joints.shape[:3], np.bool_), 30.0, KINECT_V1_20, record))
    return sequences


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """64 clips of four classes, half of them to train on."""
    split = Split(lambda record: record.attributes["subject"] == 1, lambda record: record.attributes["subject"] == 2)
    labels = [number // 2 % 4 for number in range(64)]
    folder = tmp_path_factory.mktemp("data") / "store"
    return write_store(folder, _clips(labels), source="walks", classes=("a", "b", "c", "d"), splits={"xsub": split})


def _config(store: Store | Path, out: Path, **changes: Any) -> PretrainConfig:
    return PretrainConfig(
        **{
            "store": store.path if isinstance(store, Store) else store,
            "out": out,
            "protocol": "xsub",
            "objective": MAMPConfig(decoder_depth=1, decoder_width=16, decoder_heads=2),
            "encoder": PatchTransformerConfig(width=16, depth=1, heads=2, patch_frames=4),
            "input": InputConfig(window_frames=16),
            "checkpoints": CheckpointConfig(every_steps=6),
            "monitor": ALWAYS,
            "batch_clips": 16,
            "max_steps": 20,
            "device": "cpu",
            "precision": "fp32",
            "threads": 1,
            "log_every": 2,
            **changes,
        }
    )


def _state(folder: Path) -> dict[str, Any]:
    state = load_latest(folder / "checkpoints")
    assert state is not None
    return state


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_same(left[name], right[name]) for name in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(_same(a, b) for a, b in zip(left, right, strict=True))
    return torch.equal(left, right) if isinstance(left, torch.Tensor) else left == right


@pytest.fixture(scope="module")
def watched(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of twenty steps, watched closely."""
    return pretrain(_config(store, tmp_path_factory.mktemp("runs") / "watched")).folder


def test_training_is_the_same_to_the_last_bit_with_and_without(store: Store, watched: Path, tmp_path: Path) -> None:
    alone = pretrain(_config(store, tmp_path, monitor=MonitorConfig(enabled=False))).folder
    assert sum("effective_rank" in entry for entry in read_log(watched / "log.jsonl")) >= 3
    assert not any("effective_rank" in entry for entry in read_log(alone / "log.jsonl"))
    with_monitor, without = _state(watched), _state(alone)
    for name in ("trainable", "optimizer", "loader", "step"):
        assert _same(with_monitor[name], without[name]), name
    for name in ("loss", "loss_of_mean", "gradient_norm", "learning_rate"):
        here, there = (read_log(folder / "log.jsonl") for folder in (watched, alone))
        assert [entry[name] for entry in here] == [entry[name] for entry in there]


def test_the_numbers_are_those_of_the_features(store: Store, watched: Path) -> None:
    last = read_log(watched / "log.jsonl")[-1]
    rows = watched_rows(store, store.split_rows("xsub")[0], 24, seed=0)
    encoder = load_encoder(watched)
    for suffix, each in (("", encoder), ("_random", encoder.fresh(0))):
        table = extract(each, store, rows, device="cpu", precision="fp32")
        assert last[f"effective_rank{suffix}"] == pytest.approx(effective_rank(table.pooled), rel=1e-3)
        score = last[f"nearest_neighbour{suffix}_percent"]
        assert score == pytest.approx(leave_one_out_percent(table.pooled, table.label), abs=100 / 24 + 0.01)
    assert (last["monitor_clips"], last["feature_dim"]) == (24, 16)
    # Three classes of eight: of the other 23 clips, seven are of one's own class.
    assert last["chance_percent"] == pytest.approx(100 * 7 / 23)
    assert 0 < last["feature_spread_percent"] <= 100
    assert "monitor_people" not in last  # one person trains


def test_neighbours_are_looked_for_among_other_people(store: Store, tmp_path: Path) -> None:
    run = pretrain(_config(store, tmp_path / "run", protocol=None)).folder
    last = read_log(run / "log.jsonl")[-1]
    rows = watched_rows(store, np.arange(len(store)), 24, seed=0)
    table, person = extract(load_encoder(run), store, rows, device="cpu", precision="fp32"), store.attribute("subject")
    expected = leave_one_out_percent(table.pooled, table.label, torch.from_numpy(person[rows]))
    assert last["nearest_neighbour_percent"] == pytest.approx(expected, abs=100 / 24 + 0.01)
    assert last["monitor_people"] == 2
    assert "Nearest neighbours among other people" in str(judge([last]))


def test_the_baseline_is_the_encoder_before_its_first_step(store: Store, tmp_path: Path) -> None:
    start = build_objective(_config(store, tmp_path, seed=3), store.skeleton).encoder
    assert _same(dict(start.state_dict()), dict(start.fresh(3).state_dict()))


def test_test_rows_are_never_looked_at(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[int] = set()
    original = home.evaluation_batches

    def spy(source: Any, rows: Any, *others: Any) -> Any:
        seen.update(rows.tolist())
        return original(source, rows, *others)

    monkeypatch.setattr(home, "evaluation_batches", spy)
    pretrain(_config(store, tmp_path, monitor=replace(ALWAYS, clips=500)))
    assert seen == set(store.split_rows("xsub")[0].tolist())


def test_a_resumed_run_keeps_its_clips_its_baseline_and_its_account(
    store: Store, watched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(watched, tmp_path / "run")
    # The log tells of all 20 steps, the newest checkpoint of 18.
    for left_over in ("result.json", "checkpoints/step-00000020.pt", "checkpoints/step-00000020.json"):
        (tmp_path / "run" / left_over).unlink()
    config = replace(_config(store, tmp_path / "run"), monitor=replace(ALWAYS, clips=30))

    def fresh(self: Any, seed: int) -> Any:
        raise AssertionError("the baseline is in the log")

    monkeypatch.setattr(PatchTransformer, "fresh", fresh)
    pretrain(config)
    before, after = (read_log(folder / "log.jsonl") for folder in (watched, tmp_path / "run"))
    assert [entry["step"] for entry in after] == [entry["step"] for entry in before]
    assert [entry["loss"] for entry in after] == [entry["loss"] for entry in before]
    assert [entry["step"] for entry in after if "effective_rank" in entry] == [10, 12, 14, 16, 18, 20]
    assert {entry["monitor_clips"] for entry in after if "effective_rank" in entry} == {24.0}
    assert after[-1]["effective_rank"] == before[-1]["effective_rank"]
    spent = [entry["monitor_cpu_seconds"] for entry in after]
    assert spent == sorted(spent)
    assert _same(_state(watched)["trainable"], _state(tmp_path / "run")["trainable"])


def test_an_extended_run_is_measured_from_where_it_goes_on(store: Store, watched: Path, tmp_path: Path) -> None:
    """The last measurement was at 100 % of 20 steps, which are 50 % of 40: the next ones are due all the same."""
    shutil.copytree(watched, tmp_path / "run")
    config = replace(_config(store, tmp_path / "run"), monitor=ALWAYS, max_steps=40, epochs=1000)
    pretrain(config)
    measured = [entry["step"] for entry in read_log(tmp_path / "run" / "log.jsonl") if "effective_rank" in entry]
    assert measured[-1] == 40
    assert len([step for step in measured if 20 < step < 40]) > 5


def test_without_labels_there_is_still_a_rank(tmp_path: Path) -> None:
    write_store(tmp_path / "store", _clips([-1] * 40), source="walks", classes=())
    result = pretrain(_config(tmp_path / "store", tmp_path / "run", protocol=None))
    assert "effective_rank" in result.last
    assert not any("nearest" in name or "chance" in name for name in result.last)


def test_the_command_ends_with_a_verdict(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(plain(_config(store, tmp_path / "run"))))
    assert main(["pretrain", "--recipe", str(tmp_path / "mine.yaml")]) == 0
    assert "verdict  Finished: Nearest neighbours" in capsys.readouterr().out


class _Clock:
    """Stands for the module `time`: passes only when told."""

    def __init__(self) -> None:
        self.wall = self.busy = 100.0

    def work(self, seconds: float) -> None:
        self.wall += seconds
        self.busy += seconds

    def monotonic(self) -> float:
        return self.wall

    def process_time(self) -> float:
        return self.busy

    thread_time = process_time


class _Slow(PatchTransformer):
    """Takes a tenth of a second per clip, by a clock that it is given."""

    clock: _Clock

    def forward(self, batch: Batch) -> Features:
        self.clock.work(0.1 * len(batch))
        return super().forward(batch)

    def fresh(self, seed: int) -> "_Slow":
        return self


class _Steps:
    """A loader of 32 clips per step that works for 0.1 s and waits for 0.2 s."""

    steps_per_epoch = 4

    def __init__(self, clock: _Clock) -> None:
        self.clock = clock

    def next_step(self) -> list[Any]:
        self.clock.work(0.1)
        self.clock.wall += 0.2
        places = torch.arange(32)
        batch = Batch(torch.zeros(32, 1, 1, 20, 3), torch.ones(32, 1, 1, 20, dtype=torch.bool), places, places)
        return [(batch, Draws(0, 0, places))]

    def state_dict(self) -> dict[str, Any]:
        return {"position": 7}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loaded = state


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr(home, "time", clock)
    return clock


def _slow(clock: _Clock) -> _Slow:
    encoder = _Slow(
        PatchTransformerConfig(width=8, depth=1, heads=2, patch_frames=4), InputConfig(window_frames=8), KINECT_V1_20
    )
    encoder.clock = clock
    return encoder


def _drive(
    clock: _Clock, monitor: Monitor, loader: TimedLoader, *, entries: int, steps: int = 20, step_seconds: float = 1.0
) -> list[dict[str, Any]]:
    """Do as the loop does."""
    log, began = [], (clock.busy, clock.wall)
    for number in range(1, entries + 1):
        for _ in range(steps):
            loader.next_step()
            clock.work(step_seconds)
        entry: dict[str, Any] = {"step": steps * number, "progress": number / entries, "loss": 1.0 / number}
        entry |= {"cpu_seconds": clock.busy - began[0], "wall_seconds": clock.wall - began[1]}
        entry |= monitor(entry)
        log.append(entry)
    return log


def _watch(store: Store, clock: _Clock, config: MonitorConfig, **about: Any) -> tuple[Monitor, TimedLoader, _Slow]:
    loader, encoder = TimedLoader(_Steps(clock)), _slow(clock)
    rows = store.split_rows("xsub")[0]
    monitor = Monitor(config, encoder, make_fabric("cpu", "fp32")[0], store, rows, loader, **about)
    return monitor, loader, encoder


def test_the_shares_of_time_by_hand(clock: _Clock) -> None:
    loader = TimedLoader(_Steps(clock))
    assert loader.read() == {}
    for _ in range(2):
        loader.next_step()
        clock.work(0.7)
    # Two steps of 0.3 s in the loader, of which 0.2 s are waiting, and 0.7 s elsewhere.
    shares = loader.read()
    assert shares["loader_share_percent"] == pytest.approx(30.0)
    assert shares["waiting_share_percent"] == pytest.approx(20.0)
    clock.work(50.0)  # between a reading and the next step, something else is at work: the monitor, a checkpoint
    loader.next_step()
    assert loader.read()["loader_share_percent"] == pytest.approx(100.0)
    assert loader.clips == 96
    assert (loader.steps_per_epoch, loader.state_dict()) == (4, {"position": 7})


@pytest.mark.parametrize("share", [2.0, 0.5])
def test_it_never_costs_more_than_its_share_and_measures_at_the_end(store: Store, clock: _Clock, share: float) -> None:
    # 32 clips of 0.1 s: 3.2 s per measurement. 100 entries of 20 steps of 1.1 processor seconds: 2,200 s.
    monitor, loader, _ = _watch(store, clock, MonitorConfig(max_share_percent=share))
    log = _drive(clock, monitor, loader, entries=100)
    for entry in log:
        assert entry["monitor_cpu_seconds"] <= share / 100.0 * (entry["cpu_seconds"] + entry["monitor_cpu_seconds"])
    measured = [entry for entry in log if "effective_rank" in entry]
    # 0.9 of 44 s (of 11 s) pay for so many of them, one of which is the baseline, and for the pilot of 3.2 s.
    assert len(measured) == {2.0: 10, 0.5: 1}[share]
    assert measured[-1]["progress"] == 1.0
    # The first comes as soon as pilot, baseline and itself, 9.6 s, are within 0.9 of 2 % of the time so far.
    assert measured[0]["progress"] == pytest.approx({2.0: 0.24, 0.5: 1.0}[share], abs=0.015)
    assert log[-1]["monitor_cpu_seconds"] == pytest.approx(3.2 + 3.2 * (len(measured) + 1))


def test_a_long_run_is_measured_as_often_as_it_is_told(store: Store, clock: _Clock) -> None:
    monitor, loader, _ = _watch(store, clock, MonitorConfig(every_percent=10.0))
    log = _drive(clock, monitor, loader, entries=100, step_seconds=20.0)
    # It begins when 16 clips cost little beside the training: after 8 * 16 / (0.9 * 2 %) = 7,111 clips, 640 per entry.
    assert [entry["step"] // 20 for entry in log if "effective_rank" in entry] == [*range(12, 100, 10), 100]


def test_a_short_run_is_not_measured(store: Store, clock: _Clock) -> None:
    monitor, loader, _ = _watch(store, clock, MonitorConfig())
    log = _drive(clock, monitor, loader, entries=1)
    assert "effective_rank" not in log[0]
    assert log[0]["monitor_cpu_seconds"] == 0.0
    assert "loader_share_percent" in log[0]


def test_every_module_goes_back_to_its_own_mode(store: Store, clock: _Clock) -> None:
    monitor, loader, encoder = _watch(store, clock, ALWAYS)
    encoder.train()
    encoder.norm.eval()
    modes = {name: module.training for name, module in encoder.named_modules()}
    assert "effective_rank" in _drive(clock, monitor, loader, entries=5)[-1]
    assert {name: module.training for name, module in encoder.named_modules()} == modes
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_what_goes_wrong_in_the_monitor_does_not_stop_the_training(
    store: Store, clock: _Clock, caplog: pytest.LogCaptureFixture
) -> None:
    monitor, loader, encoder = _watch(store, clock, ALWAYS)
    torch.nn.init.constant_(encoder.embedding.weight, float("nan"))
    with caplog.at_level(logging.WARNING):
        log = _drive(clock, monitor, loader, entries=5)
    assert len(log) == 5
    assert not any("effective_rank" in entry for entry in log)
    assert [record.getMessage() for record in caplog.records] == [
        "The monitor stops looking at the encoder, and training goes on: the features are not finite"
    ]


def test_weights_that_are_spread_over_processes_are_not_looked_at(
    store: Store, clock: _Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        monitor, loader, _ = _watch(store, clock, ALWAYS, sharded=True)
    assert "spread over several processes" in caplog.text
    assert not any("effective_rank" in entry for entry in _drive(clock, monitor, loader, entries=3))


def test_collapse_is_said_at_once(store: Store, clock: _Clock, caplog: pytest.LogCaptureFixture) -> None:
    monitor, loader, encoder = _watch(store, clock, ALWAYS)
    with torch.no_grad():
        encoder.norm.weight.zero_()
        encoder.norm.bias.fill_(1.0)
    with caplog.at_level(logging.INFO):
        _drive(clock, monitor, loader, entries=8)
    assert caplog.records[0].levelno == logging.WARNING
    assert caplog.records[0].getMessage().startswith("Collapsed: At step 20 every clip has almost the same features")
    assert monitor.verdict().headline == "Collapsed"


def test_eight_clips_of_a_class_come_before_the_next_class(store: Store) -> None:
    rows = store.split_rows("xsub")[0]
    chosen = watched_rows(store, rows, 20, seed=0)
    label = store.label[chosen]
    assert set(chosen.tolist()) <= set(rows.tolist())
    assert len(set(chosen.tolist())) == 20
    assert [len(set(part.tolist())) for part in (label[:8], label[8:16], label[16:])] == [1, 1, 1]
    assert watched_rows(store, rows, 32, seed=0)[:20].tolist() == chosen.tolist()
    assert sorted(watched_rows(store, rows, 500, seed=0).tolist()) == rows.tolist()
    assert watched_rows(store, rows, 20, seed=1).tolist() != chosen.tolist()


def test_clips_without_a_label_come_last(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", _clips([0, -1, 1, -1, 0, 1]), source="walks", classes=("a", "b"))
    chosen = watched_rows(store, np.arange(6), 6, seed=0)
    assert store.label[chosen].tolist()[4:] == [-1, -1]


@pytest.mark.parametrize(
    ("name", "value"), [("clips", 1), ("max_share_percent", 0.0), ("max_share_percent", 101.0), ("every_percent", 0.0)]
)
def test_settings_out_of_range_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"monitor.{name} must"):
        MonitorConfig(**{name: value})
