"""The runtime in a process of its own: NumPy and onnxruntime, and nothing else."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import marrow
from marrow.data.window import InputConfig
from marrow.errors import CheckpointError, ConfigError, DataError
from marrow.runtime import Description, Motion, load
from marrow.skeleton.layout import KINECT_V1_20


@pytest.fixture
def mean_file(tmp_path: Path) -> Path:
    """A model typed by hand: its features are the mean of the positions over bodies, frames and joints."""
    return write_mean(tmp_path / "mean.onnx", ("joints", "present"))


def write_mean(path: Path, inputs: tuple[str, ...]) -> Path:
    description = Description(
        *("encoder", (), KINECT_V1_20, dataclasses.asdict(InputConfig(window_frames=4))),
        *(False, False, "test"),
    )
    sizes = ["clips", "bodies", 4, 20]
    types = {"joints": (TensorProto.FLOAT, [*sizes, 3]), "present": (TensorProto.BOOL, sizes)}
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["joints", "axes"], ["features"], keepdims=0)],
        "mean",
        [helper.make_tensor_value_info(name, *types[name]) for name in inputs],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["clips", 3])],
        [helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    entry = model.metadata_props.add()
    entry.key, entry.value = "marrow", description.to_json()
    onnx.save(model, path)
    return path


def test_answers_come_in_the_order_of_the_recordings(mean_file: Path) -> None:
    motions = [Motion(np.full((1, 4 + number, 20, 3), float(number))) for number in range(5)]
    features = load(mean_file).embed(motions, batch_clips=2)
    np.testing.assert_array_equal(features, np.arange(5.0)[:, None].repeat(3, 1))


def test_numpy_and_onnxruntime_are_enough(mean_file: Path, tmp_path: Path) -> None:
    """In a process that can find nothing else."""
    site = tmp_path / "site"
    site.mkdir()
    for package in (numpy, onnxruntime, marrow):
        folder = Path(package.__path__[0])
        for found in folder.parent.glob(f"{folder.name}*"):
            if found.name in (folder.name, f"{folder.name}.libs"):
                (site / found.name).symlink_to(found)
    code = f"""
import sys, numpy
from marrow.runtime import Motion, load
assert not hasattr(sys.modules["jaxtyping"], "__file__"), "this process must not find it"
answer = load({str(mean_file)!r}).embed([Motion(numpy.ones((2, 9, 20, 3)))])
assert answer.tolist() == [[1.0, 1.0, 1.0]], answer
"""
    environment = {"PYTHONPATH": str(site), "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_marrow_reads_is_answered_without_torch(mean_file: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "two.npy", np.ones((9, 2, 20, 3), np.float32))
    code = f"""
import sys
import marrow
from marrow.runtime import load
sequences = marrow.read({str(tmp_path / "two.npy")!r}, layout="kinect_v1_20", fps=30.0, unit_metres=1.0)
assert load({str(mean_file)!r}).embed(sequences).shape == (len(sequences), 3) == (1, 3)
sys.exit(", ".join({{"torch", "numba", "sklearn"}} & set(sys.modules)) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_whose_inputs_are_not_as_it_says(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected the inputs joints, present"):
        load(write_mean(tmp_path / "m.onnx", ("joints",)))


def test_wrong_use_is_said(mean_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(mean_file)
    with pytest.raises(DataError, match="put it into a list"):
        model.embed(Motion(np.ones((1, 4, 20, 3))))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="at least one"):
        model.embed([])
    with pytest.raises(ConfigError, match="batch_clips"):
        model.embed([Motion(np.ones((1, 4, 20, 3)))], batch_clips=0)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r'pip install "marrow\[runtime\]"'):
        load(mean_file)
