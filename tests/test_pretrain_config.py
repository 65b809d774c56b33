"""Settings by command line, recipe and run directory, and those of older runs."""

import json
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from marrow.cli.arguments import parse, recipe_names, recipe_path
from marrow.cli.main import main
from marrow.cli.pretrain import build_parser
from marrow.data.window import InputConfig
from marrow.errors import ConfigError
from marrow.models.patch_transformer import PatchTransformerConfig
from marrow.objectives.amr import AMRConfig
from marrow.objectives.mamp import MAMPConfig
from marrow.pretrain_config import LIMITS, PretrainConfig, config_of, load_config
from marrow.pretraining import pretrain
from marrow.train.optim import OptimizerConfig, ScheduleConfig
from marrow.train.run_directory import differences, plain
from small_pretraining import make_walks, small_config


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_walks(tmp_path_factory.mktemp("data") / "walks")


def test_settings_must_be_those_of_the_method(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'mamp' takes MAMPConfig as its objective, got PatchTransformerConfig"):
        PretrainConfig(tmp_path, tmp_path, objective=PatchTransformerConfig())


def test_the_settings_of_a_run_can_be_given_as_a_recipe_again(store: Path, tmp_path: Path) -> None:
    config = small_config(store, tmp_path / "run", ends_at_epochs=False, max_steps=2, epochs=1)
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


@pytest.mark.parametrize("name", ["epochs", "processes", "workers", "log_every", "threads", "max_steps"])
def test_counts_below_one_are_refused(store: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        small_config(store, tmp_path, **{name: 0})


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
    "encoder.takes_flat": True,
    "encoder.summary_blocks": [1],
    "encoder.summary_mirrored": True,
    "input.window_frames": 16,
    "input.stream": "bone",
    "input.alignment": "yaw",
    "input.test_crop": 0.9,
    "input.min_frames": 8,
    "augment.crop_low": 0.6,
    "augment.crop_high": 0.9,
    "augment.min_crop_frames": 8,
    "augment.min_crop_seconds": 0.2,
    "augment.max_crop_seconds": 30.0,
    "augment.projection_probability": 0.2,
    "augment.rotation_radians": 0.1,
    "augment.yaw_radians": 0.2,
    "augment.mirror_probability": 0.5,
    "augment.scale_share": 0.1,
    "augment.jitter_metres": 0.001,
    "augment.one_of_each": 0.5,
    "optimizer.learning_rate": 0.002,
    "optimizer.scaling": "per_256_clips",
    "optimizer.name": "muon",
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
# Two processes are started by hand in the engine's own test, several stores have a test of their own. MAMP's encoder
# reads full windows: no recorded pace.
ELSEWHERE = {"store", "stores", "piece_seconds", "out", "processes", "method", "input.pace", "input.fps"}


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
    expected = _nested(CHANGED | {"input.pace": "resized", "input.fps": None})
    expected |= {"stores": [], "piece_seconds": None}
    expected |= {"store": str(store), "out": str(tmp_path / "run"), "processes": 1, "method": "mamp"}
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text()) == expected


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
