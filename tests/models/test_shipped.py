"""What comes with the package: where it learned, how large it is, and that it works on any skeleton."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from marrow.errors import CheckpointError
from marrow.models.export import load_encoder
from marrow.skeleton.known import LAYOUTS, get_skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.tasks.encoders import facts_of
from marrow.weights import SHIPPED, shipped_folder

# Whose terms allow that weights learned from them are given away; see the cards.
MAY_BE_SHIPPED = {"cmu_mocap", "ui_prmd", "synthetic"}
TOOL = Path(__file__).parents[2] / "tools" / "ship_general.py"


def folder_of(name: str) -> Path:
    folder = shipped_folder(name)
    assert folder is not None
    return folder


@pytest.mark.parametrize("name", SHIPPED)
def test_it_learned_from_nothing_but_what_may_be_given_away(name: str) -> None:
    provenance = json.loads((folder_of(name) / "encoder.json").read_text())["provenance"]
    sources = {store["source"] for store in provenance["stores"]}
    assert sources
    assert sources <= MAY_BE_SHIPPED
    assert set(provenance["terms"]) == sources
    text = (folder_of(name) / "encoder.json").read_text() + (folder_of(name) / "card.md").read_text()
    assert "/tmp" not in text
    assert "/home" not in text
    assert '"path"' not in text


@pytest.mark.parametrize("name", SHIPPED)
def test_the_card_names_the_weights_that_are_there(name: str) -> None:
    content = (folder_of(name) / "encoder.safetensors").read_bytes()
    assert len(content) <= 6_000_000
    assert hashlib.sha256(content).hexdigest() in (folder_of(name) / "card.md").read_text()


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("dimensions", [2, 3])
def test_any_layout_goes_in(layout: str, dimensions: int) -> None:
    skeleton = get_skeleton(layout)
    if dimensions == 2 and skeleton.up == "z":
        pytest.skip("no image")
    from dataclasses import replace

    joints = np.random.default_rng(0).normal(size=(2, 30, len(skeleton.joints), 3)).astype(np.float32)
    joints[..., dimensions:] = 0.0
    flat = replace(skeleton, dimensions=dimensions)
    recording = SkeletonSequence(joints, np.ones(joints.shape[:3], np.bool_), 30.0, flat, Record("one"))
    encoder = load_encoder("general")
    features = encoder.embed([recording])
    assert features.shape == (1, encoder.pooled_dim)
    assert np.isfinite(features).all()


def test_a_folder_of_that_name_is_meant_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "general").mkdir()
    monkeypatch.chdir(tmp_path)
    assert shipped_folder("general") is None
    monkeypatch.chdir(tmp_path / "general")
    assert shipped_folder("general") is not None
    assert shipped_folder("generally") is None


def test_the_tool_refuses_what_may_not_be_given_away(tmp_path: Path) -> None:
    run = tmp_path / "run" / "encoder"
    run.mkdir(parents=True)
    provenance = {"finished": True, "settings": {}, "stores": [{"name": "nw", "source": "nw_ucla", "path": "x"}]}
    (run / "encoder.json").write_text(json.dumps({"provenance": provenance}))
    command = [sys.executable, str(TOOL), str(run.parent), "--scores", str(tmp_path / "none.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "'nw'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_weights_are_plain_fp32() -> None:
    assert {value.dtype for value in load_encoder("general").state_dict().values()} == {torch.float32}


def test_a_misspelt_name_is_answered_with_the_right_one() -> None:
    with pytest.raises(CheckpointError, match="'general'"):
        facts_of(Path("generalx"), 0)


def test_a_misspelt_name_is_answered_wherever_an_encoder_is_loaded() -> None:
    with pytest.raises(CheckpointError, match="'general'"):
        load_encoder("generalx")
