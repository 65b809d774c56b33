import json
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from marrow.cli.arguments import parse, recipe_names, recipe_path
from marrow.cli.main import main
from marrow.cli.pretrain import build_parser
from marrow.data.window import InputConfig
from marrow.errors import ConfigError, MarrowError
from marrow.models.export import load_encoder
from marrow.models.patch_transformer import PatchTransformerConfig
from marrow.objectives.amr import AMRConfig
from marrow.objectives.mamp import MAMP, MAMPConfig
from marrow.pretrain_config import LIMITS, PretrainConfig, config_of, load_config
from marrow.pretraining import PretrainResult, load_objective, pretrain
from marrow.readers.base import Split
from marrow.skeleton.layout import get_skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.memory import write_store
from marrow.train.checkpoint import CheckpointConfig
from marrow.train.logs import read_log
from marrow.train.optim import OptimizerConfig
from marrow.train.run_directory import differences, plain
from marrow.train.schedule import ScheduleConfig


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 random walks of a Kinect skeleton, every other one of the first subject."""
    folder = tmp_path_factory.mktemp("data") / "walks"
    skeleton = get_skeleton("kinect_v2_25")
    generator = np.random.default_rng(0)
    sequences = []
    for number in range(24):
        joints = np.cumsum(generator.normal(0, 0.02, (1, 30 + number, 25, 3)), axis=1).astype(np.float32)
        record = Record(f"clip{number:02d}", label=number % 3, attributes={"subject": 1 + number % 2})
        sequences.append(SkeletonSequence(joints, np.ones(joints.shape[:3], np.bool_), 30.0, skeleton, record))
    split = Split(lambda record: record.attributes["subject"] == 1, lambda record: record.attributes["subject"] == 2)
    write_store(folder, sequences, source="walks", classes=("a", "b", "c"), splits={"xsub": split})
    return folder


def _config(store: Path, out: Path, **changes: Any) -> PretrainConfig:
    return PretrainConfig(
        **{
            "store": store,
            "out": out,
            "protocol": "xsub",
            "objective": MAMPConfig(decoder_depth=1, decoder_width=16, decoder_heads=2),
            "encoder": PatchTransformerConfig(width=16, depth=1, heads=2, patch_frames=4),
            "input": InputConfig(window_frames=16),
            "checkpoints": CheckpointConfig(every_steps=3),
            "epochs": 4,
            "batch_clips": 6,
            "max_steps": 8,
            "device": "cpu",
            "precision": "fp32",
            "log_every": 2,
            **changes,
        }
    )


def _weights(result: PretrainResult) -> dict[str, torch.Tensor]:
    return dict(load_encoder(result.encoder).state_dict())


def test_a_run_leaves_all_that_it_is(store: Path, tmp_path: Path) -> None:
    config = _config(store, tmp_path / "run")
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
    config = _config(store, tmp_path / "run")
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
    config = _config(store, tmp_path / "run", max_steps=2)
    pretrain(config)
    (tmp_path / "run" / name).write_text(content)
    with pytest.raises(ConfigError, match=rf"{name} is damaged"):
        pretrain(config)


def test_settings_must_be_those_of_the_method(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'mamp' takes MAMPConfig as its objective, got PatchTransformerConfig"):
        PretrainConfig(tmp_path, tmp_path, objective=PatchTransformerConfig())


def test_the_seed_decides_and_nothing_else(store: Path, tmp_path: Path) -> None:
    first = _weights(pretrain(_config(store, tmp_path / "a")))
    torch.manual_seed(123)
    torch.rand(1)
    same = _weights(pretrain(_config(store, tmp_path / "b", loader="streaming", workers=1)))
    other = _weights(pretrain(_config(store, tmp_path / "c", seed=1)))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_the_same_call_goes_on_and_ends_as_if_never_interrupted(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pretrain(_config(store, tmp_path / "whole"))
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
        half = pretrain(_config(store, tmp_path / "halves"))
    assert not half.finished
    assert half.last["step"] == 5
    assert not (tmp_path / "halves" / "result.json").exists()
    assert not all(torch.equal(value, _weights(whole)[name]) for name, value in _weights(half).items())
    # On another cut, which is of no consequence.
    rest = pretrain(_config(store, tmp_path / "halves", log_every=3))
    assert rest.finished
    assert all(torch.equal(value, _weights(whole)[name]) for name, value in _weights(rest).items())
    assert len(json.loads((tmp_path / "halves" / "environment.json").read_text())) == 2


def test_a_finished_run_is_left_alone(store: Path, tmp_path: Path) -> None:
    first = pretrain(_config(store, tmp_path))
    before = (tmp_path / "encoder" / "encoder.safetensors").stat().st_mtime_ns
    again = pretrain(_config(store, tmp_path))
    assert again == first
    assert (tmp_path / "encoder" / "encoder.safetensors").stat().st_mtime_ns == before


def test_a_finished_run_is_extended_by_a_larger_limit(store: Path, tmp_path: Path) -> None:
    """8 of 8 steps, then 8 of 16: the learning rate goes on from the middle of the new budget, and all that is said."""
    config = _config(store, tmp_path / "run", epochs=100, schedule=ScheduleConfig(0.0, 0.0), log_every=1)
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
    assert not all(torch.equal(value, _weights(long)[name]) for name, value in _weights(result).items())
    pretrain(replace(config, out=tmp_path / "again"))
    again = pretrain(replace(config, out=tmp_path / "again", max_steps=16))
    assert all(torch.equal(value, _weights(again)[name]) for name, value in _weights(result).items())
    # Under the new limit it is finished.
    assert pretrain(replace(config, max_steps=16)) == result


def test_what_is_spent_already_is_no_limit(store: Path, tmp_path: Path) -> None:
    config = _config(store, tmp_path / "run", epochs=100)
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
    config = _config(store, tmp_path / "run", epochs=100)
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
    config = _config(store, tmp_path / "run", epochs=100)
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
    config = _config(store, tmp_path / "run", epochs=2)
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
    config = _config(store, tmp_path / "run", epochs=100)
    pretrain(config)
    (tmp_path / "run" / name).write_text(content)
    before = (tmp_path / "run" / "config.yaml").read_bytes()
    with pytest.raises(ConfigError, match=rf"{name} is damaged"):
        pretrain(replace(config, max_steps=12))
    assert (tmp_path / "run" / "config.yaml").read_bytes() == before


def test_epochs_end_a_run_only_where_nothing_was_given_in_their_place(store: Path, tmp_path: Path) -> None:
    # 12 clips in steps of 6: 2 steps are an epoch.
    assert pretrain(_config(store, tmp_path / "both", epochs=1)).last["step"] == 2
    assert pretrain(_config(store, tmp_path / "one", epochs=1, ends_at_epochs=False)).last["step"] == 8
    with pytest.raises(ConfigError, match="nothing would end this run"):
        _config(store, tmp_path, ends_at_epochs=False, max_steps=None)
    with pytest.raises(ConfigError, match="max_minutes must be positive or null, got 0"):
        _config(store, tmp_path, max_minutes=0.0)


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


def test_the_settings_of_a_run_can_be_given_as_a_recipe_again(store: Path, tmp_path: Path) -> None:
    config = _config(store, tmp_path / "run", ends_at_epochs=False, max_steps=2, epochs=1)
    pretrain(config)
    arguments = ["--recipe", str(tmp_path / "run" / "config.yaml")]
    parser = build_parser(arguments)
    assert config_of(parser, parse(parser, arguments)) == config
    arguments += ["--max_minutes", "1"]
    parser = build_parser(arguments)
    assert config_of(parser, parse(parser, arguments)) == replace(config, max_steps=None, max_minutes=1.0)


def _older_amr_run(folder: Path, **removed: Any) -> PretrainConfig:
    """Write the settings of a run of AMR that has options which are no more."""
    config = PretrainConfig(Path("s"), folder, method="amr", max_steps=2)
    folder.mkdir()
    settings = plain(config)
    settings["objective"] |= {"fusion": "weights", "reduction": "mean", "self_attention": False, **removed}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    (folder / "environment.json").write_text('[{"store": {"fingerprint": "f"}}]')
    return config


def test_removed_options_of_an_older_run_are_ignored_where_they_change_nothing(tmp_path: Path) -> None:
    config = _older_amr_run(tmp_path / "run")
    assert load_config(tmp_path / "run") == config
    assert differences(tmp_path / "run", plain(config), "f", ()) == []
    arguments = ["--recipe", str(tmp_path / "run" / "config.yaml"), "--seed", "3"]
    parser = build_parser(arguments)
    assert config_of(parser, parse(parser, arguments)).objective == config.objective


@pytest.mark.parametrize(
    ("name", "value"), [("fusion", "energies"), ("normalise_target", "axis"), ("self_attention", True)]
)
def test_removed_options_that_were_used_are_named_with_the_way_out(tmp_path: Path, name: str, value: object) -> None:
    config = _older_amr_run(tmp_path / "run", **{name: value})
    arguments = ["--recipe", str(tmp_path / "run" / "config.yaml")]
    readings = (
        lambda: load_config(tmp_path / "run"),
        lambda: differences(tmp_path / "run", plain(config), "f", ()),
        lambda: parse(build_parser(arguments), arguments),
    )
    for read in readings:
        with pytest.raises(ConfigError, match=rf"config\.yaml: objective\.{name}: {value}.* removed .*train anew, or"):
            read()


def test_the_start_says_what_ends_a_run_and_a_warm_up_that_never_ends(
    store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        pretrain(_config(store, tmp_path / "run", max_steps=2, epochs=4))
    assert "The run ends after 2 steps; the learning rate follows the steps" in caplog.text
    assert "never gets beyond 20 % of its highest; set schedule.warmup_epochs to 0.2" in caplog.text


def test_interrupted_before_the_first_step_nothing_is_exported(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ctrl_c(*_: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1.0)

    recipe = tmp_path / "mine.yaml"
    recipe.write_text(yaml.safe_dump(plain(_config(store, tmp_path / "run"))))
    with monkeypatch.context() as patch:
        patch.setattr(MAMP, "sample", ctrl_c)
        assert main(["pretrain", "--recipe", str(recipe)]) == 130
    assert "interrupted before the first step was done" in capsys.readouterr().out
    assert not (tmp_path / "run" / "encoder").exists()
    assert main(["pretrain", "--recipe", str(recipe)]) == 0


def test_other_settings_are_refused_by_name(store: Path, tmp_path: Path) -> None:
    config = _config(store, tmp_path)
    pretrain(config)
    with pytest.raises(ConfigError, match=r"objective\.tau: 0\.8 there, 0\.7 here; seed: 0 there, 1 here"):
        pretrain(replace(config, seed=1, objective=replace(config.objective, tau=0.7)))


def test_other_data_are_refused(store: Path, tmp_path: Path) -> None:
    pretrain(_config(store, tmp_path))
    starts = json.loads((tmp_path / "environment.json").read_text())
    starts[0]["store"]["fingerprint"] = "something else"
    (tmp_path / "environment.json").write_text(json.dumps(starts))
    with pytest.raises(ConfigError, match="other data"):
        pretrain(_config(store, tmp_path))


def test_a_folder_of_something_else_is_refused(store: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match=r"thesis\.tex.*no run"):
        pretrain(_config(store, tmp_path))


def test_without_a_protocol_every_clip_is_used(store: Path, tmp_path: Path) -> None:
    result = pretrain(_config(store, tmp_path, protocol=None, max_steps=1))
    provenance = json.loads((result.encoder / "encoder.json").read_text())["provenance"]
    assert (provenance["rows"], provenance["clips"]) == ("all clips", 24)


@pytest.mark.parametrize("name", ["epochs", "processes", "workers", "log_every", "threads", "max_steps"])
def test_counts_below_one_are_refused(store: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        _config(store, tmp_path, **{name: 0})


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads_and_says_where_it_comes_from(name: str) -> None:
    arguments = ["--recipe", name, "--store", "s", "--out", "r"]
    parser = build_parser(arguments)
    config = config_of(parser, parse(parser, arguments))
    header = recipe_path(name).read_text().split("\nmethod:")[0]
    assert f"marrow pretrain --recipe {name} " in header
    paper = {
        "mamp": "arXiv 2308.07092",
        "amr": "arXiv 2606.11450",
        "hi_trs": "doi 10.1007/978-3-031-19809-0_11",
        "motion_transformer": "ACM Multimedia Asia 2020",
    }[config.method]
    for word in (paper, "# Cost", "# Expected"):
        assert word in header
    if config.method in ("mamp", "amr") and ("ntu" in name or "pku" in name):
        tau, depth = (0.75 if "ntu120" in name else 0.8), (3 if "ntu60" in name else 5)
        of_mamp = MAMPConfig(tau=tau, decoder_depth=depth)
        assert config.objective == {"mamp": of_mamp, "amr": AMRConfig()}[config.method]
        assert config.encoder == PatchTransformerConfig()
        assert config.input == InputConfig()
        assert config.optimizer == OptimizerConfig()
        assert config.schedule == ScheduleConfig(warmup_epochs=20.0, min_learning_rate=5e-4)
        assert (config.epochs, config.batch_clips, config.protocol) == (400, 128, name.rpartition("_")[2])


# For every setting a value that is not its default.
CHANGED: dict[str, Any] = {
    "protocol": "xsub",
    "objective.mask_ratio": 0.8,
    "objective.masking": "uniform",
    "objective.tau": 0.5,
    "objective.target": "joint",
    "objective.stride": 2,
    "objective.normalise_target": False,
    "objective.decoder_depth": 1,
    "objective.decoder_width": 16,
    "objective.decoder_heads": 2,
    "objective.decoder_mlp_ratio": 2.0,
    "objective.parity": True,
    "encoder.width": 16,
    "encoder.depth": 1,
    "encoder.heads": 2,
    "encoder.mlp_ratio": 2.0,
    "encoder.patch_frames": 8,
    "input.window_frames": 16,
    "input.stream": "bone",
    "input.alignment": "yaw",
    "input.test_crop": 0.9,
    "input.min_frames": 8,
    "augment.crop_low": 0.6,
    "augment.crop_high": 0.9,
    "augment.min_crop_frames": 8,
    "augment.rotation_radians": 0.1,
    "augment.yaw_radians": 0.2,
    "augment.mirror_probability": 0.5,
    "augment.scale_share": 0.1,
    "augment.jitter_metres": 0.001,
    "augment.one_of_each": 0.5,
    "optimizer.learning_rate": 0.002,
    "optimizer.scaling": "per_256_clips",
    "optimizer.betas": [0.8, 0.9],
    "optimizer.weight_decay": 0.1,
    "optimizer.clip_norm": 1.0,
    "schedule.warmup_epochs": 1.0,
    "schedule.min_learning_rate": 0.0001,
    "schedule.fall": "linear",
    "schedule.share_of_fall": 0.5,
    "optimizer.decays": "linear",
    "checkpoints.every_minutes": 5.0,
    "checkpoints.every_steps": 1,
    "checkpoints.keep_last": 1,
    "checkpoints.keep_steps": 2,
    "monitor.enabled": False,
    "monitor.clips": 64,
    "monitor.max_share_percent": 1.5,
    "monitor.every_percent": 5.0,
    "epochs": 3,
    "ends_at_epochs": False,
    "batch_clips": 4,
    "micro_batches": 2,
    "max_steps": 1,
    "max_minutes": 2.0,
    "max_cpu_seconds": 60.0,
    "seed": 5,
    "device": "cpu",
    "precision": "fp32",
    "threads": 1,
    "strategy": "ddp",
    "loader": "resident",
    "workers": 1,
    "compile": "off",
    "log_every": 7,
    "profile": True,
}  # fmt: skip
# Two processes are started by hand in the engine's own test. MAMP's encoder reads full windows: no recorded pace.
ELSEWHERE = {"store", "out", "processes", "method", "input.pace"}


def _names(cls: type, prefix: str = "") -> set[str]:
    names = set()
    for each in fields(cls):
        nested = isinstance(each.type, type) and is_dataclass(each.type)
        names |= _names(each.type, f"{prefix}{each.name}.") if nested else {prefix + each.name}  # pyright: ignore
    return names


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *groups, last = name.split(".")
        place = nested
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = value
    return nested


def test_the_table_names_every_setting() -> None:
    named = _names(PretrainConfig) - {"objective", "encoder"}
    named |= _names(MAMPConfig, "objective.") | _names(PatchTransformerConfig, "encoder.")
    assert set(CHANGED) | ELSEWHERE == named
    defaults = plain(PretrainConfig(Path("s"), Path("o")))
    for name, value in CHANGED.items():
        default: Any = defaults
        for part in name.split("."):
            default = default[part]
        assert default != value, name


@pytest.mark.parametrize("how", ["command line", "yaml", "both"])
def test_every_setting_reaches_the_run_directory(store: Path, tmp_path: Path, how: str) -> None:
    names = sorted(CHANGED)
    # Limits stand together: those of the command line take the place of those of a file.
    half = set(names[::2]) - {*LIMITS, "ends_at_epochs"}
    by_yaml = {"command line": set[str](), "yaml": set(names), "both": half}[how]
    recipe = tmp_path / "mine.yaml"
    # In the file, "both" gives half of the settings, and for one more a value that the command line overrides.
    recipe.write_text(
        yaml.safe_dump(
            _nested({name: CHANGED[name] for name in by_yaml} | {"seed": CHANGED["seed"] if how == "yaml" else 9})
        )
    )
    arguments = ["pretrain", "--recipe", str(recipe), "--store", str(store), "--out", str(tmp_path / "run")]
    for name in names:
        if name not in by_yaml or (name == "seed" and how != "yaml"):
            value = CHANGED[name]
            arguments += [f"--{name.replace('_', '-')}", value if isinstance(value, str) else json.dumps(value)]
    assert main(arguments) == 0
    expected = _nested(CHANGED | {"input.pace": "resized"})
    expected |= {"store": str(store), "out": str(tmp_path / "run"), "processes": 1, "method": "mamp"}
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text()) == expected


def test_the_command_says_where_the_encoder_is_and_the_loss_of_the_mean(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(yaml.safe_dump(plain(_config(store, tmp_path / "run"))))
    assert main(["pretrain", "--recipe", str(recipe)]) == 0
    out = capsys.readouterr().out
    assert str(tmp_path / "run" / "encoder") in out
    assert "predicting the mean: " in out


@pytest.mark.parametrize(("said", "meant"), [("on", "on"), ("off", "off"), ("auto", "auto"), ("true", "on")])
def test_yaml_takes_on_and_off_for_true_and_false(tmp_path: Path, said: str, meant: str) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"compile: {said}\n")
    for words in (["--recipe", str(recipe)], ["--compile", said]):
        arguments = ["--store", "s", "--out", "o", *words]
        parser = build_parser(arguments)
        assert config_of(parser, parse(parser, arguments)).compile == meant


def test_a_misspelt_setting_is_answered_with_the_nearest(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["pretrain", "--recipe", "mamp_nw_ucla", "--store", str(store), "--out", "r"]
    assert main([*arguments, "--objective.mask-ration", "0.5"]) == 2
    assert "did you mean --objective.mask_ratio?" in capsys.readouterr().err
    assert main([*arguments, "--objective.tau", "-1"]) == 2
    assert "objective.tau must be positive" in capsys.readouterr().err


def test_a_step_that_was_not_finite_is_taken_again_by_the_command_that_the_error_names(
    store: Path, tmp_path: Path
) -> None:
    config = _config(store, tmp_path / "run", optimizer=OptimizerConfig(1e12), schedule=ScheduleConfig(0.0, 0.0))
    with pytest.raises(MarrowError, match=r"step \d+: expected a finite loss") as caught:
        pretrain(config)
    command = shlex.split(str(caught.value).rpartition("to take it again: ")[2])
    assert command[:2] == ["python", "-c"]
    done = subprocess.run([sys.executable, *command[1:]], capture_output=True, text=True, check=True)
    assert "every row does the same: look at the weights and the learning rate" in done.stdout


def test_the_command_that_a_loss_which_is_not_finite_names_takes_the_step_again(store: Path, tmp_path: Path) -> None:
    optimizer = OptimizerConfig(learning_rate=1e30, scaling="absolute")
    with pytest.raises(MarrowError, match="to take it again: ") as caught:
        pretrain(_config(store, tmp_path / "run", optimizer=optimizer, schedule=ScheduleConfig(warmup_epochs=0.0)))
    command = str(caught.value).partition("to take it again: ")[2]
    python, *arguments = shlex.split(command)
    assert python == "python"
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in str(caught.value)
