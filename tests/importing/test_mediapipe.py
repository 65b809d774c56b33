"""MediaPipe: world and image landmarks, ways of writing them, gaps, timestamps, people, and what breaks the format."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from json_input import WRONG_FILES, damaged, format_of, only_our_errors, read_all, read_one, write

from marrow.errors import ParseError
from marrow.importing.estimators.frame_numbers import FRAMES_WITHOUT_ANYBODY
from marrow.importing.estimators.landmarks import LANDMARK_NAMES
from marrow.importing.estimators.mediapipe import MediaPipe
from marrow.importing.timestamps import MISSING, NOT_ASCENDING, UNEVEN, timing_of
from marrow.readers import SkipRecording
from marrow.skeleton.estimators import MEDIAPIPE_33

READER = MediaPipe()


def landmarks(x=0.0, count=33):
    """Landmark j is at (x + j / 100, j / 50, -0.5), seen with 0.9."""
    return [{"x": x + j / 100, "y": j / 50, "z": -0.5, "visibility": 0.9} for j in range(count)]


def image(x=0.0):
    return [{"x": 0.4 + x + j / 1000, "y": j / 50, "z": -0.5, "visibility": 0.8} for j in range(33)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "phone.json"


def nose_x(recording):
    return recording.positions[:, :, 0, 0]


def test_world_landmarks_are_preferred_and_that_is_said(path):
    frames = [
        {"poseLandmarks": image(), "poseWorldLandmarks": landmarks(t / 10), "timestamp": 40 * t} for t in range(4)
    ]
    contents, recording = read_one(READER, write(path, frames))
    assert (contents.layout, contents.dimensions, contents.unit_metres, contents.up) == (MEDIAPIPE_33, 3, 1.0, "-y")
    assert contents.fps == recording.fps == 25
    assert [doubt.option for doubt in contents.doubts] == ["--fps RATE", ""]
    np.testing.assert_allclose(recording.positions[0, 2, 16], [0.36, 0.32, -0.5], rtol=1e-6)
    np.testing.assert_allclose(recording.confidence, 0.9)
    assert format_of(path) == "mediapipe"


def test_landmarks_of_the_image_are_relative(path):
    contents, recording = read_one(READER, write(path, [{"landmarks": image()}]))
    assert (contents.dimensions, contents.unit_metres, contents.up, contents.fps) == (3, 0, "-y", None)
    assert "squeezed" in contents.doubts[0].text
    assert recording.positions.shape == (1, 1, 33, 3)


def test_world_landmarks_under_another_name_are_told_by_the_hips(path):
    shown = landmarks()
    shown[23] |= {"x": 0.1, "y": 0.001, "z": 0.02}
    shown[24] |= {"x": -0.1, "y": -0.001, "z": -0.02}
    contents, _ = read_one(READER, write(path, [{"landmarks": shown}]))
    assert contents.unit_metres == 1
    assert "hips" in contents.doubts[0].text


def flat(points):
    return [point[axis] for point in points for axis in ("x", "y", "z", "visibility")]


WAYS = {
    "snake case": lambda points: {"pose_world_landmarks": points},
    "short": lambda points: {"worldLandmarks": points},
    "protobuf": lambda points: {"pose_world_landmarks": {"landmark": points}},
    "landmarker": lambda points: {"world_landmarks": [points]},
    "tensorflow": lambda points: {"keypoints3D": [{**point, "score": point["visibility"]} for point in points]},
    "poses": lambda points: [{"keypoints3D": points, "keypoints": points}],
    "inside": lambda points: {"results": {"poseWorldLandmarks": points}},
    "by name": lambda points: {
        "pose_world_landmarks": dict(
            reversed(list(zip((name.upper() for name in LANDMARK_NAMES), points, strict=True)))
        )
    },
    "by number": lambda points: {"pose_world_landmarks": {str(joint): point for joint, point in enumerate(points)}},
    "lists": lambda points: {"worldLandmarks": [[p["x"], p["y"], p["z"], p["visibility"]] for p in points]},
    "flat": lambda points: {"worldLandmarks": flat(points)},
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_ways_of_writing_landmarks(path, way):
    contents, recording = read_one(
        READER, write(path, {"fps": 30, "frames": [way(landmarks(t / 8)) for t in range(3)]})
    )
    assert (contents.unit_metres, contents.fps) == (1, 30)
    assert nose_x(recording).tolist() == [[0, 0.125, 0.25]]
    np.testing.assert_allclose(recording.positions[0, 1, 16], [0.285, 0.32, -0.5], rtol=1e-6)
    np.testing.assert_allclose(recording.confidence, 0.9)


ROOTS = {
    "frames": lambda frames: {"frames": [{"landmarks": frame} for frame in frames]},
    "lists": lambda frames: frames,
    "keypoints": lambda frames: [{"frame": number, "keypoints": frame} for number, frame in enumerate(frames)],
    "by number": lambda frames: {str(number): {"landmarks": frame} for number, frame in enumerate(frames)},
    "all in one": lambda frames: {"landmarks": frames},
}


@pytest.mark.parametrize("root", ROOTS.values(), ids=ROOTS.keys())
@pytest.mark.parametrize("nobody", [None, []])
def test_ways_of_writing_frames_and_gaps(path, root, nobody):
    _, recording = read_one(READER, write(path, root([nobody, image(0.1), nobody, image(0.2)])))
    np.testing.assert_allclose(nose_x(recording), [[np.nan, 0.5, np.nan, 0.6]], rtol=1e-6)
    assert recording.notes == ()


def test_null_frames_and_zeros_are_gaps(path):
    zero = [{"x": 0, "y": 0, "z": 0, "visibility": 0}] * 33
    one_missing = landmarks(3)
    one_missing[5] = zero[0]
    frames = [{"worldLandmarks": landmarks()}, None, {}, {"worldLandmarks": zero}, {"worldLandmarks": one_missing}]
    _, recording = read_one(READER, write(path, frames))
    np.testing.assert_array_equal(nose_x(recording), [[0, np.nan, np.nan, np.nan, 3]])
    assert np.argwhere(np.isnan(recording.positions[0, 4]).any(axis=-1)).tolist() == [[5]]


def test_one_person_is_one_body_however_long_the_gap(path):
    frames = [{"worldLandmarks": landmarks(5 * (t > 50)) if t < 10 or t > 50 else None} for t in range(60)]
    assert read_one(READER, write(path, frames))[1].positions.shape[0] == 1


def test_several_people_are_followed(path):
    frames = [
        {"landmarks": [image(0.0), image(0.5)]},
        {"landmarks": [image(0.51), image(0.01)]},
        {"landmarks": [image(0.52), image(0.02)]},
        {"landmarks": [image(0.03)]},
    ]
    _, recording = read_one(READER, write(path, frames))
    np.testing.assert_allclose(nose_x(recording), [[0.4, 0.41, 0.42, 0.43], [0.9, 0.91, 0.92, np.nan]], rtol=1e-6)


def test_frames_by_number(path):
    frames = [{"frame": number, "landmarks": image(number / 100), "time_s": number / 50} for number in (10, 11, 14)]
    contents, recording = read_one(READER, write(path, frames))
    assert recording.positions.shape[1] == 5
    assert FRAMES_WITHOUT_ANYBODY in recording.notes
    assert contents.fps == pytest.approx(50)


def test_gaps_by_timestamps(path):
    times = [1000, 1033, 1067, 1200, 1233]
    frames = [{"timestampMs": time, "worldLandmarks": landmarks()} for time in times]
    contents, recording = read_one(READER, write(path, frames))
    assert np.isnan(nose_x(recording)[0]).tolist() == [False, False, False, True, True, True, False, False]
    assert recording.notes == (MISSING,)
    assert contents.fps == 30  # seven steps in 233 ms: 30.04, whose times are rounded
    assert contents.doubts == ()


def test_a_null_frame_has_its_place_in_time(path):
    frames = [None if t == 2 else {"timestamp_ms": 40 * t, "worldLandmarks": landmarks(t)} for t in range(5)]
    contents, recording = read_one(READER, write(path, frames))
    np.testing.assert_array_equal(nose_x(recording), [[0, 1, np.nan, 3, 4]])
    assert contents.fps == 25


@pytest.mark.parametrize(
    ("stamps", "name", "fps", "doubted"),
    [
        ([0, 40, 80], "timestamp", 25, True),
        ([5.0, 5.04, 5.08], "timestamp", 25, True),
        ([0, 40_000, 80_000], "timestamp", 25, True),
        ([0, 40_000_000, 80_000_000], "timestamp", 25, True),
        ([0, 40, 80], "timestamp_ms", 25, False),
        ([0, 0.04, 0.08], "timestampInSeconds", 25, False),
        ([0, 2000, 4000], "t_us", 500, False),
        ([7], "timestamp", None, False),
        ([7, 7, 7], "timestamp", None, False),
    ],
)
def test_units_of_timestamps(stamps, name, fps, doubted):
    timing = timing_of([float(time) for time in stamps], name)
    assert timing.fps == (None if fps is None else pytest.approx(fps))
    assert timing.numbers == tuple(range(len(stamps)))
    assert bool(timing.doubts) == doubted


def test_timestamps_that_are_uneven_or_go_back():
    assert timing_of([0.0, 40.0, 55.0, 120.0, 160.0, 200.0], "ms").notes == (UNEVEN, MISSING)
    timing = timing_of([0.0, 40.0, 30.0, 70.0, 110.0], "ms")
    assert (timing.notes, timing.numbers, timing.fps) == ((NOT_ASCENDING,), (0, 1, 2, 3, 4), 25)
    assert timing_of([0.0, 1.0, 2.0, 1e9], "ms").numbers == (0, 1, 2, 3)  # no gap that anybody would fill


@pytest.mark.parametrize("rate", [0, -30, "fast", float("nan")])
def test_a_rate_that_is_none_is_not_used(path, rate):
    contents, _ = read_one(READER, write(path, {"fps": rate, "frames": [{"landmarks": image()}]}))
    assert contents.fps is None
    assert "--fps RATE" in [doubt.option for doubt in contents.doubts]


def test_timestamps_that_are_words_are_not_used(path):
    contents, _ = read_one(READER, write(path, [{"timestamp": "12:00", "landmarks": image()}]))
    assert contents.fps is None
    assert "--fps RATE" in [doubt.option for doubt in contents.doubts]


@pytest.mark.parametrize("document", [[None, None], [{"landmarks": []}], {"poseLandmarks": None}])
def test_nobody(path, document):
    with pytest.raises(SkipRecording):
        read_all(READER, [write(path, document)])


def changed(**change):
    return [{"landmarks": [*image()[:4], image()[4] | change, *image()[5:]]}]


@pytest.mark.parametrize(
    "document",
    [
        [{"landmarks": landmarks(count=32)}],
        [{"landmarks": landmarks()}, {"landmarks": landmarks(count=17)}],
        [{"landmarks": 3}],
        [{"landmarks": [1, 2, 3]}],
        [{"landmarks": ["a"] * 33}],
        [{"landmarks": [[1]] * 33}],
        [{"landmarks": {"left": {"x": 1, "y": 2}}}],
        [3],
        [{"frame": -1, "landmarks": image()}],
        [{"frame": 0, "landmarks": image()}, {"frame": 10**12, "landmarks": image()}],
        changed(x="0,5"),
        changed(x=[1]),
        changed(y=1e30),
        changed(z=float("inf")),
        changed(visibility={"a": 1}),
        *(content for name, content in WRONG_FILES.items() if name != "object"),
    ],
)
def test_what_breaks_the_format(path, document):
    write(path, document)
    with pytest.raises(ParseError) as caught:
        read_all(READER, [path])
    assert caught.value.path == path


GOOD = json.dumps(
    {"fps": 30, "frames": [{"timestamp": 33 * t, "landmarks": image()[:33], "worldLandmarks": None} for t in range(2)]}
).encode()


@settings(max_examples=100, deadline=None)
@given(content=damaged(GOOD))
def test_damaged_files_raise_our_errors_only(tmp_path_factory, content):
    only_our_errors(READER, tmp_path_factory.getbasetemp() / "mediapipe.json", content)
