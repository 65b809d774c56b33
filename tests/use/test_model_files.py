"""Models as files: every kind answers from its file as in memory, and what cannot be exported is said in a sentence."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from write_models import KINDS, build

from marrow.errors import CheckpointError, ConfigError
from marrow.models.heads import Recogniser
from marrow.runtime import load
from marrow.skeleton.known import get_skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.use.export import export, load_torch
from marrow.use.pack import pack
from marrow.use.plain import PlainModel, describe, eager, encoder_of, load_model

SCRIPT = Path(__file__).with_name("write_models.py")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    done = subprocess.run([sys.executable, str(SCRIPT), str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def recording(layout: str, people: int, frames: int, absent: float, seed: int = 7) -> SkeletonSequence:
    """Return bodies of which a share of the joints is absent, the second one from all of the first ten frames."""
    skeleton, generator = get_skeleton(layout), np.random.default_rng(seed)
    if layout == "penn_13":  # as seen by a camera
        skeleton = replace(skeleton, dimensions=2)
    joints = generator.normal(size=(people, frames, len(skeleton.joints), 3)).astype(np.float32)
    if skeleton.dimensions == 2:
        joints[..., 2] = 0.0
    present = generator.random(joints.shape[:3]) >= absent
    present[1:2, :10] = False
    joints[~present] = 0.0
    return SkeletonSequence(joints, present, 25.0, skeleton, Record(f"{people}, {frames}"))


def recordings(kind: str) -> list[SkeletonSequence]:
    layouts = [encoder_of(build(kind)).skeleton.name]
    if kind == "places":
        layouts = ["kinect_v2_25", "smpl_24", "body", "penn_13"]
    sizes = ((1, 1, 0.0), (1, 50, 0.1), (2, 33, 0.0), (3, 8, 0.2), (2, 400, 0.01))
    return [recording(layouts[number % len(layouts)], *size) for number, size in enumerate(sizes)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_answers_as_the_model(files: Path, kind: str) -> None:
    model, runtime = build(kind), load(files / f"{kind}.onnx")
    answer = runtime.predict if isinstance(model, Recogniser) else runtime.embed
    everything = recordings(kind)
    for some in (everything[:1], everything[2:4], everything):
        expected = eager(model, some)
        np.testing.assert_allclose(answer(some), expected, atol=1e-4 * max(1.0, np.abs(expected).max()))
    # Each is answered for itself, whatever else is in the batch.
    np.testing.assert_allclose(answer(everything, batch_clips=2), answer(everything), atol=1e-5)
    assert np.ptp(eager(model, everything), axis=0).max() > 1e-3, "the recordings must differ for this to say anything"


@pytest.mark.slow
def test_a_program_of_torch_answers_as_the_model(files: Path) -> None:
    model, answer, everything = build("places"), load_torch(files / "places.pt2"), recordings("places")
    for some in (everything[:1], everything):
        np.testing.assert_allclose(answer(some), eager(model, some), atol=1e-4)


@pytest.mark.slow
def test_opsets_and_eight_bits(files: Path) -> None:
    everything = recordings("patches")
    expected = eager(build("patches"), everything)
    model = onnx.load(files / "18.onnx")
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [18]
    np.testing.assert_allclose(load(files / "18.onnx").predict(everything), expected, atol=1e-4)
    rounded = load(files / "patches.int8.onnx").predict(everything)
    assert (files / "patches.int8.onnx").stat().st_size < (files / "patches.onnx").stat().st_size
    assert 1e-6 < np.abs(rounded - expected).max() < 0.1
    np.testing.assert_allclose(rounded.sum(1), 1.0, atol=1e-5)


@pytest.mark.slow
def test_a_file_names_no_file_of_this_machine(files: Path) -> None:
    for path in files.iterdir():
        assert b"site-packages" not in path.read_bytes()
        assert str(SCRIPT.parents[2]).encode() not in path.read_bytes()


@pytest.mark.slow
def test_a_file_of_another_version_or_without_a_description(files: Path, tmp_path: Path) -> None:
    model = onnx.load(files / "patches.onnx")
    [entry] = [entry for entry in model.metadata_props if entry.key == "marrow"]
    text = entry.value
    for damaged, word in (
        (text.replace('"format": 1', '"format": 9'), "version 9"),
        (text[:40], "damaged"),
        ("", "no "),
    ):
        entry.value = damaged
        onnx.save(model, tmp_path / "m.onnx")
        with pytest.raises(CheckpointError, match=word) as raised:
            load(tmp_path / "m.onnx")
        assert "m.onnx" in str(raised.value)
    entry.value = text
    model.opset_import[0].version = 99
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(CheckpointError, match=r"onnxruntime .* cannot read it"):
        load(tmp_path / "m.onnx")
    (tmp_path / "m.onnx").write_bytes((files / "patches.onnx").read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cannot read it"):
        load(tmp_path / "m.onnx")
    with pytest.raises(CheckpointError, match="there is no file"):
        load(tmp_path / "none.onnx")


@pytest.mark.slow
def test_the_documented_lines_run(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (SCRIPT.parents[2] / "docs" / "use.md").read_text(encoding="utf-8")
    shutil.copy(files / "patches.onnx", tmp_path / "wave.onnx")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in text.split("```py\n")[1:]:
        exec(block.partition("```")[0], names)
    assert names["probability"].shape == (1, 3)


@pytest.mark.slow
def test_predict_is_for_recognisers_and_embed_for_encoders(files: Path) -> None:
    with pytest.raises(ConfigError, match="embed"):
        load(files / "places.onnx").predict(recordings("places"))
    with pytest.raises(ConfigError, match="predict"):
        load(files / "patches.onnx").embed(recordings("patches"))


@pytest.mark.parametrize("kind", KINDS)
def test_plain_arrays_are_answered_as_a_batch(kind: str) -> None:
    """The module that is traced, before it is: what it adds is no more than another way to give the arrays."""
    from marrow.runtime.prepare import prepare

    model, some = build(kind), recordings(kind)
    arrays = {name: torch.from_numpy(value) for name, value in prepare(some, describe(model)).arrays().items()}
    with torch.no_grad():
        answer = PlainModel(model)(**arrays).numpy()
    np.testing.assert_allclose(answer, eager(model, some), atol=1e-4)


def test_a_description_survives_its_text() -> None:
    from marrow.runtime import Description

    for kind in KINDS:
        description = describe(build(kind))
        assert Description.from_json(description.to_json(), "here") == description
    places = describe(build("places"))
    assert places.inputs == ("joints", "present", "place", "flat")
    assert describe(build("levels")).classes == ("wave", "sit", "kick")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"out": "m.pt2"}, "must end in .onnx"),
        ({"out": "m.onnx", "to": "torch"}, "must end in .pt2"),
        ({"out": "m.pt2", "to": "torch", "int8": True}, "--int8 is for --to onnx"),
        ({"out": "m.tflite", "to": "tflite"}, "onnx or torch"),
        ({"out": "m.onnx", "opset": 99}, "from 18 to 22, got 99"),
        ({"out": "there.onnx"}, "--overwrite replaces it"),
        ({"out": "m.onnx", "protocol": "xsub"}, "go together"),
        ({"out": "m.onnx", "protocol": "xsub", "store": "stores/none"}, "for a recogniser"),
    ],
)
def test_wrong_use_is_said_before_anything_is_traced(tmp_path: Path, options: dict, words: str) -> None:
    (tmp_path / "there.onnx").write_bytes(b"mine")
    out = tmp_path / options.pop("out")
    with pytest.raises(ConfigError, match=words):
        export(build("places"), out, **options)
    assert (tmp_path / "there.onnx").read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["there.onnx"]


def test_no_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no encoder"):
        load_model(tmp_path)


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r'pip install "marrow\[export\]"'):
        export(build("places"), tmp_path / "m.onnx")


def test_a_folder_of_a_recogniser_is_one(tmp_path: Path) -> None:
    model = build("patches")
    assert isinstance(model, Recogniser)
    model.save(tmp_path / "tuned", {})
    loaded = load_model(tmp_path / "tuned")
    assert isinstance(loaded, Recogniser)
    assert loaded.classes == model.classes
    assert isinstance(load_model(pack(tmp_path / "tuned", tmp_path / "packed")), Recogniser)
    assert not isinstance(load_model(pack(tmp_path / "tuned" / "encoder", tmp_path / "packed_encoder")), Recogniser)
    shutil.rmtree(tmp_path / "tuned" / "encoder")
    with pytest.raises(CheckpointError, match="tuned"):
        load_model(tmp_path / "tuned")
