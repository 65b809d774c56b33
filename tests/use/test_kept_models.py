"""Detectors and forecasters that were kept: what is read again says the same, and what is made of it."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from marrow.data.augment import AugmentConfig
from marrow.data.recordings import Recordings
from marrow.data.window import InputConfig
from marrow.errors import CheckpointError, ConfigError, DataError
from marrow.models.export import save_encoder
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.skeleton.layout import KINECT_V1_20
from marrow.skeleton.sequence import Placement, Record, SkeletonSequence
from marrow.tasks.base import Report, TaskContext
from marrow.tasks.detection.config import DetectionConfig
from marrow.tasks.detection.kept import load_detector, save_detector
from marrow.tasks.detection.training import Detector, StepHead
from marrow.tasks.prediction.config import PredictionConfig
from marrow.tasks.prediction.forecaster import ForecastHead, Forecasting, TrainedForecaster
from marrow.tasks.prediction.kept import load_forecaster, save_forecaster
from marrow.train.device import make_fabric
from marrow.use.examples import open_labeller
from marrow.use.forecast import forecast
from marrow.use.inputs import Input
from marrow.use.pack import pack
from marrow.use.segments import SegmentFinder

CPU = TaskContext(device="cpu", precision="fp32")
FRAMES = PredictionConfig(
    observed_frames=8, predicted_frames=10, recent_frames=4, hidden_width=16, functions=5, steps=40
)


def _encoder() -> PatchTransformer:
    config = PatchTransformerConfig(width=16, depth=1, heads=2, patch_frames=4)
    return PatchTransformer(config, InputConfig(window_frames=8, alignment="body"), KINECT_V1_20).fresh(0)


def _sequence(frames: int = 60, fps: float = 25.0) -> SkeletonSequence:
    joints = np.random.default_rng(0).normal(size=(1, frames, 20, 3)).cumsum(axis=1).astype(np.float32) * 0.02
    return SkeletonSequence(joints, np.ones(joints.shape[:3], np.bool_), fps, KINECT_V1_20, Record("clip"))


def _detector() -> Detector:
    config = DetectionConfig(window_seconds=1.0, stride_seconds=0.5, smoothing_frames=0, hidden_width=8)
    torch.manual_seed(1)
    return Detector(_encoder(), StepHead(20, 16, 3, 8).eval(), config, 0.8, 30, 5, 1.0, 1.0)


def test_a_detector_says_the_same_after_loading(tmp_path: Path) -> None:
    detector, sequence = _detector(), _sequence()
    save_detector(tmp_path / "kept", detector, ("sit", "stand"), {"protocol": "xsub"})
    loaded, classes = load_detector(tmp_path / "kept")
    assert classes == ("sit", "stand")
    whole = Recordings(((sequence.joints, sequence.present),), np.zeros(1, np.int64), (25.0,), KINECT_V1_20)
    before, after = (each.predict(whole, CPU)[0] for each in (detector, loaded))
    np.testing.assert_array_equal(before, after)
    assert before.shape == (60, 3)


def test_segments_are_runs_of_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 frames: 4 of nothing, 6 that sit at 0.6 and 0.8, 2 of nothing, 8 that stand at 0.7; 10 frames per second."""
    sit = [[0.6, 0.1, 0.3]] * 3 + [[0.8, 0.1, 0.1]] * 3
    nothing, stand = [0.1, 0.1, 0.8], [0.2, 0.7, 0.1]
    said = np.array([nothing] * 4 + sit + [nothing] * 2 + [stand] * 8)
    monkeypatch.setattr(Detector, "predict", lambda *_: [said])
    finder = SegmentFinder(_detector(), ("sit", "stand"), CPU)
    answers = list(finder.segments([Input("file", _sequence(20, 10.0))], "model"))
    assert [(answer.start_seconds, answer.end_seconds, answer.label) for answer in answers] == [
        *((0.4, 1.0, "sit"), (1.2, 2.0, "stand"))
    ]
    assert [answer.classes[0][1] for answer in answers] == pytest.approx([0.7, 0.7])


def test_where_no_action_is_found_one_answer_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Detector, "predict", lambda *_: [np.tile([0.1, 0.2, 0.7], (20, 1))])
    finder = SegmentFinder(_detector(), ("sit", "stand"), CPU)
    (answer,) = finder.segments([Input("file", _sequence(20, 10.0))], "model")
    assert (answer.start_seconds, answer.end_seconds, answer.label) == (0.0, 2.0, None)


def _forecaster() -> TrainedForecaster:
    """One that has learned nothing: the last pose stays."""
    head = ForecastHead(20, 16, 20, 0, torch.zeros(2, 10, 3), FRAMES)
    forecasting = Forecasting(_encoder(), head, FRAMES).eval()
    return TrainedForecaster(forecasting, make_fabric("cpu", "fp32")[0], 40, 1.0, AugmentConfig())


def test_a_forecaster_says_the_same_after_loading_and_how_far_off_it_was(tmp_path: Path) -> None:
    trained = _forecaster()
    torch.nn.init.normal_(trained.forecasting.head.say.weight, std=0.1)
    torch.nn.init.normal_(trained.forecasting.head.weights, std=0.1)
    report = Report("motion_prediction", {"mpjpe_80ms_mm": 12.5, "mpjpe_400ms_mm": 60.0, "mpjpe_root_80ms_mm": 9.0})
    save_forecaster(tmp_path / "kept", trained, report, {})
    loaded, errors = load_forecaster(tmp_path / "kept")
    assert errors == {"global": {80: 12.5, 400: 60.0}, "root_centred": {80: 9.0}}
    sequence = _sequence(8)
    observed = [(sequence.joints, sequence.present)]
    np.testing.assert_array_equal(trained.forecast(observed), loaded.forecast(observed))


def test_a_forecast_is_in_the_coordinates_of_the_file(tmp_path: Path) -> None:
    """Stored coordinates are the file's, halved and moved by (1, 2, 3): the last pose, led back, is what stays."""
    sequence = _sequence(30)
    placed = replace(sequence, placement=Placement(translation=np.array([1.0, 2.0, 3.0]), scale=2.0))
    result = forecast(_forecaster(), Input("file", placed), "model")
    expected = np.broadcast_to(2.0 * sequence.joints[:, -1:] + [1.0, 2.0, 3.0], (1, 10, 20, 3))
    np.testing.assert_allclose(result.positions, expected, atol=1e-4)
    assert result.end_seconds == pytest.approx(30 / 25)

    result.write(tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as arrays:
        np.testing.assert_array_equal(arrays["positions"], result.positions)
        assert arrays["joints"].tolist() == list(KINECT_V1_20.joints)
    result.write(tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10 * 20
    assert float(rows[0]["time_seconds"]) == pytest.approx(31 / 25)
    assert float(rows[0]["y"]) == pytest.approx(float(expected[0, 0, 0, 1]), abs=1e-4)


def test_what_was_never_seen_is_not_forecast(tmp_path: Path) -> None:
    sequence = _sequence(30)
    present = sequence.present.copy()
    present[:, -8:, 7] = False
    result = forecast(_forecaster(), Input("file", replace(sequence, present=present)), "model")
    assert np.isnan(result.positions[:, :, 7]).all()
    assert np.isfinite(np.delete(result.positions, 7, axis=2)).all()
    result.write(tmp_path / "out.csv")
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 1 + 10 * 19


def test_too_short_or_empty_a_recording_cannot_be_continued() -> None:
    with pytest.raises(DataError, match=r"0\.28 s.*0\.32 s"):
        forecast(_forecaster(), Input("file", _sequence(7)), "model")
    sequence = _sequence(30)
    present = sequence.present.copy()
    present[:, -8:] = False
    with pytest.raises(DataError, match="nobody is seen"):
        forecast(_forecaster(), Input("file", replace(sequence, present=present)), "model")


@pytest.mark.parametrize(("file", "words"), [("detector.json", "--segments"), ("forecaster.json", "marrow forecast")])
def test_kept_models_are_not_taken_for_encoders(tmp_path: Path, file: str, words: str) -> None:
    """Their folders hold one: `predict` says how they are asked, `pack` that they are not packed."""
    save_encoder(_encoder(), tmp_path / "kept" / "encoder", {})
    (tmp_path / "kept" / file).write_text("{}")
    with pytest.raises(ConfigError, match=words):
        open_labeller(str(tmp_path / "kept"), None)
    with pytest.raises(ConfigError, match="cannot be packed"):
        pack(tmp_path / "kept", tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


@pytest.mark.parametrize(("load", "name"), [(load_detector, "detector"), (load_forecaster, "forecaster")])
def test_what_is_not_there_or_damaged_is_named(load, name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"{name}.*--keep"):
        load(tmp_path)
    (tmp_path / f"{name}.json").write_text("{}")
    with pytest.raises(CheckpointError, match=f"cannot be read as a {name}"):
        load(tmp_path)
