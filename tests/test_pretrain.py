"""A run from the store to the encoder: what it leaves, how it goes on, what it refuses."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from marrow.cli.main import main
from marrow.errors import ConfigError, MarrowError
from marrow.models.export import load_encoder
from marrow.objectives.mamp import MAMP
from marrow.pretrain_config import load_config
from marrow.pretraining import load_objective, pretrain
from marrow.train.logs import read_log
from marrow.train.optim import OptimizerConfig, ScheduleConfig
from marrow.train.run_directory import plain
from small_pretraining import make_walks, small_config, weights


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_walks(tmp_path_factory.mktemp("data") / "walks")


def test_a_run_leaves_all_that_it_is(store: Path, tmp_path: Path) -> None:
    config = small_config(store, tmp_path / "run")
    result = pretrain(config)
    assert result.finished
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert files == {
        "config.yaml", "environment.json", "log.jsonl", "tensorboard", "checkpoints", "encoder", "result.json",
        ".lock",
    }  # fmt: skip
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text()) == plain(config)
    (environment,) = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["store"]["clips"] == 24
    assert environment["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert "fp32" in environment["precision"]
    # 12 training clips in batches of 6: two steps per epoch, four epochs.
    log = read_log(tmp_path / "run" / "log.jsonl")
    assert log[-1] == result.last == json.loads((tmp_path / "run" / "result.json").read_text())
    assert (log[-1]["step"], log[-1]["epoch"], log[-1]["progress"]) == (8, 4.0, 1.0)
    assert {"loss", "loss_of_mean", "learning_rate", "gradient_norm", "clips_per_second", "cpu_seconds"} <= log[
        0
    ].keys()
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    provenance = json.loads((result.encoder / "encoder.json").read_text())["provenance"]
    assert provenance["rows"] == "training half of xsub"
    assert (provenance["clips"], provenance["steps"], provenance["finished"], provenance["seed"]) == (12, 8, True, 0)


def test_a_run_can_be_read_again(store: Path, tmp_path: Path) -> None:
    config = small_config(store, tmp_path / "run")
    result = pretrain(config)
    assert load_config(tmp_path / "run") == config
    objective = load_objective(tmp_path / "run")
    encoder = load_encoder(result.encoder)
    assert all(torch.equal(value, encoder.state_dict()[name]) for name, value in objective.encoder.state_dict().items())
    assert isinstance(objective, MAMP)
    with pytest.raises(ConfigError, match=r"nothing.* is not a run directory"):
        load_config(tmp_path / "nothing")
    (tmp_path / "run" / "config.yaml").write_text("method: mump\n")
    with pytest.raises(ConfigError, match=r"unknown objective 'mump'\. Did you mean 'mamp'"):
        load_config(tmp_path / "run")


@pytest.mark.parametrize("name", ["config.yaml", "environment.json"])
@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_damaged_run_directory_is_named(store: Path, tmp_path: Path, name: str, content: str) -> None:
    config = small_config(store, tmp_path / "run", max_steps=2)
    pretrain(config)
    (tmp_path / "run" / name).write_text(content)
    with pytest.raises(ConfigError, match=rf"{name} is damaged"):
        pretrain(config)


def test_the_seed_decides_and_nothing_else(store: Path, tmp_path: Path) -> None:
    first = weights(pretrain(small_config(store, tmp_path / "a")))
    torch.manual_seed(123)
    torch.rand(1)
    same = weights(pretrain(small_config(store, tmp_path / "b", loader="streaming", workers=1)))
    other = weights(pretrain(small_config(store, tmp_path / "c", seed=1)))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_the_same_call_goes_on_and_ends_as_if_never_interrupted(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pretrain(small_config(store, tmp_path / "whole"))
    home = sys.modules[pretrain.__module__]
    original: Callable[..., Any] = home.fit

    def interrupted(*arguments: Any, **named: Any) -> Any:
        def ctrl_c_at_step_4(entry: dict[str, Any]) -> dict[str, float]:
            if entry["step"] == 4:
                os.kill(os.getpid(), signal.SIGINT)
            return {}

        return original(*arguments, **named | {"monitor": ctrl_c_at_step_4})

    with monkeypatch.context() as patch:
        patch.setattr(home, "fit", interrupted)
        half = pretrain(small_config(store, tmp_path / "halves"))
    assert not half.finished
    assert half.last["step"] == 5
    assert not (tmp_path / "halves" / "result.json").exists()
    assert not all(torch.equal(value, weights(whole)[name]) for name, value in weights(half).items())
    # On another cut, which is of no consequence.
    rest = pretrain(small_config(store, tmp_path / "halves", log_every=3))
    assert rest.finished
    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(rest).items())
    assert len(json.loads((tmp_path / "halves" / "environment.json").read_text())) == 2


def test_the_start_says_what_ends_a_run_and_a_warm_up_that_never_ends(
    store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        pretrain(small_config(store, tmp_path / "run", max_steps=2, epochs=4))
    assert "The run ends after 2 steps; the learning rate follows the steps" in caplog.text
    assert "never gets beyond 20 % of its highest; set schedule.warmup_epochs to 0.2" in caplog.text


def test_interrupted_before_the_first_step_nothing_is_exported(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ctrl_c(*_: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1.0)

    recipe = tmp_path / "mine.yaml"
    recipe.write_text(yaml.safe_dump(plain(small_config(store, tmp_path / "run"))))
    with monkeypatch.context() as patch:
        patch.setattr(MAMP, "sample", ctrl_c)
        assert main(["pretrain", "--recipe", str(recipe)]) == 130
    assert "interrupted before the first step was done" in capsys.readouterr().out
    assert not (tmp_path / "run" / "encoder").exists()
    assert main(["pretrain", "--recipe", str(recipe)]) == 0


def test_other_settings_are_refused_by_name(store: Path, tmp_path: Path) -> None:
    config = small_config(store, tmp_path)
    pretrain(config)
    with pytest.raises(ConfigError, match=r"objective\.tau: 0\.8 there, 0\.7 here; seed: 0 there, 1 here"):
        pretrain(replace(config, seed=1, objective=replace(config.objective, tau=0.7)))


def test_other_data_are_refused(store: Path, tmp_path: Path) -> None:
    pretrain(small_config(store, tmp_path))
    starts = json.loads((tmp_path / "environment.json").read_text())
    starts[0]["store"]["fingerprint"] = "something else"
    (tmp_path / "environment.json").write_text(json.dumps(starts))
    with pytest.raises(ConfigError, match="other data"):
        pretrain(small_config(store, tmp_path))


def test_a_folder_of_something_else_is_refused(store: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match=r"thesis\.tex.*no run"):
        pretrain(small_config(store, tmp_path))


def test_without_a_protocol_every_clip_is_used(store: Path, tmp_path: Path) -> None:
    result = pretrain(small_config(store, tmp_path, protocol=None, max_steps=1))
    provenance = json.loads((result.encoder / "encoder.json").read_text())["provenance"]
    assert (provenance["rows"], provenance["clips"]) == ("all clips", 24)


def test_the_command_says_where_the_encoder_is_and_the_loss_of_the_mean(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(yaml.safe_dump(plain(small_config(store, tmp_path / "run"))))
    assert main(["pretrain", "--recipe", str(recipe)]) == 0
    out = capsys.readouterr().out
    assert str(tmp_path / "run" / "encoder") in out
    assert "predicting the mean: " in out


def test_a_step_that_was_not_finite_is_taken_again_by_the_command_that_the_error_names(
    store: Path, tmp_path: Path
) -> None:
    config = small_config(store, tmp_path / "run", optimizer=OptimizerConfig(1e12), schedule=ScheduleConfig(0.0, 0.0))
    with pytest.raises(MarrowError, match=r"step \d+: expected a finite loss") as caught:
        pretrain(config)
    command = shlex.split(str(caught.value).rpartition("to take it again: ")[2])
    assert command[:2] == ["python", "-c"]
    done = subprocess.run([sys.executable, *command[1:]], capture_output=True, text=True, check=True)
    assert "every row does the same: look at the weights and the learning rate" in done.stdout


def test_the_command_that_a_loss_which_is_not_finite_names_takes_the_step_again(store: Path, tmp_path: Path) -> None:
    optimizer = OptimizerConfig(learning_rate=1e30, scaling="absolute")
    with pytest.raises(MarrowError, match="to take it again: ") as caught:
        pretrain(small_config(store, tmp_path / "run", optimizer=optimizer, schedule=ScheduleConfig(warmup_epochs=0.0)))
    command = str(caught.value).partition("to take it again: ")[2]
    python, *arguments = shlex.split(command)
    assert python == "python"
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in str(caught.value)
