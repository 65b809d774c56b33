import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

import marrow
from marrow.cli.main import main
from marrow.errors import CheckpointError, ConfigError
from marrow.models.export import load_encoder, save_encoder
from marrow.models.heads import Recogniser
from marrow.pretraining import pretrain
from marrow.store.format import Store
from marrow.tasks.encoders import facts_of
from marrow.tasks.recognition.trainable import FinetuneConfig
from marrow.use.pack import pack, packed_of, without_places
from small_pretraining import make_walks, small_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, a pre-training run with scores, and a recogniser that was fine-tuned from it."""
    folder = tmp_path_factory.mktemp("pack")
    store = Store.open(make_walks(folder / "store"))
    pretrain(small_config(store.path, folder / "run"))
    marrow.evaluate(folder / "run", store, "xsub", tasks=["knn"])
    marrow.finetune(folder / "run", store, "xsub", folder / "tuned", FinetuneConfig(batch_clips=6).two_epochs())
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_an_encoder_comes_back_byte_for_byte(folder: Path, tmp_path: Path) -> None:
    packed = pack(folder / "run", tmp_path / "packed")
    assert sorted(files_of(packed)) == ["README.md", "config.json", "model.safetensors"]
    save_encoder(load_encoder(packed), tmp_path / "again")
    original = folder / "run" / "encoder" / "encoder.safetensors"
    assert (tmp_path / "again" / "encoder.safetensors").read_bytes() == original.read_bytes()
    clips = [Store.open(folder / "store").sequence(row) for row in range(3)]
    assert (load_encoder(packed).embed(clips) == load_encoder(folder / "run").embed(clips)).all()
    # Packing what is packed copies it.
    assert files_of(pack(packed, tmp_path / "twice")) == files_of(packed)


def test_a_recogniser_comes_back_with_its_head_and_classes(folder: Path, tmp_path: Path) -> None:
    packed = pack(folder / "tuned", tmp_path / "packed")
    again, before = Recogniser.load(packed), Recogniser.load(folder / "tuned")
    assert again.classes == ("a", "b", "c")
    clips = [Store.open(folder / "store").sequence(row) for row in range(3)]
    assert (again.predict(clips) == before.predict(clips)).all()
    assert load_encoder(packed).input == before.encoder.input
    head = load_file(folder / "tuned" / "head.safetensors")
    weights = load_file(packed / "model.safetensors")
    assert {name.partition(".")[0] for name in weights} == {"encoder", "head"}
    assert all((weights[f"head.{name}"] == value).all() for name, value in head.items())


def test_what_takes_a_run_takes_a_packed_one(folder: Path, tmp_path: Path) -> None:
    packed = pack(folder / "run", tmp_path / "packed")
    before, after = facts_of(folder / "run", 0), facts_of(packed, 0)
    assert (after.fingerprint, after.seed) == (before.fingerprint, before.seed)
    store = Store.open(folder / "store")
    scored = [marrow.evaluate(run, store, "xsub", tasks=["knn"]) for run in (folder / "run", packed)]
    assert scored[0].reports[0].metrics == scored[1].reports[0].metrics


def test_the_card_says_what_the_run_says(folder: Path, tmp_path: Path) -> None:
    card = (pack(folder / "run", tmp_path / "packed", terms="Walks: CC0.") / "README.md").read_text(encoding="utf-8")
    config = json.loads((tmp_path / "packed" / "config.json").read_text(encoding="utf-8"))
    assert config["sha256"]["model.safetensors"] in card
    for said in ("library_name: marrow", "`kinect_v2_25`, 25 joints", "MAMP", "xsub", "Walks: CC0.", "16 frames"):
        assert said in card
    evaluation = marrow.evaluate(folder / "run", Store.open(folder / "store"), "xsub", tasks=["knn"])
    top1 = {report.source: report.metrics["top1_percent"] for report in evaluation.reports if "knn" in report.task}
    [row] = [line for line in card.splitlines() if line.startswith("| knn")]
    assert row.split(" | ")[3:] == [f"{top1['trained']:.1f} %", f"{top1['random']:.1f} %", f"{top1['raw']:.1f} % |"]
    tuned = (pack(folder / "tuned", tmp_path / "tuned") / "README.md").read_text(encoding="utf-8")
    assert "Classes: a, b, c." in tuned
    assert any(line.startswith("| finetune | xsub |") for line in tuned.splitlines())


def test_folders_of_the_machine_stay_at_home(folder: Path, tmp_path: Path) -> None:
    for name in ("run", "tuned"):
        packed = pack(folder / name, tmp_path / name)
        assert not [file for file, content in files_of(packed).items() if str(folder).encode() in content]
    told = {"store": "/home/me/store", "stores": [{"path": "/a/b", "name": "b", "clips": 3}], "seed": 1}
    assert without_places(told) == {"store": "store", "stores": [{"path": "b", "name": "b", "clips": 3}], "seed": 1}


def test_only_a_packed_folder_is_replaced_and_only_on_request(folder: Path, tmp_path: Path) -> None:
    pack(folder / "run", tmp_path / "packed")
    with pytest.raises(ConfigError, match="--overwrite"):
        pack(folder / "tuned", tmp_path / "packed")
    pack(folder / "tuned", tmp_path / "packed", overwrite=True)
    assert Recogniser.load(tmp_path / "packed").classes == ("a", "b", "c")
    (tmp_path / "packed" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"notes\.txt"):
        pack(folder / "run", tmp_path / "packed", overwrite=True)
    # A config.json alone is anybody's.
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ConfigError, match=r"config\.json"):
        pack(folder / "run", tmp_path / "other", overwrite=True)
    with pytest.raises(CheckpointError, match="holds no encoder"):
        load_encoder(tmp_path / "other")


@pytest.mark.parametrize("damage", ["one byte", "version", "no weights", "not json"])
def test_a_damaged_folder_is_named(folder: Path, tmp_path: Path, damage: str) -> None:
    packed = pack(folder / "run", tmp_path / "packed")
    config, weights = packed / "config.json", packed / "model.safetensors"
    if damage == "one byte":
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    elif damage == "version":
        config.write_text(config.read_text().replace('"marrow_packed": 1', '"marrow_packed": 9'))
    elif damage == "no weights":
        weights.unlink()
    else:
        config.write_text(config.read_text()[:-20])
    with pytest.raises(CheckpointError, match=str(packed)) as caught:
        load_encoder(packed)
    if damage == "version":
        assert f"marrow {marrow.__version__}" in str(caught.value)


def test_an_encoder_without_a_head_is_no_recogniser(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="without a head"):
        Recogniser.load(pack(folder / "run", tmp_path / "packed"))


def test_folders_of_older_versions_load_or_name_the_version(folder: Path, tmp_path: Path) -> None:
    save_encoder(load_encoder(folder / "run"), tmp_path / "e", {"marrow": "0.0.7"})
    file = tmp_path / "e" / "encoder.json"
    description = json.loads(file.read_text(encoding="utf-8"))
    # An older one knew less; what it did not know is as it was then.
    for setting in ("fps", "pace", "min_frames"):
        del description["input"][setting]
    file.write_text(json.dumps(description))
    assert load_encoder(tmp_path / "e").input == load_encoder(folder / "run").input
    description["config"]["window_of_old"] = 3
    file.write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match=r"marrow 0\.0\.7, with the setting 'window_of_old'"):
        load_encoder(tmp_path / "e")


def test_the_command_packs_and_says_what_comes_next(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "packed"
    assert main(["pack", str(folder / "tuned"), "--out", str(out)]) == 0
    assert f'marrow.Recogniser.load("{out}")' in capsys.readouterr().out
    assert main(["pack", str(tmp_path / "nothing"), "--out", str(tmp_path / "p")]) == 1
    assert not (tmp_path / "p").exists()


def test_the_hub_keeps_what_pack_keeps(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from marrow.use.hub import HubModel

    packed = pack(folder / "tuned", tmp_path / "packed")
    model = HubModel.from_pretrained(packed)
    model.save_pretrained(tmp_path / "again")
    assert files_of(tmp_path / "again") == files_of(packed)
    HubModel(load_encoder(folder / "run")).save_pretrained(tmp_path / "encoder")
    again = HubModel.from_pretrained(tmp_path / "encoder").model
    weights = packed_of(load_encoder(folder / "run")).weights
    assert all(np.array_equal(value, weights[f"encoder.{name}"]) for name, value in again.state_dict().items())


def test_without_its_package_the_hub_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(sys.modules, "marrow.use.hub", raising=False)
    with pytest.raises(ConfigError, match=r"marrow\[hub\]"):
        importlib.import_module("marrow.use.hub")
