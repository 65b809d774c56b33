"""The runtime's preparation is that of training: the same arrays, for every alignment, stream and pace."""

import dataclasses
import itertools
from typing import get_args

import numpy as np
import pytest

from marrow.data.sampling import batch_from_sequences
from marrow.data.window import Alignment, InputConfig, Stream
from marrow.errors import DataError
from marrow.runtime import Description, Motion
from marrow.runtime.prepare import prepare
from marrow.skeleton.body import BODY
from marrow.skeleton.known import LAYOUTS, get_skeleton
from marrow.skeleton.layout import KINECT_V1_20, Skeleton
from marrow.skeleton.retarget import retarget
from marrow.skeleton.sequence import Record, SkeletonSequence


def described(input: InputConfig, skeleton: Skeleton = KINECT_V1_20, **fields: object) -> Description:
    whole = {"kind": "encoder", "classes": (), "by_place": False, "takes_flat": False, "made_by": "test"}
    return Description(**whole | {"skeleton": skeleton, "input": dataclasses.asdict(input)} | fields)


def recording(people: int, frames: int, skeleton: Skeleton = KINECT_V1_20, fps: float = 30.0) -> SkeletonSequence:
    generator = np.random.default_rng(frames)
    joints = generator.normal(size=(people, frames, len(skeleton.joints), 3)).astype(np.float32)
    if skeleton.dimensions == 2:
        joints[..., 2] = 0.0
    present = generator.random(joints.shape[:3]) > 0.05
    joints[~present] = 0.0
    return SkeletonSequence(joints, present, fps, skeleton, Record(f"{people} x {frames}"))


@pytest.mark.parametrize(("alignment", "stream"), [*itertools.product(get_args(Alignment), get_args(Stream))])
def test_windows_are_those_of_training(alignment: Alignment, stream: Stream) -> None:
    some = [recording(1, 3), recording(2, 47), recording(3, 200, fps=24.0)]
    for reads in (
        InputConfig(window_frames=16, alignment=alignment, stream=stream),
        InputConfig(window_frames=40, alignment=alignment, stream=stream, pace="recorded", min_frames=5, test_crop=1.0),
        InputConfig(window_frames=60, alignment=alignment, stream=stream, pace="recorded", fps=12.0),
    ):
        expected, got = batch_from_sequences(some, reads), prepare(some, described(reads))
        np.testing.assert_array_equal(got.present, expected.present.numpy())
        np.testing.assert_allclose(got.joints, expected.joints.numpy(), atol=2e-5)
        if reads.pace == "recorded":
            assert expected.frame_count is not None
            np.testing.assert_array_equal(got.frame_count, expected.frame_count.numpy())


@pytest.mark.parametrize("dimensions", [3, 2])
@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "body"])
def test_layouts_are_brought_to_the_body_as_marrow_does(name: str, dimensions: int) -> None:
    """By its names alone, as the file knows the layout, and by the skeleton of a recording."""
    reads, layout = InputConfig(window_frames=8, alignment="body"), get_skeleton(name)
    if dimensions == 2 and layout.up == "z":
        pytest.skip("no image has its axis")
    description = described(reads, BODY, by_place=True, takes_flat=True)
    description = Description.from_json(description.to_json(), "here")
    sequence = recording(2, 20, dataclasses.replace(layout, dimensions=dimensions))
    expected = batch_from_sequences([retarget(sequence, BODY)], reads, skeleton=BODY)
    motion = Motion(sequence.joints, sequence.present, layout=layout.joints, dimensions=dimensions)
    for got in (prepare([motion], description), prepare([sequence], description)):
        places = got.place
        assert places is not None
        absent = np.setdiff1d(np.arange(len(BODY.joints)), places)
        assert not expected.present[..., absent].any()
        np.testing.assert_array_equal(got.present, expected.present[..., places].numpy())
        np.testing.assert_allclose(got.joints, expected.joints[..., places, :].numpy(), atol=2e-5)
        assert got.flat is not None
        assert got.flat.tolist() == [dimensions == 2]


def test_the_name_of_a_layout_says_its_joints_and_their_order_is_free() -> None:
    reads = InputConfig(window_frames=8)
    sequence, order = recording(1, 8), np.random.default_rng(0).permutation(20)
    names = [KINECT_V1_20.joints[joint] for joint in order]
    shuffled = Motion(sequence.joints[:, :, order], sequence.present[:, :, order], layout=names)
    expected = prepare([sequence], described(reads))
    for motion in (shuffled, Motion(sequence.joints, sequence.present, layout="kinect_v1_20")):
        np.testing.assert_array_equal(prepare([motion], described(reads)).joints, expected.joints)

    by_place = described(reads, BODY, by_place=True)
    expected = prepare([sequence], by_place)
    for motion in (shuffled, Motion(sequence.joints, sequence.present, layout="kinect_v1_20")):
        np.testing.assert_array_equal(prepare([motion], by_place).joints, expected.joints)


def test_what_is_not_finite_was_not_seen() -> None:
    joints = np.zeros((1, 8, 20, 3))
    joints[0, :, 3] = np.nan
    present = prepare([Motion(joints)], described(InputConfig(window_frames=8))).present
    assert not present[0, 0, :, 3].any()
    assert present.sum() == 8 * 19


def test_one_place_is_enough() -> None:
    """Files want two places at least; the other one is said to be absent."""
    joints = np.full((1, 4, len(BODY.joints), 3), np.nan)
    joints[:, :, 7] = 1.0
    inputs = prepare([Motion(joints)], described(InputConfig(window_frames=4), BODY, by_place=True))
    assert inputs.place is not None
    assert len(inputs.place) == 2
    assert inputs.present.sum() == 4
    np.testing.assert_array_equal(inputs.joints[inputs.present], 1.0)


ZEROS = np.zeros((1, 5, 20, 3), np.float32)


@pytest.mark.parametrize(
    ("motion", "words"),
    [
        (Motion(ZEROS[0]), "body, frame, joint, 3"),
        (Motion(ZEROS[:, :0]), "a body and a frame"),
        (Motion(np.full(ZEROS.shape, "x")), "must be numbers"),
        (Motion(ZEROS[:, :, :17]), "20 joints .*got 17"),
        (Motion(ZEROS, np.ones((1, 5, 19), bool)), "present must be bool"),
        (Motion(ZEROS * np.nan, np.ones((1, 5, 20), bool)), "not finite"),
        (Motion(ZEROS, fps=0.0), "fps"),
        (Motion(ZEROS[:, :, :2], layout=["Head", "Tail"]), "got Head, Tail"),
        (Motion(ZEROS, layout="octopus_8"), "'octopus_8'"),
        (recording(1, 5, get_skeleton("penn_13")), "expected the joints of 'kinect_v1_20'"),
        (Motion(ZEROS, dimensions=2), "reads 3 dimensions, this has 2"),
    ],
)
def test_what_is_no_recording_for_the_model_is_said(motion: Motion | SkeletonSequence, words: str) -> None:
    with pytest.raises(DataError, match=words):
        prepare([Motion(ZEROS), motion], described(InputConfig(window_frames=4)))


def test_two_dimensions_are_not_read_by_a_model_of_three() -> None:
    flat = recording(1, 5, dataclasses.replace(get_skeleton("penn_13"), dimensions=2))
    with pytest.raises(DataError, match="reads 3 dimensions, this has 2"):
        prepare([flat], described(InputConfig(window_frames=4), BODY, by_place=True))


def test_what_is_no_recording_at_all_is_said() -> None:
    with pytest.raises(DataError, match=r"expected Motion.*got ndarray"):
        prepare([ZEROS], described(InputConfig(window_frames=4)))


def test_nothing_is_no_batch() -> None:
    with pytest.raises(DataError, match="at least one"):
        prepare([], described(InputConfig(window_frames=4)))


def test_two_hundred_people_and_an_hour() -> None:
    reads = InputConfig(window_frames=4, alignment="pair")
    assert prepare([Motion(np.random.default_rng(0).normal(size=(200, 5, 20, 3)))], described(reads)).joints.shape == (
        *(1, 200, 4, 20, 3),
    )
    assert prepare([Motion(np.zeros((1, 108_000, 20, 3), np.float32))], described(reads)).joints.shape == (
        1,
        1,
        4,
        20,
        3,
    )
