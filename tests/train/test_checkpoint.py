import logging
import random
from pathlib import Path

import pytest
import torch

from marrow.errors import CheckpointError, ConfigError
from marrow.files import write_whole
from marrow.train.checkpoint import CheckpointConfig, load_latest, save

KEEP_ALL = CheckpointConfig(keep_last=100)


def _saved(folder: Path, *steps: int, config: CheckpointConfig = KEEP_ALL) -> None:
    for step in steps:
        save(folder, step, {"step": step, "weights": torch.arange(5.0) * step, "nested": {"none": None}}, config)


def _kept(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_comes_back(tmp_path: Path) -> None:
    _saved(tmp_path, 5, 10)
    state = load_latest(tmp_path)
    assert state is not None
    assert state["step"] == 10
    assert torch.equal(state["weights"], torch.arange(5.0) * 10)
    assert load_latest(tmp_path / "nowhere") is None


@pytest.mark.parametrize("damage", ["cut", "flipped", "seal cut", "tensors gone"])
def test_a_damaged_one_is_passed_over_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str) -> None:
    _saved(tmp_path, 5, 10)
    tensors, seal = tmp_path / "step-00000010.pt", tmp_path / "step-00000010.json"
    content = bytearray(tensors.read_bytes())
    if damage == "cut":
        tensors.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        tensors.write_bytes(content)
    elif damage == "seal cut":
        seal.write_text('{"step": 10, "by')
    else:
        tensors.unlink()
    with caplog.at_level(logging.WARNING):
        state = load_latest(tmp_path)
    assert state is not None
    assert state["step"] == 5
    assert "step-00000010" in caplog.text


def test_tensors_without_a_seal_count_for_nothing(tmp_path: Path) -> None:
    _saved(tmp_path, 5, 10)
    (tmp_path / "step-00000010.json").unlink()
    state = load_latest(tmp_path)
    assert state is not None
    assert state["step"] == 5


def test_when_all_are_damaged_nothing_starts_afresh(tmp_path: Path) -> None:
    _saved(tmp_path, 5)
    (tmp_path / "step-00000005.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match="none of the 1 checkpoints is whole"):
        load_latest(tmp_path)


def test_rotation_keeps_the_last_and_every_so_many_steps(tmp_path: Path) -> None:
    _saved(tmp_path, 5, 10, 15, 20, 25, config=CheckpointConfig(keep_last=2, keep_steps=10))
    assert _kept(tmp_path) == [f"step-{step:08d}.{end}" for step in (10, 20, 25) for end in ("json", "pt")]


def test_what_was_never_finished_or_passed_over_is_removed(tmp_path: Path) -> None:
    _saved(tmp_path, 5, 20)
    (tmp_path / "step-00000015.pt.partial").touch()
    (tmp_path / "step-00000016.pt").touch()
    (tmp_path / "notes.txt").touch()
    _saved(tmp_path, 10)
    assert _kept(tmp_path) == ["notes.txt", *(f"step-{step:08d}.{end}" for step in (5, 10) for end in ("json", "pt"))]


def test_a_failing_disk_is_one_clear_error_and_leaves_the_older_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _saved(tmp_path, 5)

    def full(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"No space left.*untouched"):
        _saved(tmp_path, 10)
    assert _kept(tmp_path) == ["step-00000005.json", "step-00000005.pt"]


def test_what_is_not_plain_is_refused(tmp_path: Path) -> None:
    save(tmp_path, 1, {"path": tmp_path}, KEEP_ALL)
    with pytest.raises(CheckpointError, match="tensors and plain"):
        load_latest(tmp_path)


def test_a_name_exists_only_when_whole(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        write_whole(tmp_path / "file", fail)
    assert _kept(tmp_path) == []


@pytest.mark.parametrize("arguments", [{"every_minutes": 0.0}, {"keep_last": 0}, {"every_steps": 0}, {"keep_steps": 0}])
def test_impossible_settings(arguments: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        CheckpointConfig(**arguments)  # pyright: ignore[reportArgumentType]


def test_wherever_one_is_cut_the_one_before_it_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    draw = random.Random(4)
    _saved(tmp_path, 5, 10)
    files = [tmp_path / "step-00000010.pt", tmp_path / "step-00000010.json"]
    contents = [path.read_bytes() for path in files]
    for _ in range(40):
        which = draw.randrange(2)
        files[which].write_bytes(contents[which][: draw.randrange(len(contents[which]) - 1)])
        caplog.clear()
        state = load_latest(tmp_path)
        assert state is not None
        assert state["step"] == 5
        assert "Checkpoint passed over" in caplog.text
        files[which].write_bytes(contents[which])
    state = load_latest(tmp_path)
    assert state is not None
    assert state["step"] == 10


def test_one_of_another_version_is_refused_not_passed_over(tmp_path: Path) -> None:
    _saved(tmp_path, 5)
    save(tmp_path, 10, {"version": 2, "step": 10}, KEEP_ALL)
    with pytest.raises(CheckpointError, match="is of version 2; this marrow reads version 1"):
        load_latest(tmp_path)
