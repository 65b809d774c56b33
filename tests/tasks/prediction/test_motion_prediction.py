"""Motion prediction: windows, the way back to metres, absent joints, folds, both modes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from marrow.data.augment import AugmentConfig
from marrow.data.recordings import Recordings, sliding
from marrow.data.window import InputConfig
from marrow.errors import ConfigError, DataError
from marrow.models.encoder import Features
from marrow.models.frame_transformer import FrameTransformer, FrameTransformerConfig
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.skeleton.layout import H36M_32, KINECT_V1_20
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.memory import write_store
from marrow.tasks.base import Origin, Report, TaskContext, TaskData, unsuited
from marrow.tasks.prediction.baselines import raw_prediction
from marrow.tasks.prediction.config import PredictionConfig
from marrow.tasks.prediction.forecaster import (
    ForecastHead,
    Forecasting,
    TrainedForecaster,
    encoder_batch,
    slow_functions,
)
from marrow.tasks.prediction.kept import load_forecaster, save_forecaster
from marrow.tasks.prediction.task import MotionPrediction, train_forecaster
from marrow.tasks.prediction.windows import held
from marrow.testing.prediction import check_prediction_task
from marrow.train.device import make_fabric

TINY = PredictionConfig(
    observed_frames=8,
    predicted_frames=10,
    step_frames=4,
    recent_frames=4,
    train_stride=1,
    test_stride=1,
    steps=4,
    warmup_steps=1,
    batch_windows=4,
    hidden_width=16,
    functions=5,
)
CPU = TaskContext(device="cpu", precision="fp32")
JOINTS = len(KINECT_V1_20.joints)


def store_of(path, clips, fps=25.0, skeleton=KINECT_V1_20, source="test", attributes=None):
    sequences = []
    for row, (joints, present) in enumerate(clips):
        record = Record(f"clip{row}", attributes={} if attributes is None else attributes[row])
        sequences.append(SkeletonSequence(joints.astype(np.float32), present, fps, skeleton, record))
    return write_store(path, sequences, source=source)


def whole(joints):
    return joints, np.ones(joints.shape[:3], np.bool_)


def halves(store, train, test):
    return TaskData(store, np.array(train), np.array(test), "test")


def encoder(alignment="body", **window):
    config = PatchTransformerConfig(width=16, depth=1, heads=2, patch_frames=4)
    return PatchTransformer(config, InputConfig(window_frames=8, alignment=alignment, **window), KINECT_V1_20).fresh(0)


def forecaster(an_encoder, config=TINY, moved=None):
    """A forecaster whose head says a constant displacement in aligned coordinates, where one is given."""
    head = ForecastHead(JOINTS, 16, JOINTS, 0, torch.zeros(2, config.learned_frames, 3), config)
    if moved is not None:
        head.forward = lambda features, poses, kept=None, rate=0.0: moved.expand(len(poses), poses.shape[1], -1, -1, -1)
    return TrainedForecaster(
        Forecasting(an_encoder, head, config).eval(), make_fabric("cpu", "fp32")[0], 0, 0.0, AugmentConfig()
    )


@pytest.mark.parametrize("mode", ["direct", "autoregressive"])
def test_task_passes_the_checks(mode):
    check_prediction_task(MotionPrediction(replace(TINY, mode=mode)))


def test_an_encoder_with_a_longer_summary_forecasts_and_is_kept(tmp_path):
    """Its summary is the average, the highest and the lowest of the tokens of two blocks: six times the width."""
    config = PatchTransformerConfig(width=16, depth=2, heads=2, patch_frames=4, summary_blocks=(1, 2))
    summarising = PatchTransformer(config, InputConfig(window_frames=8), KINECT_V1_20).fresh(0)
    joints = np.random.default_rng(0).normal(size=(1, 18, JOINTS, 3)).astype(np.float32)
    recordings = Recordings((whole(joints),), np.zeros(1, np.int64), (25.0,), KINECT_V1_20)
    trained = train_forecaster(summarising, recordings, sliding(recordings, 18, 1, whole=True), TINY, CPU)
    assert trained.forecasting.head.read.in_features == JOINTS * 16 + 6 * 16
    save_forecaster(tmp_path, trained, Report("motion_prediction", {}), {})
    observed = [whole(joints[:, :8])]
    np.testing.assert_array_equal(trained.forecast(observed), load_forecaster(tmp_path)[0].forecast(observed))


def test_gaps_are_held_from_the_frame_before_and_the_first_from_after():
    # Seen at 5 and 7 in frames 1 and 3 of 5; the second joint never.
    joints = torch.tensor([[9.0, 5.0, 9.0, 7.0, 9.0], [9.0] * 5]).T.reshape(1, 1, 5, 2, 1).expand(-1, -1, -1, -1, 3)
    present = torch.tensor([[0, 1, 0, 1, 0], [0] * 5]).T.reshape(1, 1, 5, 2).bool()
    assert held(joints, present)[0, 0, :, 0, 2].tolist() == [5.0, 5.0, 5.0, 7.0, 7.0]
    assert not held(joints, present)[0, 0, :, 1].any()


def test_slow_functions_start_at_zero_and_end_level():
    # sin(pi t / 4) at t = 1, 2 of 2 is sqrt(1/2), 1; and of the second one, sin(3 pi t / 4), sqrt(1/2), -1.
    np.testing.assert_allclose(slow_functions(2, 5), [[0.5**0.5, 0.5**0.5], [1.0, -1.0]], atol=1e-6)


@pytest.mark.parametrize("alignment", ["none", "yaw", "body"])
def test_a_new_head_says_what_least_squares_say(alignment):
    trained = forecaster(encoder(alignment))
    joints = np.random.default_rng(0).normal(size=(1, 8, JOINTS, 3)).astype(np.float32)
    still = trained.forecast([whole(joints)])
    np.testing.assert_allclose(still[0], np.repeat(joints[:, -1:], 10, axis=1), atol=1e-6)
    # However the body is turned and scaled for the encoder: the centre goes twice as far as in its last step, the
    # others, relative to it, back by half of the step before that.
    trained.forecasting.head.weights[0, :, 2], trained.forecasting.head.weights[1, :, 1] = 2.0, -0.5
    steps = np.diff(joints[0, -4:], axis=0)
    centre, relative = steps[2, :1], steps[1] - steps[1, :1]
    expected = joints[0, -1] + 2.0 * centre - 0.5 * relative
    moved = trained.forecast([whole(joints)])
    np.testing.assert_allclose(moved[0, 0], np.repeat(expected[None], 10, axis=0), atol=2e-5)


@pytest.mark.parametrize("alignment", ["none", "yaw", "body"])
def test_displacements_come_back_into_the_room(alignment):
    # A body that looks along +x (left to right is -z), 2 m from hip to shoulder centre. The head says: 0.1 up and 0.2
    # to the right, in aligned coordinates, where the right is +x. In the room the right is -z, and after "body" the
    # unit is 2 m.
    pose = np.zeros((JOINTS, 3))
    at = KINECT_V1_20.anchors
    pose[[at["left_hip"], at["left_shoulder"]], 2], pose[[at["right_hip"], at["right_shoulder"]], 2] = 0.3, -0.3
    pose[at["chest"], 1] = 2.0
    joints = np.broadcast_to(pose + np.array([5.0, 1.0, 7.0]), (1, 8, JOINTS, 3)).astype(np.float32)
    moved = torch.tensor([0.2, 0.1, 0.0])
    forecast = forecaster(encoder(alignment), moved=moved.expand(1, 1, 10, JOINTS, 3)).forecast([whole(joints)])
    expected = {"none": [0.2, 0.1, 0.0], "yaw": [0.0, 0.1, -0.2], "body": [0.0, 0.2, -0.4]}[alignment]
    np.testing.assert_allclose(forecast[0] - joints[:, -1:], np.broadcast_to(expected, (1, 10, JOINTS, 3)), atol=2e-6)


def test_the_autoregressive_mode_feeds_forecasts_back():
    # Three times 4 frames, of which 10 are wanted; every time the body moves on by 1, 2, 3 and 4 m.
    config = replace(TINY, mode="autoregressive")
    moved = torch.arange(1.0, 5.0)[:, None, None] * torch.tensor([1.0, 0.0, 0.0])
    fed = forecaster(encoder("none"), config, moved.expand(4, JOINTS, 3)[None, None])
    joints = np.zeros((1, 8, JOINTS, 3), np.float32)
    forecast = fed.forecast([whole(joints)])
    assert forecast[0, 0, :, 0, 0].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]


def test_the_observation_fits_any_window_of_the_encoder():
    # 8 frames at x = 0..7 in a window of 4: (i + 1/2) 2 - 1/2 = 0.5, 2.5, 4.5, 6.5. At the recorded pace: as they are.
    joints = torch.arange(8.0).reshape(1, 1, 8, 1, 1).expand(1, 2, 8, JOINTS, 3)
    present = torch.ones(1, 2, 8, JOINTS, dtype=torch.bool)
    present[:, 1] = False
    batch = encoder_batch(joints, present, InputConfig(window_frames=4), KINECT_V1_20)
    assert batch.joints[0, 0, :, 3, 1].tolist() == [0.5, 2.5, 4.5, 6.5]
    assert batch.present[0].any((1, 2)).tolist() == [True, False]
    recorded = InputConfig(window_frames=30, pace="recorded", min_frames=4)
    assert encoder_batch(joints, present, recorded, KINECT_V1_20).joints[0, 0, :, 3, 1].tolist() == list(range(8))
    motion = InputConfig(window_frames=8, stream="motion")
    moving = encoder_batch(joints, present, motion, KINECT_V1_20)
    assert moving.joints[0, 0, :, 3, 1].tolist() == [1.0] * 7 + [0.0]


def test_loss_is_the_mean_distance_and_that_of_the_steps():
    # Nothing is said to move; what comes is 3 cm, then 4 cm aside: positions (3 + 4) / 2 = 3.5, steps (3 + 1) / 2 = 2.
    config = replace(TINY, predicted_frames=2, fps=12.5, dropout=0.0, velocity_weight=0.5)
    joints = torch.zeros(1, 1, 10, JOINTS, 3)
    joints[:, :, 8, :, 0], joints[:, :, 9, :, 0] = 0.03, 0.04
    batch = encoder_batch(joints, torch.ones(1, 1, 10, JOINTS, dtype=torch.bool), InputConfig(10), KINECT_V1_20)
    forecasting = forecaster(encoder("none"), config).forecasting
    output = forecasting(batch, None)
    assert output.loss_sum.item() == pytest.approx(0.035 + 0.5 * 0.02, rel=1e-4)
    assert output.weight.item() == 1.0
    # Half of the joints are absent in the last frame: positions (2 * 3 + 4) / 3, steps (2 * 3 + 1) / 3.
    batch.present[:, :, 9, : JOINTS // 2] = False
    assert forecasting(batch, None).loss_sum.item() == pytest.approx((0.10 + 0.5 * 0.07) / 3, rel=1e-4)
    # What was never observed cannot be forecast: nothing is left to learn from.
    batch.present[:, :, :8] = False
    nothing = forecasting(batch, None)
    assert nothing.loss_sum.item() < 1e-5
    assert nothing.weight.item() == 0.0


def test_loss_counts_posture_besides_the_way_through_the_room():
    # The body moves by 3 cm, one joint of it by 6 cm more: rooms (19 * 3 + 9) / 20, posture 6 / 20.
    config = replace(TINY, predicted_frames=2, fps=12.5, dropout=0.0, velocity_weight=0.0, centred_weight=0.5)
    joints = torch.zeros(1, 1, 10, JOINTS, 3)
    joints[:, :, 8:, :, 0] = 0.03
    joints[:, :, 8:, 7, 0] += 0.06
    batch = encoder_batch(joints, torch.ones(1, 1, 10, JOINTS, dtype=torch.bool), InputConfig(10), KINECT_V1_20)
    forecasting = forecaster(encoder("none"), config).forecasting
    expected = (0.03 * 19 + 0.09) / 20 + 0.5 * 0.06 / 20
    assert forecasting(batch, None).loss_sum.item() == pytest.approx(expected, rel=1e-4)


def test_absent_places_change_nothing():
    rng = np.random.default_rng(0)
    joints = rng.normal(size=(1, 8, JOINTS, 3)).astype(np.float32)
    present = rng.random((1, 8, JOINTS)) > 0.2
    trained = forecaster(encoder("yaw"))
    torch.nn.init.normal_(trained.forecasting.head.say.weight)
    ours = trained.forecast([(joints, present)])
    assert np.abs(np.diff(ours, axis=2)).max() > 0.01  # the head says something
    theirs = trained.forecast([(np.where(present[..., None], joints, np.float32(7.0)), present)])
    np.testing.assert_array_equal(ours, theirs)


def test_every_parameter_of_the_head_learns():
    config = replace(TINY, dropout=0.0)
    head = ForecastHead(JOINTS, 16, JOINTS, 0, torch.zeros(2, 10, 3), config)
    torch.nn.init.normal_(head.say.weight)
    features = Features(torch.randn(2, 1, 2, JOINTS, 16), torch.ones(2, 1, 2, JOINTS, dtype=torch.bool))
    head(features, torch.randn(2, 1, 8, JOINTS, 3)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in head.parameters())


def test_motion_that_can_be_foreseen_is_foreseen(tmp_path):
    """Bodies bounce at one pace: after training, forecasts are far below those that need no encoder."""
    rng = np.random.default_rng(0)
    clips = []
    for _ in range(8):
        time = np.arange(60)[:, None, None] + rng.uniform(0, 100)
        pose = np.random.default_rng(1).normal(size=(1, JOINTS, 3)) * 0.3
        swing = 0.4 * np.abs(np.sin(0.15 * time)) * np.array([1.0, 0.5, 0.0])
        clips.append(whole((pose + swing * (np.arange(JOINTS) % 2)[:, None])[None]))
    data = halves(store_of(tmp_path / "store", clips), range(6), [6, 7])
    config = replace(TINY, steps=150, warmup_steps=10, batch_windows=32, hidden_width=64, functions=8, train_stride=1)
    (ours,) = MotionPrediction(config).run(encoder(), data, CPU)
    for baseline in raw_prediction(data, CPU, config):
        assert ours.metrics["mpjpe_400ms_mm"] < 0.3 * baseline.metrics["mpjpe_400ms_mm"]


@pytest.mark.parametrize("begins_with", ["linear_regression", "zero_velocity"])
def test_what_is_learned_is_added_to_a_forecast_that_needs_no_encoder(tmp_path, begins_with):
    rng = np.random.default_rng(0)
    clips = [whole(np.cumsum(rng.normal(size=(1, 40, JOINTS, 3)), axis=1)) for _ in range(3)]
    data = halves(store_of(tmp_path / "store", clips), [0, 1], [2])
    # One step at next to no learning rate, in which the head learns to say next to nothing.
    optimizer = replace(TINY.optimizer, learning_rate=1e-9)
    config = replace(TINY, begins_with=begins_with, steps=1, warmup_steps=0, min_learning_rate=0.0, optimizer=optimizer)
    (ours,) = MotionPrediction(config).run(encoder(), data, CPU)
    (same,) = (each for each in raw_prediction(data, CPU, config) if each.task.endswith(begins_with.replace("_", " ")))
    assert ours.metrics == pytest.approx(same.metrics, rel=1e-3)


def test_other_encoders_and_bf16(tmp_path):
    rng = np.random.default_rng(0)
    clips = [whole(rng.normal(size=(bodies, 30, JOINTS, 3))) for bodies in (1, 2, 2)]
    data = halves(store_of(tmp_path / "store", clips), [0, 1], [2])
    frames = FrameTransformerConfig(width=16, depth=1, heads=2)
    other = FrameTransformer(frames, InputConfig(20, "motion", "yaw", pace="recorded", min_frames=4), KINECT_V1_20)
    context = replace(CPU, precision="bf16", origin=Origin(source="random"), max_steps=2)
    (report,) = MotionPrediction(TINY).run(other.fresh(0), data, context)
    assert report.source == "random"
    assert report.cost["steps_done"] == 2
    assert report.settings["encoder_rate"] == 1.0
    assert report.settings["start"] == "from scratch"
    assert set(report.metrics) == {f"mpjpe{kind}_{ms}ms_mm" for kind in ("", "_root") for ms in (80, 160, 320, 400)}


def test_zero_velocity_is_scored_by_window_and_pooled_by_window(tmp_path):
    # Two clips move at 1 and 2 m/s along x; they have 2 and 1 windows of 18 frames.
    def gliding(speed, frames):
        joints = np.zeros((1, frames, JOINTS, 3))
        joints[..., 0] = speed * np.arange(frames)[:, None] / 25.0
        return whole(joints)

    store = store_of(tmp_path / "store", [gliding(1, 19), gliding(2, 18), gliding(1, 5)])
    both, one, other = (raw_prediction(halves(store, [0], test), CPU, TINY)[0] for test in ([0, 1, 2], [0], [1]))
    # At 80 ms: 80, 80 and 160 mm.
    assert both.metrics["mpjpe_80ms_mm"] == pytest.approx(320 / 3, rel=1e-4)
    assert both.metrics["mpjpe_root_80ms_mm"] == pytest.approx(0.0, abs=1e-3)
    assert both.settings["test_windows"] == 3
    assert both.noted["note"] == "1 of 3 test clips are shorter than a window (0.7 s) and left out."
    assert both.source == "raw"
    assert [part["windows"] for part in both.detail["recordings"]] == [2, 1]
    pooled = MotionPrediction(TINY).pool([one, other])
    assert pooled.metrics == pytest.approx(both.metrics)
    assert pooled.settings["test_windows"] == 3
    assert len(pooled.detail["examples"]) == 3
    example = both.detail["examples"][0]
    assert (example["row"], example["id"], example["fps"]) == (0, "clip0", 25.0)
    assert np.shape(example["observed"]) == (8, JOINTS, 3)
    # The last observed frame is number 7: 280 mm; what came is 320 mm and so on, and nothing was said to move.
    assert example["observed"][-1][0] == [280, 0, 0]
    assert [frame[0][0] for frame in example["truth"]] == list(range(320, 720, 40))
    assert [frame[0][0] for frame in example["forecast"]] == [280] * 10


def test_recordings_are_taken_at_the_rate_of_the_task(tmp_path):
    # 1 m/s at 50 frames per second, by 25: zero velocity is off by 80 mm at 80 ms whatever the rate was.
    joints = np.zeros((1, 60, JOINTS, 3))
    joints[..., 0] = np.arange(60)[:, None] / 50.0
    store = store_of(tmp_path / "store", [whole(joints)] * 2, fps=50.0)
    zero, constant, linear = raw_prediction(halves(store, [0], [1]), CPU, replace(TINY, test_stride=3))
    assert zero.metrics["mpjpe_80ms_mm"] == pytest.approx(80.0, rel=1e-3)
    # Linear interpolation keeps linear motion; the last frame may be held.
    assert constant.metrics["mpjpe_80ms_mm"] == pytest.approx(0.0, abs=0.01)
    assert linear.metrics["mpjpe_80ms_mm"] == pytest.approx(0.0, abs=0.01)


def test_data_without_long_clips_is_refused_with_numbers(tmp_path):
    store = store_of(tmp_path / "store", [whole(np.zeros((1, frames, JOINTS, 3))) for frames in (30, 17)])
    task = MotionPrediction(TINY)
    assert unsuited(task, halves(store, [0], [0])) is None
    reason = (
        "observes 8 frames and forecasts 10, 0.7 s at 25 frames per second, and the longest test clip has 17, 0.7 s"
    )
    assert reason in str(unsuited(task, halves(store, [0], [1])))
    with pytest.raises(DataError, match="longest test clip has 17"):
        task.run(encoder(), halves(store, [0], [1]), CPU)
    with pytest.raises(DataError, match="lower motion_prediction"):
        raw_prediction(halves(store, [0], [1]), CPU, TINY)
    # To learn 4 frames at a time takes shorter clips than to forecast 10.
    fed = MotionPrediction(replace(TINY, mode="autoregressive"))
    assert unsuited(fed, halves(store, [1], [0])) is None


def test_recordings_without_millimetres_are_refused(tmp_path):
    joints = np.random.default_rng(0).normal(size=(1, 60, JOINTS, 3)) * [1, 1, 0]
    store = store_of(tmp_path / "store", [whole(joints)] * 2, skeleton=replace(KINECT_V1_20, dimensions=2))
    with pytest.raises(DataError, match="millimetres, which recordings in two dimensions do not have"):
        MotionPrediction(TINY).run(encoder(), halves(store, [0], [1]), CPU)


def test_human36m_is_scored_on_its_own_windows_and_joints(tmp_path):
    # Joint 2 (a knee) of action "a" moves at 1 m/s, of "b" at 3 m/s; nothing else does. Zero velocity at 80 ms is off
    # by 80 and 240 mm in 1 of 32 joints, and actions count alike: (80 + 240) / 2 / 32 = 5. Of "c" a take is
    # missing.
    def clip(joint, speed, frames):
        joints = np.zeros((1, frames, 32, 3))
        joints[:, :, joint, 0] = speed * np.arange(frames) / 25.0
        return whole(joints)

    clips = [clip(2, 1, 200), clip(2, 1, 300), clip(2, 3, 180), clip(2, 3, 400), clip(2, 1, 200)]
    names = [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("c", 1)]
    attributes = [{"subject": 5, "action": action, "take": take} for action, take in names]
    store = store_of(tmp_path / "store", clips, skeleton=H36M_32, source="h36m", attributes=attributes)
    config = PredictionConfig()
    reports = raw_prediction(halves(store, [0], range(5)), CPU, config)
    assert [report.task for report in reports] == [
        "motion_prediction/zero velocity",
        "motion_prediction/constant velocity",
        "motion_prediction/linear regression",
        "motion_prediction/zero velocity, 8 samples",
        "motion_prediction/constant velocity, 8 samples",
        "motion_prediction/linear regression, 8 samples",
    ]
    for zero, constant, _, windows in ((*reports[:3], 512), (*reports[3:], 16)):
        assert zero.settings["test_windows"] == windows
        assert zero.metrics["mpjpe_80ms_mm"] == pytest.approx(5.0, rel=1e-3)
        assert constant.metrics["mpjpe_1000ms_mm"] == pytest.approx(0.0, abs=0.01)
        assert zero.noted["note"] == "Left out, as one of two takes is missing: S5 c."
    with pytest.raises(ConfigError, match="defined at 25 frames per second"):
        raw_prediction(halves(store, [0], range(5)), CPU, replace(config, fps=50.0))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"observed_frames": 1}, "observed_frames must be at least 2, got 1"),
        ({"recent_frames": 60}, "got 60 of 50"),
        ({"warmup_steps": 9, "steps": 9}, "fewer than motion_prediction.steps, got 9 of 9"),
        ({"predicted_frames": 1}, "none of the horizons"),
        ({"fps": 0.0}, "must be positive"),
        ({"dropout": 1.0}, "dropout must lie in"),
        ({"encoder_rate": 0.0}, "encoder_rate must lie in"),
        ({"velocity_weight": -1.0}, "must not be negative"),
        ({"centred_weight": -1.0}, "must not be negative"),
    ],
)
def test_bad_settings_are_named(wrong, message):
    with pytest.raises(ConfigError, match=message):
        PredictionConfig(**wrong)


def test_quick_is_smaller():
    task = MotionPrediction()
    assert task.quick().config.steps < task.config.steps
    assert isinstance(task.quick(), MotionPrediction)
