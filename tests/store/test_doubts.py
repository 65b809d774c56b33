"""What looks wrong in a store: each check on a walking body that is right but for one thing."""

from dataclasses import replace

import numpy as np
import pytest

from marrow.errors import DataError
from marrow.skeleton.derived import with_middles
from marrow.skeleton.known import get_skeleton
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store import write_store
from marrow.store.motion_checks import _foot
from marrow.store.summary import Summary, summarise

LAYOUT = get_skeleton("kinect_v1_20")
# A person of 1.7 m who faces z, so that left is at +x: joints in the order of Kinect v1.
_STANDING = {
    "HipCenter": (0, 0.95, 0), "Spine": (0, 1.05, 0), "ShoulderCenter": (0, 1.43, 0), "Head": (0, 1.65, 0),
    "Shoulder": (0.18, 1.4, 0), "Elbow": (0.2, 1.1, 0), "Wrist": (0.22, 0.85, 0), "Hand": (0.22, 0.77, 0),
    "Hip": (0.09, 0.9, 0), "Knee": (0.09, 0.48, 0.02), "Ankle": (0.09, 0.08, 0), "Foot": (0.09, 0.02, 0.12),
}  # fmt: skip


def standing(layout: Skeleton = LAYOUT) -> np.ndarray:
    places = []
    for name in layout.joints:
        stem = name.removesuffix("Left").removesuffix("Right")
        x, y, z = _STANDING[stem]
        places.append((-x if name.endswith("Right") else x, y, z))
    return np.array(places)


def walk(name: str, frames: int = 40, fps: float = 30.0, bodies: int = 1) -> SkeletonSequence:
    """A body that goes forward a metre a second while its hands and feet swing."""
    random = np.random.default_rng(len(name))
    time = np.arange(frames)[:, None, None] / fps
    swing = random.uniform(0.03, 0.06, (1, len(LAYOUT.joints), 3)) * np.sin(6 * time)
    path = np.array([[0.0, 0.0, 1.0]]) * time
    joints = standing() + 0.3 * swing + path
    joints = np.stack([joints + np.array([1.5 * body, 0, 0]) for body in range(bodies)]).astype(np.float32)
    return SkeletonSequence(joints, np.ones(joints.shape[:3], np.bool_), fps, LAYOUT, Record(name, label=0))


def summary_of(tmp_path, *clips: SkeletonSequence, **options) -> Summary:
    return summarise(write_store(tmp_path / "store", clips, source="memory", **options))


def changed(clip: SkeletonSequence, change) -> SkeletonSequence:
    joints, present = clip.joints.copy(), clip.present.copy()
    joints = change(joints, present)
    return replace(clip, joints=np.ascontiguousarray(joints, np.float32), present=present)


def test_a_walk_is_right_and_every_check_ran(tmp_path):
    summary = summary_of(tmp_path, walk("a"), walk("bb", bodies=2))
    assert summary.warnings == ()
    assert summary.not_checked == ()
    assert (summary.upright, summary.upright_axis) == (1.0, "y")


def test_feet_are_found_beside_heels():
    layout = get_skeleton("mediapipe_33")
    assert [layout.joints[joint] for joint in _foot(layout, layout.joints.index("HipLeft"))] == [
        "AnkleLeft",
        "FootLeft",
    ]


def _sides_exchanged(joints, present):
    return joints[:, :, list(LAYOUT.mirror)]


def _mirrored(joints, present):
    return joints * [-1, 1, 1]


def _swapped_for_three_frames(joints, present):
    joints[:, 10:13] = joints[:, 10:13][:, :, list(LAYOUT.mirror)]
    return joints


def _z_up(joints, present):
    return np.roll(joints, 1, axis=-1)


def _jump(joints, present):
    joints[0, 17:19, 7] += [[0, 2, 0], [0, 1, 0]]
    return joints


def _gap(joints, present):
    present[:, 3:34] = False
    return joints


def _flat(joints, present):
    joints[..., 2] = 0.25
    return joints


def _still_hand(joints, present):
    joints[:, :, 7] = [0.2, 0.8, 0.0]
    return joints


def _in_one_point(joints, present):
    return joints[:, :, :1] + 0 * joints


def _in_inches(joints, present):
    return joints / 2.54


def _long_arm(joints, present):
    return joints[:, :, [0, 1, 2, 3, 4, 5, 19, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 6]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_sides_exchanged, "sides exchanged"),
        (_mirrored, "sides exchanged"),
        (_swapped_for_three_frames, "exchanged from one frame"),
        (_z_up, "up looks like z, not y"),
        (_jump, "frame 17, HandLeft"),
        (_gap, "1.0 s in a"),
        (_flat, "z never changes"),
        (_still_hand, "HandLeft"),
        (_in_one_point, "one point"),
        (_in_inches, "times as large as an adult"),
        (_long_arm, "unlikely length"),
    ],
)
def test_one_fault_is_found(tmp_path, change, words):
    clips = [changed(walk("a"), change), changed(walk("bb"), change)]
    assert any(words in warning for warning in summary_of(tmp_path, *clips).warnings)


def test_people_who_exchange_places_are_found(tmp_path):
    def swap(joints, present):
        joints[:, 20:] = joints[::-1, 20:]
        return joints

    summary = summary_of(tmp_path, changed(walk("a", bodies=2), swap))
    assert any("two people exchange places" in warning for warning in summary.warnings)


def test_people_who_lie_are_no_wrong_axis(tmp_path):
    def lie(way):
        turn = {"x": [1, 0, 2], "z": [0, 2, 1]}[way]
        return lambda joints, present: joints[..., turn] * [1, 1, -1]

    clips = [walk("a"), changed(walk("bb"), lie("x")), changed(walk("ccc"), lie("z"))]
    assert not any("up looks like" in warning for warning in summary_of(tmp_path, *clips).warnings)


def test_what_a_layout_cannot_tell_is_said_and_not_passed_over(tmp_path):
    plain = Skeleton("plain", LAYOUT.joints, LAYOUT.parents, tuple(range(20)), {})
    summary = summary_of(tmp_path, replace(walk("a"), skeleton=plain))
    text = " ".join(summary.not_checked)
    assert "upward axis" in text
    assert "left and right" in text


@pytest.mark.parametrize(("fps", "words"), [(1 / 30, "30 per second"), (4000.0, "4000")])
def test_an_unlikely_rate_is_doubted(tmp_path, fps, words):
    slow = replace(walk("a"), fps=fps)
    assert any(words in warning for warning in summary_of(tmp_path, slow).warnings)


@pytest.mark.parametrize("fps", [0.0, -30.0, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(fps):
    with pytest.raises(DataError, match="fps"):
        replace(walk("a"), fps=fps)


def test_a_unit_that_would_fit_is_named_with_its_option(tmp_path):
    from marrow.store import convert_recordings

    def write(folder, scale):
        folder.mkdir()
        offset = " ".join(f"{scale * value:.5f}" for value in (0, 0.5, 0))
        leg = " ".join(f"{-scale * value:.5f}" for value in (0, 0.42, 0))
        hips = [
            f"JOINT {side}UpLeg\n{{\nOFFSET {sign * 0.1 * scale:.5f} 0 0\nCHANNELS 3 Zrotation Xrotation Yrotation\n"
            f"JOINT {side}Leg\n{{\nOFFSET {leg}\nCHANNELS 3 Zrotation Xrotation Yrotation\n"
            f"End Site\n{{\nOFFSET {leg}\n}}\n}}\n}}"
            for side, sign in (("Left", 1), ("Right", -1))
        ]
        arms = [
            f"JOINT {side}Arm\n{{\nOFFSET {sign * 0.2 * scale:.5f} 0 0\nCHANNELS 3 Zrotation Xrotation Yrotation\n"
            f"End Site\n{{\nOFFSET {leg}\n}}\n}}"
            for side, sign in (("Left", 1), ("Right", -1))
        ]
        text = (
            "HIERARCHY\nROOT Hips\n{\nOFFSET 0 0 0\n"
            "CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation\n"
            f"JOINT Chest\n{{\nOFFSET {offset}\nCHANNELS 3 Zrotation Xrotation Yrotation\n" + "\n".join(arms) + "\n}\n"
            + "\n".join(hips) + "\n}\nMOTION\nFrames: 3\nFrame Time: 0.0333333\n"
            + "\n".join(" ".join(["0"] * (6 + 3 + 6 + 12)) for _ in range(3)) + "\n"
        )  # fmt: skip
        (folder / "a.bvh").write_text(text)

    from marrow.readers.bvh import BVH
    from marrow.store import Store

    write(tmp_path / "metres", 1.0)
    convert_recordings(BVH(), tmp_path / "metres", tmp_path / "store")
    warnings = summarise(Store.open(tmp_path / "store")).warnings
    assert any("--options.unit_metres 1" in warning for warning in warnings)
    convert_recordings(BVH(unit_metres=1.0), tmp_path / "metres", tmp_path / "right")
    assert not any("unit_metres" in warning for warning in summarise(Store.open(tmp_path / "right")).warnings)


def test_one_body_in_one_point_does_not_keep_others_from_being_checked(tmp_path):
    summary = summary_of(tmp_path, walk("a"), walk("bb"), changed(walk("ccc"), _in_one_point))
    assert ["in 1 body all joints lie in one point" in text for text in summary.warnings] == [True]
    assert summary.not_checked == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda joints, present: joints / 1000, "ccc 0.001"),
        (lambda joints, present: joints * 1000, "ccc 1e+03 times"),
        (lambda joints, present: np.roll(joints, 1, axis=-1), "ccc along z"),
    ],
)
def test_a_clip_in_another_unit_or_other_axes_is_named(tmp_path, change, words):
    clips = [walk("a"), walk("bb"), changed(walk("ccc"), change), changed(walk("dddd"), lambda j, p: j * 0.6)]
    (warning,) = (text for text in summary_of(tmp_path, *clips).warnings if "ccc" in text and "jump" not in text)
    assert words in warning
    assert "dddd" not in warning


def test_a_clip_that_is_mirrored_is_named(tmp_path):
    clips = [walk("a"), walk("bb"), changed(walk("ccc"), lambda joints, present: joints * [-1, 1, 1])]
    (warning,) = summary_of(tmp_path, *clips).warnings
    assert "1 clip feet point backwards" in warning
    assert "ccc" in warning


def test_a_derived_joint_may_lie_at_the_origin(tmp_path):
    layout = with_middles(get_skeleton("mediapipe_33"))
    places = np.random.default_rng(0).normal(size=(1, 20, len(layout.joints), 3)).astype(np.float32)
    places[:, 5:, layout.anchors["centre"]] = 0
    clip = SkeletonSequence(places, np.ones(places.shape[:3], np.bool_), 30.0, layout, Record("a"))
    assert summary_of(tmp_path, clip).at_origin == 0
