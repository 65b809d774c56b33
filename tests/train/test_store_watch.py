"""A store that changes or goes while a run reads from it; a start that was killed at once."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marrow.data.window import InputConfig
from marrow.errors import ConfigError, DataError, StoreError
from marrow.models.patch_transformer import PatchTransformerConfig
from marrow.objectives.mamp import MAMPConfig
from marrow.pretrain_config import PretrainConfig
from marrow.pretraining import pretrain
from marrow.skeleton.known import get_skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.format import Store
from marrow.store.memory import write_store
from marrow.train.checkpoint import CheckpointConfig, load_latest
from marrow.train.interrupt import StoreWatch
from marrow.train.monitor import MonitorConfig
from marrow.train.run_directory import run_lock


def _make(folder: Path, seed: int = 0) -> Path:
    generator = np.random.default_rng(seed)
    skeleton = get_skeleton("kinect_v2_25")
    sequences = [
        SkeletonSequence(
            generator.normal(0, 0.3, (1, 20, 25, 3)).astype(np.float32),
            np.ones((1, 20, 25), np.bool_),
            30.0,
            skeleton,
            Record(f"clip{number}", label=0),
        )
        for number in range(12)
    ]
    write_store(folder, sequences, source="noise", classes=("a",))
    return folder


def _config(store: Path, out: Path, **changes: Any) -> PretrainConfig:
    return PretrainConfig(
        **{
            "store": store,
            "out": out,
            "objective": MAMPConfig(decoder_depth=1, decoder_width=16, decoder_heads=2),
            "encoder": PatchTransformerConfig(width=16, depth=1, heads=2, patch_frames=4),
            "input": InputConfig(window_frames=8),
            "checkpoints": CheckpointConfig(every_steps=2),
            "monitor": MonitorConfig(enabled=False),
            "batch_clips": 4,
            "max_steps": 8,
            "device": "cpu",
            "precision": "fp32",
            "workers": 1,
            **changes,
        }
    )


def _swap(store: Path) -> None:
    shutil.rmtree(store)
    _make(store, seed=1)


def _after_first_checkpoint(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Do something to the store after the first checkpoint of a run."""
    original, calls = StoreWatch.__call__, []

    def check(watch: StoreWatch) -> None:
        calls.append(1)
        if len(calls) == 2:
            act()
        original(watch)

    monkeypatch.setattr(StoreWatch, "__call__", check)


def test_what_changed(tmp_path: Path) -> None:
    store = Store.open(_make(tmp_path / "store"))
    watch = StoreWatch(store, needed=False)
    assert watch.change() is None
    _swap(store.path)
    assert f"fingerprint {store.fingerprint} then" in (watch.change() or "")
    shutil.rmtree(store.path)
    assert "cannot be read any more" in (watch.change() or "")


def test_a_streaming_run_stops_when_the_store_changes_and_keeps_what_came_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _make(tmp_path / "store")
    config = _config(store, tmp_path / "run", loader="streaming")
    _after_first_checkpoint(monkeypatch, lambda: _swap(store))
    with pytest.raises(StoreError, match="holds other data than when it was opened"):
        pretrain(config)
    state = load_latest(tmp_path / "run" / "checkpoints")
    assert state is not None
    assert state["step"] == 2
    with pytest.raises(ConfigError, match="other data"):
        pretrain(config)


def test_a_resident_run_goes_on_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = _make(tmp_path / "store")
    _after_first_checkpoint(monkeypatch, lambda: shutil.rmtree(store))
    with caplog.at_level(logging.WARNING):
        assert pretrain(_config(store, tmp_path / "run", loader="resident")).finished
    assert caplog.text.count("goes on with the frames in memory") == 1


def test_a_worker_that_cannot_read_fails_in_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = _make(tmp_path / "store")
    # The workers start with the first step, and open the store themselves.
    from marrow.train import loop

    original = loop.StopWish.__enter__
    monkeypatch.setattr(loop.StopWish, "__enter__", lambda stop: (shutil.rmtree(store), original(stop))[1])
    with pytest.raises(StoreError, match="there is no such folder") as caught:
        pretrain(_config(store, tmp_path / "run", loader="streaming"))
    assert "Traceback" not in str(caught.value)


def test_a_worker_that_dies_is_an_error_of_the_data(tmp_path: Path) -> None:
    import os
    import signal

    from torch.utils.data import get_worker_info

    from marrow.data import loader as module

    class Dying(module._StepBlocks):
        def __getitem__(self, step: int) -> Any:
            assert get_worker_info() is not None
            os.kill(os.getpid(), signal.SIGKILL)

    store = Store.open(_make(tmp_path / "store"))
    streaming = module.StreamingLoader(
        *(store, np.arange(12), InputConfig(window_frames=8), module.AugmentConfig()),
        **{"batch_clips": 4, "seed": 0, "device": "cpu", "workers": 1},
    )
    streaming._blocks.__class__ = Dying
    with pytest.raises(DataError, match=r"DataLoader worker .* memory may have run out"):
        streaming.next_step()


def test_a_start_that_was_killed_before_the_settings_were_written_is_no_stranger(tmp_path: Path) -> None:
    store = _make(tmp_path / "store")
    (tmp_path / "run").mkdir()
    for name in (".lock", "environment.json", "environment.json.partial"):
        (tmp_path / "run" / name).touch()
    assert pretrain(_config(store, tmp_path / "run", max_steps=1)).finished


def test_more_processes_than_the_batch_divides_into_are_refused_before_they_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As torchrun says it to each of three.
    for name, value in (("TORCHELASTIC_RUN_ID", "a"), ("WORLD_SIZE", "3"), ("LOCAL_WORLD_SIZE", "3"), ("RANK", "1")):
        monkeypatch.setenv(name, value)
    store = _make(tmp_path / "store")
    with pytest.raises(ConfigError, match=r"batch_clips=4 must be a positive multiple of 3 \(3 processes"):
        pretrain(_config(store, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_refused_settings_leave_no_folder_behind(tmp_path: Path) -> None:
    store = _make(tmp_path / "store")
    with pytest.raises(ConfigError, match="batch_clips=13"):
        pretrain(_config(store, tmp_path / "run", batch_clips=13))
    assert not (tmp_path / "run").exists()
    with run_lock(tmp_path / "run"):
        pass
    assert pretrain(_config(store, tmp_path / "run", max_steps=1)).finished
