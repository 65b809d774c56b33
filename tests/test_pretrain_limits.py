"""What ends a run, and what becomes of it under other limits."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from marrow.cli.arguments import parse
from marrow.cli.pretrain import build_parser
from marrow.errors import ConfigError, MarrowError
from marrow.pretrain_config import config_of, load_config
from marrow.pretraining import pretrain
from marrow.train.logs import read_log
from marrow.train.optim import ScheduleConfig
from small_pretraining import make_walks, small_config, weights


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_walks(tmp_path_factory.mktemp("data") / "walks")


def test_a_finished_run_is_left_alone(store: Path, tmp_path: Path) -> None:
    first = pretrain(small_config(store, tmp_path))
    before = (tmp_path / "encoder" / "encoder.safetensors").stat().st_mtime_ns
    again = pretrain(small_config(store, tmp_path))
    assert again == first
    assert (tmp_path / "encoder" / "encoder.safetensors").stat().st_mtime_ns == before


def test_a_finished_run_is_extended_by_a_larger_limit(store: Path, tmp_path: Path) -> None:
    """8 of 8 steps, then 8 of 16: the learning rate goes on from the middle of the new budget, and all that is said."""
    config = small_config(store, tmp_path / "run", epochs=100, schedule=ScheduleConfig(0.0, 0.0), log_every=1)
    first = pretrain(config)
    result = pretrain(replace(config, max_steps=16))
    assert (first.finished, result.finished, result.last["step"]) == (True, True, 16)
    log = read_log(tmp_path / "run" / "log.jsonl")
    assert [entry["step"] for entry in log] == list(range(1, 17))
    assert [entry.get("extended_from_step") for entry in log] == [None] * 8 + [8] * 8
    # Half a cosine from 1e-3 to 0: at 7 / 8 of the first budget, then at 8 / 16 of the second.
    assert log[7]["learning_rate"] == pytest.approx(0.5e-3 * (1 + math.cos(math.pi * 7 / 8)))
    assert log[8]["learning_rate"] == pytest.approx(0.5e-3)
    provenance = json.loads((result.encoder / "encoder.json").read_text())["provenance"]
    assert (provenance["steps"], provenance["extended_at_steps"]) == (16, [8])
    starts = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert starts[1]["extension"]["from_step"] == 8
    assert starts[1]["extension"]["limits_before"]["max_steps"] == 8
    assert load_config(tmp_path / "run").max_steps == 16
    # It is not one long run, but the same two commands give it again.
    long = pretrain(replace(config, out=tmp_path / "long", max_steps=16))
    assert not all(torch.equal(value, weights(long)[name]) for name, value in weights(result).items())
    pretrain(replace(config, out=tmp_path / "again"))
    again = pretrain(replace(config, out=tmp_path / "again", max_steps=16))
    assert all(torch.equal(value, weights(again)[name]) for name, value in weights(result).items())
    # Under the new limit it is finished.
    assert pretrain(replace(config, max_steps=16)) == result


def test_what_is_spent_already_is_no_limit(store: Path, tmp_path: Path) -> None:
    config = small_config(store, tmp_path / "run", epochs=100)
    pretrain(config)
    before = (tmp_path / "run" / "config.yaml").read_bytes()
    with pytest.raises(ConfigError, match=r"has done 8 steps.*max_steps 5 would have ended it before"):
        pretrain(replace(config, max_steps=5))
    assert (tmp_path / "run" / "config.yaml").read_bytes() == before
    assert (tmp_path / "run" / "result.json").is_file()


def test_an_extension_that_was_killed_before_it_began_goes_on_or_back(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings have the new limit, and the run is still the finished one, until more of it is saved."""
    config = small_config(store, tmp_path / "run", epochs=100)
    first = pretrain(config)
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[pretrain.__module__], "fit", _killed)
        with pytest.raises(KeyboardInterrupt):
            pretrain(replace(config, max_steps=12))
    assert load_config(tmp_path / "run").max_steps == 12
    assert (tmp_path / "run" / "result.json").is_file()
    assert pretrain(config) == first
    assert pretrain(replace(config, max_steps=12)).last["step"] == 12
    provenance = json.loads((tmp_path / "run" / "encoder" / "encoder.json").read_text())["provenance"]
    assert provenance["extended_at_steps"] == [8]


def _killed(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


@pytest.mark.parametrize("left", ["nothing", "a damaged one"])
def test_a_run_without_a_checkpoint_is_not_extended_and_nothing_is_lost(store: Path, tmp_path: Path, left: str) -> None:
    config = small_config(store, tmp_path / "run", epochs=100)
    pretrain(config)
    for file in (tmp_path / "run" / "checkpoints").iterdir():
        file.unlink() if left == "nothing" else file.write_bytes(b"{}")
    files = [file for file in (tmp_path / "run").rglob("*") if file.is_file() and file.name != ".lock"]
    before = {file: file.read_bytes() for file in files}
    with pytest.raises(MarrowError, match=r"no checkpoint to go on from under max_steps 12|none of the 2 checkpoints"):
        pretrain(replace(config, max_steps=12))
    assert all(file.read_bytes() == content for file, content in before.items())
    assert pretrain(config).finished


def test_what_ends_a_run_counts_not_how_it_is_said(store: Path, tmp_path: Path) -> None:
    """2 epochs of 2 steps end the run before 8 steps do; without them it goes on, and that is an extension."""
    config = small_config(store, tmp_path / "run", epochs=2)
    assert pretrain(config).last["step"] == 4
    result = pretrain(replace(config, ends_at_epochs=False))
    assert result.last["step"] == 8
    assert result.last["extended_from_step"] == 4


@pytest.mark.parametrize(
    ("name", "content"), [("result.json", "{"), ("result.json", "{}"), ("environment.json", '[{"extension": {}}]')]
)
def test_damaged_facts_of_a_run_are_named_before_anything_changes(
    store: Path, tmp_path: Path, name: str, content: str
) -> None:
    config = small_config(store, tmp_path / "run", epochs=100)
    pretrain(config)
    (tmp_path / "run" / name).write_text(content)
    before = (tmp_path / "run" / "config.yaml").read_bytes()
    with pytest.raises(ConfigError, match=rf"{name} is damaged"):
        pretrain(replace(config, max_steps=12))
    assert (tmp_path / "run" / "config.yaml").read_bytes() == before


def test_epochs_end_a_run_only_where_nothing_was_given_in_their_place(store: Path, tmp_path: Path) -> None:
    # 12 clips in steps of 6: 2 steps are an epoch.
    assert pretrain(small_config(store, tmp_path / "both", epochs=1)).last["step"] == 2
    assert pretrain(small_config(store, tmp_path / "one", epochs=1, ends_at_epochs=False)).last["step"] == 8
    with pytest.raises(ConfigError, match="nothing would end this run"):
        small_config(store, tmp_path, ends_at_epochs=False, max_steps=None)
    with pytest.raises(ConfigError, match="max_minutes must be positive or null, got 0"):
        small_config(store, tmp_path, max_minutes=0.0)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], (400, True, None, None, 300.0)),
        (["--max-steps", "60"], (400, False, 60, None, None)),
        (["--max_minutes=2"], (400, False, None, 2.0, None)),
        (["--epochs", "3"], (3, True, None, None, None)),
        (["--epochs", "3", "--max_steps", "9"], (3, True, 9, None, None)),
        (["--max_cpu_seconds", "null"], (400, True, None, None, None)),
        (["--max_steps", "5", "--max_steps", "null"], (400, True, None, None, 300.0)),
    ],
)
def test_limits_of_a_person_take_the_place_of_those_of_a_recipe(options: list[str], expected: tuple) -> None:
    arguments = ["--recipe", "mamp_synthetic", "--store", "s", "--out", "o", *options]
    parser = build_parser(arguments)
    config = config_of(parser, parse(parser, arguments))
    limits = (config.max_steps, config.max_minutes, config.max_cpu_seconds)
    assert (config.epochs, config.ends_at_epochs, *limits) == expected
    # Before the recipe as after it. (A null is a setting like others, which a recipe after it overrides.)
    if "null" in options:
        return
    turned = [*options, *arguments[: len(arguments) - len(options)]]
    assert config_of(build_parser(turned), parse(build_parser(turned), turned)) == config
