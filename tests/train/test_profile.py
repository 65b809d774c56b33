import json
from pathlib import Path

import pytest
import torch
from toy_trainable import ListLoader, Toy

from marrow.train.device import make_fabric
from marrow.train.logs import read_log
from marrow.train.loop import FitConfig, fit
from marrow.train.optim import Budget, OptimizerConfig, optimizer_of
from marrow.train.profile import table


def _fit(folder: Path, profile: bool, steps: int = 10) -> Toy:
    fabric, _ = make_fabric("cpu", "fp32")
    fabric.launch()
    toy = Toy()
    config = FitConfig(Budget(steps), log_every=3, profile=profile)
    fit(fabric, toy, optimizer_of(toy, OptimizerConfig()), ListLoader(2), lambda _: 1e-2, config, folder)
    return toy


def test_a_profile_accounts_for_all_the_time_and_changes_no_number(tmp_path: Path) -> None:
    plain, profiled = _fit(tmp_path / "plain", False), _fit(tmp_path / "profiled", True)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), profiled.parameters(), strict=True))
    losses = [[entry["loss"] for entry in read_log(tmp_path / name / "log.jsonl")] for name in ("plain", "profiled")]
    assert losses[0] == losses[1]
    assert not (tmp_path / "plain" / "profile.json").exists()

    facts = json.loads((tmp_path / "profiled" / "profile.json").read_text())
    assert facts["steps"] == 7  # three of ten are not typical
    assert sum(phase["share"] for phase in facts["phases"].values()) == pytest.approx(1.0)
    assert sum(phase["seconds"] for phase in facts["phases"].values()) == pytest.approx(facts["seconds"])
    assert all(phase["seconds"] > 0 for name, phase in facts["phases"].items() if name != "everything else")
    lines = table(facts).splitlines()
    assert lines[0].startswith("7 steps in ")
    assert [line.split()[0] for line in lines[1:]] == [
        *("load", "sample", "forward", "backward", "exchange", "update", "log", "save", "everything")
    ]
    # Three steps in detail, of two micro-batches each.
    events = json.loads((tmp_path / "profiled" / "profile_trace.json").read_text())["traceEvents"]
    for name, times in (("load", 3), ("forward", 6), ("backward", 6), ("update", 3)):
        assert sum(event["name"] == name and event.get("cat") == "user_annotation" for event in events) == times


def test_a_run_that_is_too_short_has_no_profile(tmp_path: Path) -> None:
    _fit(tmp_path, True, steps=3)
    assert not (tmp_path / "profile.json").exists()
