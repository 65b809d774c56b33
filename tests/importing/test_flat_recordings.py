"""Recordings in two dimensions, from files to a store: what is stored, doubted, and refused."""

from dataclasses import replace

import numpy as np
import pytest
from json_input import write
from test_openpose import frame

import marrow
from marrow.errors import ConfigError, DataError
from marrow.importing.importer import Recordings
from marrow.skeleton.estimators import BODY_25
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store import Store, convert_recordings, write_store
from marrow.store.summary import summarise

# A standing person in an image: how far from the middle, and how far from the top, in pixels.
_PLACES = {
    "Nose": (0, 110), "Neck": (0, 160), "MidHip": (0, 290),
    "Shoulder": (40, 160), "Elbow": (45, 230), "Wrist": (50, 290),
    "Hip": (25, 290), "Knee": (25, 370), "Ankle": (25, 450),
    "Eye": (8, 100), "Ear": (20, 105), "BigToe": (30, 465), "SmallToe": (40, 465), "Heel": (22, 460),
}  # fmt: skip


def pixels():
    """Pixels from the upper left corner; the person faces us, so that left is at the right."""
    places = []
    for name in BODY_25.joints:
        x, y = _PLACES[name.removesuffix("Left").removesuffix("Right")]
        side = 1 if name.endswith("Left") else -1 if name.endswith("Right") else 0
        places.append((300 + side * x, y))
    return np.array(places, float)


def folder_of_openpose(folder, frames=20):
    """One clip: the person goes to the right by two pixels a frame, and the left wrist rises."""
    body, wrist = pixels(), BODY_25.index("WristLeft")
    for at in range(frames):
        moved = body + np.array([2.0 * at, 0])
        moved[wrist, 1] -= 3 * at
        numbers = np.column_stack([moved, np.full(25, 0.9)]).ravel().tolist()
        write(folder / f"clip_{at:012d}_keypoints.json", frame({"person_id": [-1], "pose_keypoints_2d": numbers}))
    return folder


def test_a_recording_of_an_image_is_read_in_two_dimensions(tmp_path):
    (sequence,) = marrow.read(folder_of_openpose(tmp_path), fps=30.0)
    assert (sequence.skeleton.name, sequence.skeleton.dimensions, sequence.skeleton.up) == ("body_25", 2, "y")
    assert not sequence.joints[..., 2].any()
    neck, hips = (sequence.skeleton.index(name) for name in ("Neck", "MidHip"))
    # The trunk is 130 pixels long, and up is up.
    upward = sequence.joints[0, 0, neck] - sequence.joints[0, 0, hips]
    assert upward[1] > 0.3
    assert upward[0] == pytest.approx(0, abs=1e-6)


def test_a_store_of_an_image_doubts_nothing_that_needs_depth(tmp_path):
    reader = Recordings(fps=30.0).for_root(folder_of_openpose(tmp_path / "files"))
    assert reader.findings is not None
    assert [doubt.text for doubt in reader.findings.doubts] == []
    store = Store.open(convert_recordings(reader, tmp_path / "files", tmp_path / "store").store)
    assert store.skeleton.dimensions == 2
    summary = summarise(store)
    assert summary.warnings == ()
    assert [text.partition(":")[0] for text in summary.not_checked] == ["size of bodies", "left and right", "bones"]


def test_z_cannot_point_up_in_an_image(tmp_path):
    with pytest.raises(ConfigError, match=r"-z cannot point up \(--up\): y or -y"):
        Recordings(up="-z").for_root(folder_of_openpose(tmp_path))
    (tmp_path / "layouts").mkdir()
    joints = "\n".join(f"  {name}: {{parent: MidHip}}" for name in BODY_25.joints if name != "MidHip")
    (tmp_path / "layouts" / "mine.yaml").write_text(f"up: z\njoints:\n  MidHip:\n{joints}\n")
    with pytest.raises(ConfigError, match="'mine' z points up; the files have x and y"):
        Recordings(layout=str(tmp_path / "layouts" / "mine.yaml"), only="*.json").for_root(tmp_path)


def flat_array(path, z):
    """Write 30 frames of 8 joints with a third column that is all `z`, and a layout of them in two dimensions."""
    path.mkdir()
    time = np.arange(30)[:, None]
    positions = np.zeros((1, 30, 8, 3))
    positions[0, ..., 0] = 0.1 * np.arange(8) + 0.05 * np.sin(time / 5 + np.arange(8))
    positions[0, ..., 1] = 0.2 * np.arange(8) + 0.05 * np.cos(time / 4 + np.arange(8))
    positions[..., 2] = z
    np.save(path / "clips.npy", positions.astype(np.float32))
    joints = "\n".join(f"  j{joint}: {{parent: j{max(joint - 1, 0)}}}" for joint in range(8))
    layout = path.parent / "flat.yaml"
    layout.write_text(f"dimensions: 2\njoints:\n{joints}\n")
    return {"axes": "NTVC", "layout": str(layout), "fps": 30.0, "up": "y", "unit_metres": 1.0}


def test_a_layout_can_say_that_a_column_of_zeros_is_no_coordinate(tmp_path):
    options = flat_array(tmp_path / "zero", 0.0)
    (sequence,) = marrow.read(tmp_path / "zero", **options)
    assert sequence.skeleton.dimensions == 2
    options = flat_array(tmp_path / "one", 1.0)
    with pytest.raises(DataError, match="third coordinate must be 0, got 1"):
        marrow.read(tmp_path / "one", **options)


def of_layout(skeleton, name):
    joints = np.zeros((1, 4, 25, 3), np.float32)
    joints[..., 0] = np.arange(25) + np.arange(4)[:, None]
    return SkeletonSequence(joints, np.ones((1, 4, 25), np.bool_), 30.0, skeleton, Record(name))


def test_a_store_holds_recordings_of_two_or_of_three_dimensions(tmp_path):
    flat = replace(BODY_25, dimensions=2)
    with pytest.raises(DataError, match="b: expected the skeleton 'body_25' in 2 dimensions, got 'body_25' in 3"):
        write_store(tmp_path / "store", [of_layout(flat, "a"), of_layout(BODY_25, "b")], source="memory")
