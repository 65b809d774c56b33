"""Models as files: every kind answers from its file as in memory, and what cannot be exported is said in a sentence."""

import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from write_models import BY_PLACE, KINDS, KNOWN, build, recogniser

from marrow.data.window import InputConfig
from marrow.errors import CheckpointError, ConfigError
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.readers.base import Split
from marrow.runtime import Model, load
from marrow.skeleton.known import get_skeleton
from marrow.skeleton.layout import KINECT_V1_20
from marrow.skeleton.sequence import Record, Segment, SkeletonSequence
from marrow.store.memory import write_store
from marrow.tasks.detection.kept import save_detector
from marrow.use.export import export
from marrow.use.file_check import answers, labelled_half
from marrow.use.inputs import Input
from marrow.use.labeller import Labeller
from marrow.use.pack import pack
from marrow.use.plain import PlainModel, describe, eager, encoder_of, load_model
from marrow.use.predict import Answer
from marrow.use.segments import SegmentFinder
from marrow.use.torch_file import load_torch

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
    if kind in BY_PLACE:
        layouts = ["kinect_v2_25", "smpl_24", "body", "penn_13"]
    sizes = ((1, 1, 0.0), (1, 50, 0.1), (2, 33, 0.0), (3, 8, 0.2), (2, 400, 0.01))
    return [recording(layouts[number % len(layouts)], *size) for number, size in enumerate(sizes)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_answers_as_the_model(files: Path, kind: str) -> None:
    model, runtime = build(kind), load(files / f"{kind}.onnx")
    everything = recordings(kind)
    for some in (everything[:1], everything[2:4], everything):
        expected = eager(model, some)
        np.testing.assert_allclose(answers(runtime, some), expected, atol=1e-4 * max(1.0, np.abs(expected).max()))
    # Each is answered for itself, whatever else is in the batch.
    ask = {"recogniser": runtime.predict, "encoder": runtime.embed, "detector": runtime.frames}[describe(model).kind]
    for one, other in zip(ask(everything, batch_clips=2), ask(everything), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert np.ptp(eager(model, everything), axis=0).max() > 1e-3, "the recordings must differ for this to say anything"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["places", "patches", "detector"])
def test_a_program_of_torch_answers_as_the_model(files: Path, kind: str) -> None:
    model, file, everything = build(kind), load_torch(files / f"{kind}.pt2"), recordings(kind)
    for some in (everything[:1], everything):
        np.testing.assert_allclose(answers(file, some), eager(model, some), atol=1e-4)


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return open, (str(self.path), "w")


@pytest.mark.slow
@pytest.mark.parametrize("trapped", ["sample_inputs/model.pt", "weights/weight_0", "constants/custom_obj_0"])
def test_no_pickle_in_a_program_of_torch_is_run(files: Path, tmp_path: Path, trapped: str) -> None:
    with zipfile.ZipFile(files / "patches.pt2") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    [root] = {name.partition("/")[0] for name in members}
    buffer = io.BytesIO()
    torch.save(Trap(tmp_path / "sprung"), buffer)
    members[f"{root}/data/{trapped}"] = buffer.getvalue()
    name = f"{root}/data/weights/model_weights_config.json"
    config = json.loads(members[name])
    if trapped.startswith("weights"):
        for entry in config["config"].values():
            entry["use_pickle"] |= entry["path_name"] == "weight_0"
    members[name] = json.dumps(config).encode()
    with zipfile.ZipFile(tmp_path / "m.pt2", "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    with pytest.raises(CheckpointError, match="pickle, which would be run"):
        load_torch(tmp_path / "m.pt2")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.slow
def test_scores_are_divided_by_the_temperature_inside_the_file(files: Path) -> None:
    """At a quarter of the temperature, the logarithms of two probabilities are four times as far apart."""
    model, everything = build("patches"), recordings("patches")
    assert isinstance(model, Labeller)
    for file in (load(files / "patches.onnx"), load_torch(files / "patches.pt2")):
        assert file.description.temperature == KNOWN.temperature == 0.25
        calibrated = np.log(file.predict(everything))
        plain = np.log(eager(replace(model, known=None), everything))
        apart = plain[:, :2] - plain[:, 2:]
        np.testing.assert_allclose(calibrated[:, :2] - calibrated[:, 2:], 4.0 * apart, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["detector", "detector at recorded pace"])
def test_segments_of_a_file_are_those_of_the_detector(files: Path, kind: str) -> None:
    finder, everything = build(kind), recordings(kind)
    assert isinstance(finder, SegmentFinder)
    found = load(files / f"{kind}.onnx").segments(everything)
    assert sum(map(len, found)) > 1
    for sequence, segments in zip(everything, found, strict=True):
        said = finder.segments([Input("file", sequence)], "m")
        expected = [answer for answer in said if isinstance(answer, Answer) and answer.classes]
        assert [(s.start_seconds, s.end_seconds, s.name) for s in segments] == [
            (a.start_seconds, a.end_seconds, a.label) for a in expected
        ]
        np.testing.assert_allclose(
            [segment.probability for segment in segments], [a.classes[0][1] for a in expected], atol=1e-4
        )


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
def test_matrices_that_are_used_twice_are_turned_once(files: Path) -> None:
    """A summary with its mirror image uses every layer twice; eight bits are for matrices that are constants."""
    graph = onnx.load(files / "examples.onnx").graph
    constants = {constant.name: list(constant.dims) for constant in graph.initializer}
    read = [set(node.input) & constants.keys() for node in graph.node if node.op_type == "MatMul"]
    twice = [name for name in constants if sum(name in names for names in read) == 2]
    assert len(twice) == 4  # one block: of attention two, of the MLP two
    assert not [node for node in graph.node if node.op_type == "Transpose" and node.input[0] in constants]


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
    with pytest.raises(ConfigError, match="segments"):
        load(files / "detector.onnx").predict(recordings("detector"))
    with pytest.raises(ConfigError, match="embed"):
        load(files / "places.onnx").segments(recordings("places"))


@pytest.mark.parametrize("kind", KINDS)
def test_plain_arrays_are_answered_as_a_batch(kind: str) -> None:
    """The module that is traced, before it is: what it adds is no more than another way to give the arrays."""
    model, some = build(kind), recordings(kind)
    description = describe(model)
    module = PlainModel(model)

    def run(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        with torch.no_grad():
            return module(**{name: torch.from_numpy(value) for name, value in arrays.items()}).numpy()

    expected = eager(model, some)
    np.testing.assert_allclose(answers(Model(run, description), some), expected, atol=1e-4)


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
        ({"out": "m.pt2", "to": "torch", "int8": True}, "--int8. is for .*--to onnx"),
        ({"out": "m.tflite", "to": "tflite"}, "onnx or torch"),
        ({"out": "m.onnx", "opset": 99}, "from 18 to 22, got 99"),
        ({"out": "there.onnx"}, "--overwrite. replaces it"),
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


def test_top1_of_a_detector_is_of_the_frames_that_were_recorded(tmp_path: Path) -> None:
    """10 frames: 0 to 4 wave, 4 to 6 nothing, 6 to 10 kick; 2 and 7 were filled in. The store has another order."""
    finder = build("detector at recorded pace")
    joints = np.zeros((1, 10, 20, 3), np.float32)
    segments = (Segment(0, 4, 2), Segment(6, 10, 0))
    sequence = SkeletonSequence(
        *(joints, np.ones(joints.shape[:3], np.bool_), 25.0, KINECT_V1_20, Record("one")),
        segments=segments,
        recorded=np.array([0, 1, 3, 4, 5, 6, 8, 9]),
    )
    other = replace(sequence, record=Record("other"))
    halves = Split(lambda record: record.id == "other", lambda record: record.id == "one")
    store = write_store(
        tmp_path / "s", [sequence, other], source="test", classes=("kick", "sit", "wave"), splits={"all": halves}
    )
    half = labelled_half(finder, store, "all")
    assert half is not None
    assert half.label.tolist() == [0, 0, -1, 0, 3, 3, 2, -1, 2, 2]


def test_what_cannot_be_exported_is_said(tmp_path: Path) -> None:
    finder = build("detector at recorded pace")
    assert isinstance(finder, SegmentFinder)
    save_detector(tmp_path / "detector", finder.detector, finder.classes, {})
    assert isinstance(load_model(tmp_path / "detector"), SegmentFinder)
    (tmp_path / "detector" / "detector.json").rename(tmp_path / "detector" / "forecaster.json")
    with pytest.raises(ConfigError, match="forecaster, which cannot be exported"):
        load_model(tmp_path / "detector")


def test_no_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no encoder"):
        load_model(tmp_path)


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r'pip install "marrow\[export\]"'):
        export(build("places"), tmp_path / "m.onnx")


def test_a_folder_of_a_recogniser_is_one(tmp_path: Path) -> None:
    reads = InputConfig(window_frames=8)
    model = recogniser(PatchTransformer(PatchTransformerConfig(width=8, depth=1, heads=2), reads, KINECT_V1_20))
    model.save(tmp_path / "tuned", {})
    loaded = load_model(tmp_path / "tuned")
    assert isinstance(loaded, Labeller)
    assert loaded.classes == model.classes
    assert isinstance(load_model(pack(tmp_path / "tuned", tmp_path / "packed")), Labeller)
    assert not isinstance(load_model(pack(tmp_path / "tuned" / "encoder", tmp_path / "packed_encoder")), Labeller)
    shutil.rmtree(tmp_path / "tuned" / "encoder")
    with pytest.raises(CheckpointError, match="tuned"):
        load_model(tmp_path / "tuned")
