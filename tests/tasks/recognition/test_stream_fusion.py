"""Fused streams: the weights by hand, and each stream as it stands alone."""

import numpy as np
import pytest
import torch

from marrow.data.window import InputConfig
from marrow.errors import ConfigError
from marrow.models.export import save_encoder
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.skeleton.layout import KINECT_V1_20, KINECT_V2_25
from marrow.tasks.base import Origin, TaskContext, TaskData, unsuited
from marrow.tasks.evaluate import evaluate
from marrow.tasks.recognition.linear_probe import LinearProbe, ProbeConfig
from marrow.tasks.recognition.readouts import Logistic, LogisticConfig
from marrow.tasks.recognition.stream_fusion import PUBLISHED_WEIGHTS, StreamFusion, StreamFusionConfig, fused
from marrow.testing.tasks import check_task

CPU = TaskContext(device="cpu", precision="fp32")


def _data(store):
    return TaskData(store, *store.split_rows("xview"), protocol="xview")


def _encoder(stream, seed, skeleton=KINECT_V1_20):
    config = PatchTransformerConfig(width=16, depth=1, heads=2, patch_frames=4)
    return PatchTransformer(config, InputConfig(window_frames=8, test_crop=1.0, stream=stream), skeleton).fresh(seed)


@pytest.fixture
def streams(tmp_path):
    """Runs of the streams bone and motion, and one that sees joints again."""
    for name, stream in (("bone", "bone"), ("motion", "motion"), ("again", "joint")):
        save_encoder(_encoder(stream, 3), tmp_path / name, {})
    save_encoder(_encoder("bone_motion", 3, KINECT_V2_25), tmp_path / "other_skeleton", {})
    return tmp_path


def _logistic(encoder, store):
    """What a stream predicts alone, by the task linear_probe."""
    reports = LinearProbe(ProbeConfig(epochs=1)).run(encoder, _data(store), CPU)
    return next(report for report in reports if report.task == "logistic/pooled").predictions["top1"]


def test_weights_are_the_published_ones():
    assert PUBLISHED_WEIGHTS == {"joint": 0.6, "bone": 0.6, "motion": 0.4, "bone_motion": 0.4}


def test_fusion_by_hand():
    """Two classes; what counts is how far the first is ahead.

    joint is 1.0 ahead, bone 0, motion 1.2 behind. Published: 0.6 * 1.0 + 0.6 * 0 - 0.4 * 1.2 = 0.12, the first class.
    Equal: (1.0 + 0 - 1.2) / 3 = -0.067, the second.
    """
    by_stream = {"joint": np.array([[1.0, 0.0]]), "bone": np.array([[0.0, 0.0]]), "motion": np.array([[-1.2, 0.0]])}
    published = fused(by_stream, {stream: PUBLISHED_WEIGHTS[stream] for stream in by_stream})
    equal = fused(by_stream, dict.fromkeys(by_stream, 1 / 3))
    assert published[0, 0] - published[0, 1] == pytest.approx(0.12)
    assert equal[0, 0] - equal[0, 1] == pytest.approx(-0.2 / 3)
    np.testing.assert_array_equal(fused(by_stream, {"joint": 1.0}), by_stream["joint"])


def test_logarithms_of_probabilities_fuse_as_scores_before_the_softmax():
    generator = torch.Generator().manual_seed(0)
    scores = {
        stream: torch.randn(50, 4, generator=generator, dtype=torch.float64) * 3 for stream in ("joint", "motion")
    }
    weights = {"joint": 0.6, "motion": 0.4}
    before = fused({stream: score.numpy() for stream, score in scores.items()}, weights)
    after = fused({stream: score.log_softmax(1).numpy() for stream, score in scores.items()}, weights)
    np.testing.assert_array_equal(before.argmax(1), after.argmax(1))


@pytest.mark.parametrize("class_count", [2, 3])
def test_log_probabilities_are_scikit_learns(class_count):
    rng = np.random.default_rng(0)
    label = np.arange(40) % class_count + 5
    features = rng.normal(size=(40, 6)) + label[:, None] * 0.3
    fitted = Logistic.fitted(features, label, LogisticConfig())
    np.testing.assert_allclose(np.exp(fitted.log_probability(features)), fitted.model.predict_proba(features))
    np.testing.assert_array_equal(fitted.predict(features), fitted.model.predict(features))


def test_each_stream_stands_beside_the_fusion(small_store, small_encoder, streams):
    task = StreamFusion(StreamFusionConfig(runs=(streams / "bone", streams / "motion"), weights=(0.0, 1.0, 0.0)))
    reports = {report.task: report for report in task.run(small_encoder, _data(small_store), CPU)}
    assert list(reports) == [
        *(f"stream_fusion/{kind} weights" for kind in ("published", "equal", "given")),
        *(f"stream_fusion/{stream}" for stream in ("joint", "bone", "motion")),
    ]
    assert reports["stream_fusion/joint"].predictions["top1"] == _logistic(small_encoder, small_store)
    assert reports["stream_fusion/bone"].predictions["top1"] == _logistic(_encoder("bone", 3), small_store)
    # A weight of its own for bones alone.
    assert reports["stream_fusion/given weights"].predictions == reports["stream_fusion/bone"].predictions
    settings = reports["stream_fusion/published weights"].settings
    assert settings["weights"] == {"joint": 0.6, "bone": 0.6, "motion": 0.4}
    assert set(settings["encoders"]) == {"joint", "bone", "motion"}
    assert reports["stream_fusion/equal weights"].settings["weights"]["bone"] == pytest.approx(1 / 3)
    assert {"top1_percent", "top1_clean_percent"} == set(reports["stream_fusion/equal weights"].metrics)
    assert all(report.num_labels_used == 12 for report in reports.values())


def test_at_random_initialisation_every_stream_is(small_store, small_encoder, streams):
    task = StreamFusion(StreamFusionConfig(runs=(streams / "bone",)))
    context = TaskContext(device="cpu", precision="fp32", origin=Origin("random", seed=5))
    reports = {report.task: report for report in task.run(small_encoder.fresh(5), _data(small_store), context)}
    assert reports["stream_fusion/bone"].predictions["top1"] == _logistic(_encoder("bone", 5), small_store)
    assert reports["stream_fusion/bone"].source == "random"
    assert reports["stream_fusion/bone"].settings["encoder"] == "random, seed 5"


def test_folds_and_baselines_share_what_was_loaded(small_store, small_runs, streams, monkeypatch):
    from marrow.tasks.recognition import stream_fusion

    loaded = []
    load = stream_fusion.load_encoder
    monkeypatch.setattr(stream_fusion, "load_encoder", lambda run: loaded.append(run) or load(run))
    task = StreamFusion(StreamFusionConfig(runs=(streams / "bone",)))
    found = evaluate(small_runs[0], small_store, "leave-one-out:subject", tasks=[task], context=CPU)
    assert len(loaded) == 2, "once trained, once to be at random initialisation; not in each of four folds"
    variants = {report.task for report in found.reports if report.source == "trained"}
    assert variants == {f"stream_fusion/{name}" for name in ("published weights", "equal weights", "joint", "bone")}
    assert all(len(report.predictions["top1"]) == 24 for report in found.reports if report.source != "raw")


def test_it_passes_the_check_of_tasks(monkeypatch):
    """With the encoder that is checked as both streams."""
    monkeypatch.setattr(
        StreamFusion,
        "_streams",
        lambda self, encoder, *_: ({"joint": encoder, "bone": encoder}, {"joint": "", "bone": ""}),
    )
    check_task(StreamFusion())


def test_what_cannot_be_fused_says_why(small_store, small_encoder, streams):
    data = _data(small_store)
    assert "none are given (stream_fusion.runs)" in unsuited(StreamFusion(), data)
    assert unsuited(StreamFusion(StreamFusionConfig(runs=(streams / "bone",))), data) is None
    for runs, message in (
        ((), "needs the encoders of other streams"),
        (("again",), "again and the evaluated encoder both see the stream 'joint'"),
        (("bone", "bone"), "both see the stream 'bone'; give one encoder for each stream"),
        (("other_skeleton",), "other_skeleton was trained on the skeleton 'kinect_v2_25'"),
    ):
        task = StreamFusion(StreamFusionConfig(runs=tuple(streams / run for run in runs)))
        with pytest.raises(ConfigError, match=message):
            task.run(small_encoder, data, CPU)
    small_encoder.input = type("Other", (), {"stream": "depth"})()
    with pytest.raises(ConfigError, match="'depth', for which there is no published weight; streams are joint, bone"):
        StreamFusion(StreamFusionConfig(runs=(streams / "bone",))).run(small_encoder, data, CPU)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((1.0,), "expected 2, one for the encoder that is evaluated and one for each of the 1 runs, got 1"),
        ((1.0, -1.0), "must not be negative"),
        ((0.0, 0.0), "nor all zero"),
    ],
)
def test_weights_that_are_none_are_refused(tmp_path, weights, message):
    with pytest.raises(ConfigError, match=message):
        StreamFusionConfig(runs=(tmp_path,), weights=weights)
