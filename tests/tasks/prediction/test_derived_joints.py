"""Joints that nobody measured: no network sees them, stores and encoders keep them, no score counts them."""

import json

import numpy as np
import pytest
import torch
from test_motion_prediction import CPU, TINY, halves, store_of

from marrow.data.sampling import batch_from_sequences
from marrow.data.window import InputConfig
from marrow.models.export import load_encoder, save_encoder
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.skeleton.derived import with_derived, with_middles
from marrow.skeleton.estimators import COCO_17
from marrow.skeleton.places import places_of
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.format import Store
from marrow.store.memory import write_store
from marrow.store.summary import summarise
from marrow.tasks.prediction.baselines import raw_prediction
from marrow.tasks.prediction.task import MotionPrediction
from marrow.tasks.prediction.windows import centre_of

COCO_19 = with_middles(COCO_17)
HIPS = [COCO_17.index("HipLeft"), COCO_17.index("HipRight")]


def coco(seed=0, frames=20):
    joints = np.random.default_rng(seed).normal(size=(1, frames, 17, 3)).astype(np.float32)
    return SkeletonSequence(joints, np.ones((1, frames, 17), bool), 25.0, COCO_17, Record(f"clip{seed}"))


@pytest.mark.parametrize("stream", ["joint", "bone", "motion"])
def test_a_network_is_given_what_was_measured(stream):
    """Without alignment the batch is that of the 17 joints, and two that are absent."""
    window = InputConfig(window_frames=8, alignment="none", stream=stream)
    plain, whole_batch = batch_from_sequences([coco()], window), batch_from_sequences([with_derived(coco())], window)
    torch.testing.assert_close(whole_batch.joints[..., :17, :], plain.joints, rtol=0, atol=0)
    assert (whole_batch.present[..., :17] == plain.present).all()
    assert not whole_batch.present[..., 17:].any()
    assert (whole_batch.joints[..., 17:, :] == 0).all()


def test_alignment_knows_the_middles():
    sequence = coco()
    batch = batch_from_sequences(
        [with_derived(sequence)], InputConfig(window_frames=20, test_crop=1.0, alignment="body")
    )
    hips = batch.joints[0, 0][:, HIPS].mean(1)
    assert hips.mean(0).abs().max() < 1e-5, "the mean middle of the hips is the origin"


def test_a_store_and_an_encoder_keep_what_is_derived(tmp_path):
    store = write_store(tmp_path / "store", [with_derived(coco(seed)) for seed in range(3)], source="test")
    again = Store.open(store.path)
    assert again.skeleton == COCO_19
    assert places_of(again.skeleton)["hip centre"] == 18
    summary = summarise(again)
    assert summary.missing.keys() == set(COCO_17.joints), "what is derived is not missing"
    assert "MidHip" not in summary.bone_metres
    sequence = again.sequence(0)
    np.testing.assert_array_equal(sequence.joints[..., 18, :], sequence.joints[:, :, HIPS].mean(2))
    config = PatchTransformerConfig(width=16, depth=1, heads=2, patch_frames=4)
    encoder = PatchTransformer(config, InputConfig(window_frames=8), again.skeleton)
    save_encoder(encoder, tmp_path / "encoder")
    loaded = load_encoder(tmp_path / "encoder")
    assert loaded.skeleton == COCO_19
    assert places_of(loaded.skeleton) == places_of(COCO_19)
    np.testing.assert_array_equal(loaded.embed([sequence]), encoder.embed([sequence]))


def test_headers_from_before_are_read(tmp_path):
    store = write_store(tmp_path / "store", [coco()], source="test")
    described = json.loads((store.path / "store.json").read_text())["skeleton"]
    assert described.keys() == {"name", "joints", "parents", "mirror", "anchors", "up"}
    assert store.skeleton == COCO_17
    assert places_of(store.skeleton) == places_of(COCO_17)


def gliding_hips(frames=18):
    """Everything stands still but the hips, which go 40 mm a frame along x."""
    joints = np.zeros((1, frames, 17, 3), np.float32)
    joints[:, :, HIPS, 0] = 0.04 * np.arange(frames)[:, None]
    sequence = SkeletonSequence(joints, np.ones(joints.shape[:3], bool), 25.0, COCO_17, Record("one"))
    result = with_derived(sequence)
    return result.joints, result.present


def test_forecasts_are_scored_where_something_was_measured(tmp_path):
    """After 80 ms zero velocity is 80 mm off at 2 of 17 joints; root-centred at the 15 others."""
    store = store_of(tmp_path / "store", [gliding_hips()] * 2, skeleton=COCO_19)
    report = raw_prediction(halves(store, [0], [1]), CPU, TINY)[0]
    assert report.metrics["mpjpe_80ms_mm"] == pytest.approx(80 * 2 / 17, rel=1e-4)
    assert report.metrics["mpjpe_root_80ms_mm"] == pytest.approx(80 * 15 / 17, rel=1e-4)


def test_forecasts_of_an_encoder_bring_the_middles_along(tmp_path):
    store = store_of(tmp_path / "store", [gliding_hips()] * 2, skeleton=COCO_19)
    config = PatchTransformerConfig(width=16, depth=1, heads=2, patch_frames=4)
    encoder = PatchTransformer(config, InputConfig(window_frames=8, alignment="none"), COCO_19).fresh(0)
    report = MotionPrediction(TINY).run(encoder, halves(store, [0], [1]), CPU)[0]
    shown = np.array(report.detail["examples"][0]["forecast"])
    np.testing.assert_allclose(shown[:, 18], shown[:, HIPS].mean(1), atol=1.01)
    assert (COCO_19.joints[centre_of(COCO_19)], centre_of(COCO_19, is_measured=True)) == ("MidHip", 0)
