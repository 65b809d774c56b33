"""Action detection: its windows, its loss, its control, and the whole task on encoders whose quality is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.data.recordings import Recordings
from marrow.data.window import InputConfig
from marrow.errors import ConfigError, DataError
from marrow.models.encoder import Features
from marrow.models.frame_transformer import FrameTransformer, FrameTransformerConfig
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.skeleton.layout import KINECT_V1_20, KINECT_V2_25
from marrow.skeleton.sequence import Record, Segment, SkeletonSequence
from marrow.store.memory import write_store
from marrow.synthetic.actions import CLASSES as SYNTHETIC_CLASSES
from marrow.synthetic.generator import SyntheticConfig, make_recording
from marrow.tasks.base import Origin, Task, TaskContext, TaskData
from marrow.tasks.detection.baselines import raw_detection
from marrow.tasks.detection.config import DetectionConfig
from marrow.tasks.detection.recordings import frame_labels, reordered, windows_of
from marrow.tasks.detection.task import ActionDetection
from marrow.tasks.detection.training import Detection, StepHead, spread, train_detector
from marrow.testing.detection import PoseEncoder, check_detection_task, detection_data
from marrow.train.optim import OptimizerConfig

CONTEXT = TaskContext(device="cpu", precision="fp32")
CONFIG = DetectionConfig(
    window_seconds=2.0,
    stride_seconds=0.5,
    steps=60,
    warmup_steps=5,
    hidden_width=32,
    dropout=0.1,
    optimizer=OptimizerConfig(learning_rate=1e-2),
    # Segments of the test recordings last a second.
    smoothing_frames=0,
    shuffle_control=False,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return detection_data(tmp_path_factory.mktemp("detection") / "store")


def test_the_task_keeps_its_promises():
    check_detection_task(ActionDetection(replace(CONFIG, shuffle_control=True)), CONTEXT)


def test_the_task_has_a_name_and_a_small_size():
    task = ActionDetection()
    assert isinstance(task, Task)
    assert task.name == "action_detection"
    assert task.quick().config.steps < task.config.steps


# Frames, steps, windows


def test_frames_have_the_class_of_their_segment_or_the_background():
    segments = [Segment(1, 3, 0), Segment(5, 9, 1), Segment(8, 9, 0)]
    assert frame_labels(segments, 7, 2).tolist() == [2, 0, 0, 2, 2, 1, 1]
    assert frame_labels(segments, 10, 2).tolist() == [2, 0, 0, 2, 2, 1, 1, 1, 0, 2]


def test_steps_are_spread_over_frames_in_straight_lines():
    # Frame f of 4 lies at (f + 1/2) 2/4 - 1/2 = -1/4, 1/4, 3/4, 5/4 of the steps 0 and 1, held at both ends.
    scores = torch.tensor([[[0.0], [4.0]]])
    assert spread(scores, torch.ones(1), torch.tensor([4]))[0, :, 0].tolist() == [0.0, 1.0, 3.0, 4.0]
    # As many frames as steps: each its own. One step: the same everywhere.
    steps = torch.arange(5.0)[None, :, None]
    assert torch.equal(spread(steps, torch.ones(1), torch.tensor([5])), steps)
    assert spread(steps[:, 3:4], torch.ones(1), torch.tensor([3]))[0, :, 0].tolist() == [3.0, 3.0, 3.0]


def test_steps_behind_the_end_of_a_window_say_nothing():
    # The first window fills half of four steps: as if it had only two. The second fills all.
    scores = torch.tensor([[[0.0], [4.0], [99.0], [99.0]], [[0.0], [1.0], [2.0], [3.0]]])
    both = spread(scores, torch.tensor([0.5, 1.0]), torch.tensor([4, 4]))[:, :, 0]
    assert both.tolist() == [[0.0, 1.0, 3.0, 4.0], [0.0, 1.0, 2.0, 3.0]]


def test_windows_have_the_same_duration_at_every_rate():
    flags = [np.ones((1, frames, 20), bool) for frames in (40, 100, 15)]
    arrays = tuple((np.zeros((*one.shape, 3), np.float32), one) for one in flags)
    recordings = Recordings(arrays, np.arange(3), (10.0, 25.0, 10.0), KINECT_V1_20)
    # Two seconds are 20 and 50 frames, every second 10 and 25; the third recording is shorter than a window.
    expected = [[0, 0, 20], [0, 10, 20], [0, 20, 20], [2, 0, 15], [1, 0, 50], [1, 25, 50], [1, 50, 50]]
    assert windows_of(recordings, 2.0, 1.0).tolist() == expected


def test_a_head_averages_the_bodies_that_are_there():
    torch.manual_seed(0)
    head = StepHead(joints=2, dim=3, classes=4, hidden_width=8)
    tokens = torch.randn(1, 2, 5, 2, 3)
    present = torch.ones(1, 2, 5, 2, dtype=torch.bool)
    present[:, 1] = False
    alone = head(Features(tokens[:, :1], present[:, :1]))
    torch.testing.assert_close(head(Features(tokens, present)), alone)
    assert alone.shape == (1, 5, 4)


def _detection(labels: list[int], weight: list[float]) -> tuple[Detection, Batch]:
    """Make two windows of 4 and 3 frames over 6 labelled frames, on an encoder that sees nothing."""
    config = replace(CONFIG, dropout=0.0, hidden_width=4)
    head = StepHead(1, 4, 3, 4)
    torch.nn.init.zeros_(head.classify.weight)
    head.classify.bias.data = torch.tensor([1.0, 0.0, 0.0])
    windows = torch.tensor([0, 3]), torch.tensor([4, 3])
    detection = Detection(PoseEncoder(4), head, config, torch.tensor(labels), *windows, torch.tensor(weight))
    joints = torch.zeros(2, 1, 4, 20, 3)
    present = torch.ones(joints.shape[:-1], dtype=torch.bool)
    return detection, Batch(joints, present, torch.full((2,), -1), torch.arange(2))


def test_the_loss_counts_frames_by_their_class():
    # All frames have the scores 1, 0, 0: z = log(e + 2); class 0 costs z - 1, the others z. Window 0 has the classes
    # 0 1 - 2 (one unknown), window 1 has 2 2 0. Weights 1, 2, 3: 1 + 2 + 3 + 3 + 3 + 1 = 13; costs: 13 z - 2.
    detection, batch = _detection([0, 1, -1, 2, 2, 0], [1.0, 2.0, 3.0])
    z = float(np.log(np.e + 2))
    with torch.no_grad():
        output = detection(batch, detection.sample(batch, Draws(0, 0, torch.arange(2))))
    assert float(output.weight) == 13.0
    assert float(output.loss_sum) == pytest.approx(13 * z - 2, rel=1e-5)
    assert float(output.metrics["train_frame_accuracy_percent"]) == pytest.approx(200.0)


# Training and prediction


def test_pre_training_decays_the_layers_and_training_from_scratch_does_not(data):
    encoder, short = PoseEncoder(20), replace(CONFIG, steps=2, warmup_steps=0)
    report = ActionDetection(short).run(encoder, data, CONTEXT)[0]
    scratch = ActionDetection(short).run(encoder, data, replace(CONTEXT, origin=Origin(source="random")))[0]
    assert (report.settings["layer_decay"], scratch.settings["layer_decay"]) == (0.8, 1.0)
    assert (report.source, scratch.source) == ("trained", "random")
    assert report.cost["steps_done"] == 2


def test_a_frozen_encoder_stays_and_a_tuned_one_does_not(data):
    recordings = Recordings.of(data.store, data.train_rows[:2])
    labels = [np.zeros(frames, np.int64) for frames in recordings.frame_count]
    short = replace(CONFIG, steps=2, warmup_steps=0)
    scales = []
    for kind in ("finetune", "frozen"):
        config = replace(short, encoder=kind)
        encoder = train_detector(PoseEncoder(20), recordings, labels, 2, config, CONTEXT).encoder
        assert isinstance(encoder, PoseEncoder)
        scales.append(encoder.scale)
    assert not torch.equal(scales[0], torch.ones(4))
    assert torch.equal(scales[1], torch.ones(4))


def test_long_steps_of_time_find_most(data):
    report = ActionDetection(CONFIG).run(PoseEncoder(20, frames_per_token=5), data, CONTEXT)[0]
    assert report.metrics["frame_accuracy_percent"] > 80.0
    assert report.metrics["segment_f1_10_percent"] > 90.0


def _with_gap(folder, data: TaskData, recorded: bool) -> TaskData:
    """Let the body vanish from frames 10 to 20 of every recording, and let only even frames be recorded."""
    sequences = []
    for row in range(len(data.store.ids)):
        sequence = data.store.sequence(row)
        present = sequence.present.copy()
        present[:, 10:20] = False
        joints = sequence.joints * present[..., None]
        at = np.arange(0, present.shape[1], 2) if recorded else None
        sequences.append(replace(sequence, joints=joints, present=present, recorded=at))
    store = write_store(folder, sequences, source="gap", classes=data.classes)
    return replace(data, store=store)


def test_frames_without_a_body_are_background_and_others_than_recorded_do_not_count(data, tmp_path):
    gap = _with_gap(tmp_path / "all", data, recorded=False)
    even = _with_gap(tmp_path / "even", data, recorded=True)
    short = ActionDetection(replace(CONFIG, steps=10))
    whole, half = (short.run(PoseEncoder(20), each, CONTEXT)[0].detail["recordings"] for each in (gap, even))
    for entry, other in zip(whole, half, strict=True):
        assert not any(start < 20 and end > 10 for start, end, _ in entry["predicted"])
        assert not any(start < 20 and end > 10 for _, start, end, _ in entry["proposals"])
        assert entry["predicted"] == other["predicted"]
        assert sum(entry["frame_counts"]["true"]) == entry["frames"]
        assert sum(other["frame_counts"]["true"]) == (entry["frames"] + 1) // 2


def test_folds_are_scored_as_one(data):
    task = ActionDetection(replace(CONFIG, steps=10, shuffle_control=True))
    encoder = PoseEncoder(20)
    whole = task.run(encoder, data, CONTEXT)[0]
    parts = [task.run(encoder, replace(data, test_rows=rows), CONTEXT)[0] for rows in np.split(data.test_rows, 2)]
    pooled = task.pool(parts)
    assert pooled.metrics == pytest.approx(whole.metrics)
    assert [one["row"] for one in pooled.detail["recordings"]] == data.test_rows.tolist()
    assert parts[0].metrics != whole.metrics


@pytest.mark.parametrize("kind", ["patches", "frames, as recorded"])
def test_recordings_of_two_bodies_with_gaps_on_the_library_s_encoders(kind, tmp_path):
    records = [Record(f"r{n}", attributes={"subject": n, "camera": 0, "repetition": 0}) for n in range(2)]
    sequences = [make_recording(SyntheticConfig(dropouts=3.0), record, actions=(2, 2)) for record in records]
    store = write_store(tmp_path / "store", sequences, source="synthetic", classes=SYNTHETIC_CLASSES)
    data = TaskData(store, np.array([0]), np.array([1]), "one of each")
    if kind == "patches":
        input = InputConfig(window_frames=32, alignment="body")
        encoder = PatchTransformer(PatchTransformerConfig(16, 1, 2, 2.0, 8), input, KINECT_V2_25)
    else:
        input = InputConfig(window_frames=48, alignment="yaw", pace="recorded")
        encoder = FrameTransformer(FrameTransformerConfig(width=16, depth=1, heads=2), input, KINECT_V2_25)
    report = ActionDetection(DetectionConfig()).quick().run(encoder, data, CONTEXT)[0]
    assert all(np.isfinite(list(report.metrics.values())))
    assert len(report.detail["recordings"]) == len(report.detail["shuffled"]) == 1


# Baseline and control


def test_the_nearest_coordinates_find_what_can_be_seen(data):
    report = raw_detection(data, CONTEXT, CONFIG)
    assert (report.task, report.source) == ("action_detection/knn", "raw")
    assert report.metrics["frame_f1_actions_percent"] > 98.0
    assert report.num_labels_used == sum(len(data.store.segments(int(row))) for row in data.train_rows)


def test_coordinates_in_an_image_are_not_turned(tmp_path):
    """Two poses that differ by nothing but the side to which somebody faces are two classes in an image."""
    flat = replace(KINECT_V1_20, dimensions=2)
    pose = np.random.default_rng(0).normal(size=(20, 3)) * [1, 1, 0]
    poses = np.stack([pose * [side, 1, 1] for side in np.repeat([1, -1, 1, -1], 30)])[None].astype(np.float32)
    segments = (Segment(0, 30, 0), Segment(30, 60, 1), Segment(60, 90, 0), Segment(90, 120, 1))
    present = np.ones(poses.shape[:3], np.bool_)
    clips = [SkeletonSequence(poses, present, 30.0, flat, Record(name), segments) for name in "ab"]
    store = write_store(tmp_path / "store", clips, source="test", classes=("left", "right"))
    report = raw_detection(TaskData(store, np.array([0]), np.array([1]), "test"), CONTEXT, CONFIG)
    assert report.metrics["frame_f1_actions_percent"] == 100.0


def test_another_order_by_hand():
    # Ten frames, the actions at [1, 4) and [6, 8): cut in the middle of [4, 6), at 5. The hip is at x = frame and at
    # height 1, in the second half at height 3. The second piece comes first, frames 5..9, and ends at x = 9; the first
    # piece began at x = 0 and is moved there, its height stays.
    exchanges = next(seed for seed in range(9) if np.random.default_rng(seed).permutation(2).tolist() == [1, 0])
    joints = np.zeros((1, 10, 20, 3), np.float32)
    joints[0, :, :, 0] = np.arange(10)[:, None]
    joints[0, :, :, 1] = np.where(np.arange(10) < 5, 1.0, 3.0)[:, None]
    present = np.ones((1, 10, 20), bool)
    clip = joints, present
    (moved, flags), segments, recorded = reordered(
        clip, [Segment(6, 8, 1), Segment(1, 4, 0)], np.array([0, 5, 7]), np.random.default_rng(exchanges), KINECT_V1_20
    )
    assert segments == [Segment(1, 3, 1), Segment(6, 9, 0)]
    assert moved[0, :, 0, 0].tolist() == [5, 6, 7, 8, 9, 9, 10, 11, 12, 13]
    assert moved[0, :, 0, 1].tolist() == [3] * 5 + [1] * 5
    assert recorded.tolist() == [0, 2, 5]
    assert flags.all()
    assert joints[0, :, 0, 0].tolist() == list(range(10))


def test_another_order_keeps_what_is_in_a_recording(data):
    clip, segments = data.store.frames(0), data.store.segments(0)
    frames = clip[1].shape[1]
    (joints, _), moved, recorded = reordered(
        clip, segments, np.arange(frames), np.random.default_rng(0), data.store.skeleton
    )
    assert joints.shape == clip[0].shape
    assert len(recorded) == frames
    durations = [sorted((one.label, one.end_frame - one.start_frame) for one in each) for each in (segments, moved)]
    assert durations[0] == durations[1]
    assert [one.label for one in moved] != [one.label for one in segments]


# What is refused


def test_clips_without_segments_are_not_for_it(tmp_path):
    joints = np.zeros((1, 4, 20, 3), np.float32)
    clips = [
        SkeletonSequence(joints, np.ones((1, 4, 20), bool), 30.0, KINECT_V1_20, Record(f"clip{n}")) for n in range(2)
    ]
    store = write_store(tmp_path / "store", clips, source="clips", classes=("a",))
    data = TaskData(store, np.array([0]), np.array([1]), "half")
    task = ActionDetection(CONFIG)
    assert task.unsuited(data) == (
        "none of the 1 training clips has a labelled segment; it is for untrimmed recordings"
    )
    with pytest.raises(DataError, match="action detection is not for protocol 'half': none of the 1 training clips"):
        task.run(PoseEncoder(20), data, CONTEXT)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window_seconds": 0.0}, "window_seconds must be positive, got 0.0"),
        ({"window_seconds": 1.0, "stride_seconds": 2.0}, "must not exceed action_detection.window_seconds"),
        (
            {"steps": 10, "warmup_steps": 10},
            "got 10 of 10; for so short a training set action_detection.warmup_steps to 1",
        ),
        ({"smoothing_frames": -1}, "smoothing_frames must not be negative"),
        ({"threshold": 1.0}, r"threshold must lie in \[0, 1\)"),
        ({"most_overlap": 0.0}, r"most_overlap must lie in \(0, 1\]"),
        ({"batch_windows": 0}, "batch_windows must be at least 1, got 0"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        DetectionConfig(**settings)
