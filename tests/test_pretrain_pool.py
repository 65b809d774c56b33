"""Pre-training on several stores at once: as for one store, and what only several can get wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from marrow.cli.main import main
from marrow.data.pool import StoreChoice
from marrow.data.window import InputConfig
from marrow.errors import ConfigError, StoreError
from marrow.models.export import load_encoder
from marrow.models.patch_transformer import PatchTransformerConfig
from marrow.objectives.amr import AMRConfig
from marrow.pretrain_config import load_config
from marrow.pretraining import load_objective, pretrain
from marrow.skeleton.body import BODY
from marrow.skeleton.known import get_skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.memory import write_store
from marrow.train.logs import read_log
from marrow.train.monitor import MonitorConfig
from small_pretraining import small_config, weights

DECODER = AMRConfig(
    target="joint", target_frames=8, energy_windows=(4, 8), decoder_depth=1, decoder_width=16, decoder_heads=2
)
ENCODER = PatchTransformerConfig(width=16, depth=1, heads=2, patch_frames=4)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores")
    for name, layout, clips in (("kinect", "kinect_v1_20", 12), ("coco", "coco_17", 9)):
        skeleton, generator = get_skeleton(layout), np.random.default_rng(len(name))
        sequences = []
        for number in range(clips):
            shape = (1, 30 + number, len(skeleton.joints), 3)
            joints = np.cumsum(generator.normal(0, 0.02, shape), axis=1).astype(np.float32)
            joints += generator.normal(0, 0.3, (1, 1, *shape[2:])).astype(np.float32)
            record = Record(f"{name}{number}", label=number % 3, attributes={"subject": number % 2})
            present = np.ones(joints.shape[:3], np.bool_)
            sequences.append(SkeletonSequence(joints, present, 30.0, skeleton, record))
        write_store(folder / name, sequences, source="walks", classes=("a", "b", "c"), splits={})
    return folder


def config(folder: Path, out: Path, **changes):
    choices = (StoreChoice("k", folder / "kinect", "subject=0"), StoreChoice("c", folder / "coco", weight=3.0))
    settings = {
        "stores": choices, "protocol": None, "method": "amr", "objective": DECODER, "encoder": ENCODER,
        "input": InputConfig(window_frames=16, alignment="body"), "monitor": MonitorConfig(enabled=False),
    }  # fmt: skip
    return small_config(None, out, **(settings | changes))  # type: ignore[arg-type]


def test_a_run_over_several_stores_says_what_they_are(stores: Path, tmp_path: Path) -> None:
    result = pretrain(config(stores, tmp_path / "run"))
    assert load_encoder(result.encoder).skeleton.joints == BODY.joints
    provenance = json.loads((result.encoder / "encoder.json").read_text())["provenance"]
    assert provenance["clips"] == 6 + 9
    assert [(store["name"], store["clips"], store["weight"]) for store in provenance["stores"]] == [
        ("k", 6, 6.0), ("c", 9, 3.0),
    ]  # fmt: skip
    assert provenance["rows"] == "k subject=0, c all clips"
    (environment,) = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["store"]["stores"][0]["source"] == "walks"
    assert load_config(tmp_path / "run").stores == config(stores, tmp_path / "run").stores
    assert load_objective(tmp_path / "run").encoder.is_by_place


@pytest.mark.parametrize("loader", ["resident", "streaming"])
def test_it_goes_on_as_if_never_interrupted(stores: Path, tmp_path: Path, loader: str) -> None:
    whole = pretrain(config(stores, tmp_path / "whole"))
    parts = config(stores, tmp_path / "parts", loader=loader, max_steps=3, workers=1)
    pretrain(parts)
    again = pretrain(config(stores, tmp_path / "parts", loader=loader, max_steps=3, workers=1))
    assert again.last["step"] == 3
    # Under a schedule of its own limit a shorter run is another run; the batches are the same.
    shorter = pretrain(config(stores, tmp_path / "shorter", max_steps=3))
    assert all(torch.equal(value, weights(shorter)[name]) for name, value in weights(again).items())
    assert whole.last["step"] == 8


def test_other_weights_are_another_run(stores: Path, tmp_path: Path) -> None:
    pretrain(config(stores, tmp_path / "run", max_steps=2))
    other = (StoreChoice("k", stores / "kinect", "subject=0"), StoreChoice("c", stores / "coco", weight=4.0))
    with pytest.raises(ConfigError, match="other settings"):
        pretrain(config(stores, tmp_path / "run", max_steps=2, stores=other))


def test_the_monitor_looks_at_each_store(stores: Path, tmp_path: Path) -> None:
    watched = MonitorConfig(max_share_percent=100.0, clips=15)
    pretrain(config(stores, tmp_path / "run", monitor=watched, epochs=100, max_steps=60, log_every=10))
    seen = [entry for entry in read_log(tmp_path / "run" / "log.jsonl") if "effective_rank" in entry]
    assert seen
    # The nine clips of the second store by hand: each asks the clips of the other person, four or five, of which one or
    # two have its label: (4 x 1/4 + 2/4 + 2 x 1/5 + 2 x 2/5) / 9.
    assert seen[-1]["chance_percent.c"] == pytest.approx(30.0)
    assert {"nearest_neighbour_percent", "nearest_neighbour_percent.k", "nearest_neighbour_percent.c"} <= seen[
        -1
    ].keys()


def test_the_command_takes_stores_one_after_the_other(
    stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [
        "--encoder.width=16", "--encoder.depth=1", "--encoder.heads=2", "--encoder.summary_blocks=[1]",
        "--objective.decoder_depth=1",
        "--objective.decoder_width=16", "--objective.decoder_heads=2", "--batch_clips=4", "--max_steps=2",
    ]  # fmt: skip
    words = ["pretrain", "--recipe", "general", "--out", str(tmp_path / "run"), *small]
    assert main([*words, "--store", f"k={stores / 'kinect'}:subject=0", "--store", f"c={stores / 'coco'}*2"]) == 0
    assert json.loads((tmp_path / "run/encoder/encoder.json").read_text())["provenance"]["clips"] == 15
    listed = tmp_path / "stores.yaml"
    listed.write_text(f"k: {{path: {stores / 'kinect'}, rows: subject=0}}\nc: {{path: {stores / 'coco'}, weight: 2}}\n")
    assert main([*words, "--store", str(listed)]) == 0, "the same run, finished"
    capsys.readouterr()
    assert main(["pretrain", "--recipe", "general", "--out", str(tmp_path / "b"), "--store", "a=nowhere"]) == 1
    assert "'a'" in capsys.readouterr().err
    assert main(["pretrain", "--recipe", "general", "--out", str(tmp_path / "b"), "--protocol=xsub",
                 "--store", f"k={stores / 'kinect'}"]) == 2  # fmt: skip
    assert "k=" in capsys.readouterr().err


def test_a_store_that_changes_ends_a_run_that_reads_it(stores: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(stores / "coco", tmp_path / "coco")
    choices = (StoreChoice("k", stores / "kinect"), StoreChoice("c", tmp_path / "coco"))
    pretrain(config(stores, tmp_path / "run", stores=choices, max_steps=2))
    header = json.loads((tmp_path / "coco/store.json").read_text())
    (tmp_path / "coco/store.json").write_text(json.dumps(header | {"fingerprint": "0" * 32}))
    with pytest.raises(ConfigError, match="other settings"):
        pretrain(config(stores, tmp_path / "run", stores=choices, max_steps=4))
    shutil.rmtree(tmp_path / "coco")
    with pytest.raises(StoreError, match="'c'"):
        pretrain(config(stores, tmp_path / "run", stores=choices, max_steps=4))
