"""Which clips count as the same motion, on people whose performances are made."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from marrow.readers.synthetic import Synthetic
from marrow.skeleton.geometry import resample
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store import copies as copies_module
from marrow.store import laid_upon as module
from marrow.store.copies import is_comparable, near_duplicates
from marrow.store.memory import write_store

NOWHERE = Path("nowhere")


@pytest.fixture(scope="module")
def performances():
    """Clips of several people without sensor noise, of which the last two are of the first one's class and person."""
    reader = Synthetic(noise=0.0, dropouts=0.0)
    records = list(reader.records(NOWHERE))
    first = records[0]
    again = [
        record
        for record in records[1:]
        if (record.label, record.attributes["subject"]) == (first.label, first.attributes["subject"])
    ]
    others = [records[place] for place in np.linspace(0, len(records) - 1, 5).round().astype(int)]
    chosen = {record.id: record for record in [*others, *again[:2]]}
    assert len(again) >= 2
    return [reader.read(NOWHERE, record) for record in chosen.values()]


def found(tmp_path, known, asked, **options):
    """Return the ids of the clips that are found, with their partner's and the distance."""
    clips = [
        replace(sequence, record=Record(f"{half}{number}", label=0))
        for half, sequences in (("a", known), ("b", asked))
        for number, sequence in enumerate(sequences)
    ]
    store = write_store(tmp_path / "store", clips, source="memory", classes=("one",))
    rows = np.arange(len(store))
    near = near_duplicates(store, rows[: len(known)], rows[len(known) :], **options)
    return {store.ids[each.row_b]: (store.ids[each.row_a], each.distance) for each in near}


def changed(sequence, joints=None, present=None):
    joints = sequence.joints if joints is None else joints
    present = sequence.present if present is None else present
    return replace(
        sequence, joints=np.ascontiguousarray(joints, np.float32), present=np.ascontiguousarray(present), segments=()
    )


def noisy(sequence, metres):
    noise = np.random.default_rng(0).normal(0, metres, sequence.joints.shape)
    return changed(sequence, (sequence.joints + noise) * sequence.present[..., None])


def turned(sequence):
    """Turn about the vertical (y) by 130 degrees, then move."""
    turn = np.radians(130)
    matrix = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    return changed(sequence, (sequence.joints @ matrix.T + [3, 0.5, -2]) * sequence.present[..., None])


def leant(sequence):
    """Tilt by 25 degrees, as a camera would that looks from above."""
    lean = np.radians(25)
    matrix = np.array([[1, 0, 0], [0, np.cos(lean), -np.sin(lean)], [0, np.sin(lean), np.cos(lean)]])
    return changed(sequence, (sequence.joints @ matrix.T) * sequence.present[..., None])


def cut(sequence, start, end):
    """Leave out shares of the frames at both ends."""
    frames = sequence.frame_count
    kept = slice(round(start * frames), frames - round(end * frames))
    return changed(sequence, sequence.joints[:, kept], sequence.present[:, kept])


def resampled(sequence, factor):
    return changed(sequence, *resample(sequence.joints, sequence.present, round(factor * sequence.frame_count)))


COPIES = {
    "exact": lambda s: s,
    "1 mm of noise": lambda s: noisy(s, 0.001),
    "turned and moved": turned,
    "leant": leant,
    "another unit": lambda s: changed(s, s.joints * 100),
    "5 % cut at both ends": lambda s: cut(s, 0.05, 0.05),
    "7 % cut at the start": lambda s: cut(s, 0.07, 0),
    "3 % cut at the end": lambda s: cut(s, 0, 0.03),
    "half the frames": lambda s: resampled(s, 0.5),
    "a third more frames": lambda s: resampled(s, 1.33),
    "every second frame": lambda s: changed(s, s.joints[:, ::2], s.present[:, ::2]),
    "all of it": lambda s: noisy(turned(resampled(cut(s, 0.05, 0.05), 1.2)), 0.001),
}


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_found_with_the_clip_they_are_of(performances, tmp_path, kind):
    near = found(tmp_path, performances, [COPIES[kind](sequence) for sequence in performances])
    assert {name: partner for name, (partner, _) in near.items()} == {
        f"b{number}": f"a{number}" for number in range(len(performances))
    }


@pytest.mark.parametrize("kind", ["5 % cut at both ends", "half the frames", "all of it"])
def test_a_copy_is_found_where_the_longer_one_is_asked_for(performances, tmp_path, kind):
    near = found(tmp_path, [COPIES[kind](sequence) for sequence in performances], performances)
    assert len(near) == len(performances)


def test_another_performance_by_the_same_person_does_not_count(performances, tmp_path):
    assert found(tmp_path / "one", performances[:1], performances[1:]) == {}
    assert found(tmp_path / "other", performances[1:], performances[:1]) == {}


def test_a_mirrored_clip_is_another_one(performances, tmp_path):
    mirrored = [changed(sequence, sequence.joints * [-1, 1, 1]) for sequence in performances]
    assert found(tmp_path, performances, mirrored) == {}


def test_the_distance_is_what_noise_leaves(performances, tmp_path):
    # Noise of 1 mm in each of three directions is sqrt(3) mm; a trunk is a matter of the person, 0.4 to 0.7 m.
    [(_, distance)] = found(tmp_path, performances[:1], [noisy(performances[0], 0.001)]).values()
    assert np.sqrt(3) / 0.7 < 1000 * distance < np.sqrt(3) / 0.4


def test_the_limit_is_a_factor(performances, tmp_path):
    # 20 mm of noise are 35 mm between joints: 0.05 to 0.09 trunk lengths, where 0.006 and some roughness are allowed.
    asked = [noisy(performances[0], 0.02)]
    assert found(tmp_path / "near", performances, asked) == {}
    assert found(tmp_path / "far", performances, asked, limit=10.0).keys() == {"b0"}


def test_what_is_rough_may_be_further_apart_but_not_as_far_as_one_likes():
    # 0.006 + roughness / 2, and never more than 0.07.
    assert module.allowed(0.0) == pytest.approx(0.006)
    assert module.allowed(0.04) == pytest.approx(0.026)
    assert module.allowed(4.0) == pytest.approx(0.07)


def test_roughness_by_hand(tmp_path):
    # A trunk of 0.5 m; the hand alone moves, by 0.1 m there and back: 0.2 trunk lengths from the middle in every inner
    # frame. One of seven joints: sqrt(0.2^2 / 7).
    skeleton, body = seven()
    joints = np.tile(body, (1, 6, 1, 1))
    joints[0, ::2, 6, 0] += 0.1
    store = write_store(tmp_path / "store", [still(skeleton, joints)], source="memory")
    assert module.Clips(store).read(0).roughness == pytest.approx(np.sqrt(0.04 / 7), rel=1e-5)


def test_a_clip_is_no_copy_of_itself_and_absent_joints_are_not_compared(tmp_path):
    skeleton, body = seven()
    joints = np.tile(body, (1, 6, 1, 1))
    joints[0, :, 6] = [-0.1, 1.1, 0.05]  # near the centre, where signatures have what was not seen
    joints[0, :, 6, 1] += np.linspace(0, 0.05, 6)
    hidden = np.ones(joints.shape[:3], bool)
    hidden[:, :, 6] = False
    clips = [still(skeleton, joints, "a"), still(skeleton, joints * hidden[..., None], "b", hidden)]
    store = write_store(tmp_path / "store", clips, source="memory")
    assert [(each.row_a, each.row_b) for each in near_duplicates(store, np.array([0]), np.array([0, 1]))] == [(0, 1)]


def test_a_skeleton_without_a_trunk_is_not_compared(tmp_path):
    skeleton = Skeleton("two", ("a", "b"), (0, 0), (0, 1), {})
    clips = [still(skeleton, np.ones((1, 4, 2, 3)) * [[1], [2]], name) for name in "ab"]
    store = write_store(tmp_path / "store", clips, source="memory")
    assert near_duplicates(store, np.array([0]), np.array([1])) == []
    assert not is_comparable(store)


def test_blocks_do_not_change_the_outcome(performances, tmp_path, monkeypatch):
    copies = [COPIES["all of it"](sequence) for sequence in performances]
    whole = found(tmp_path / "whole", performances, copies)
    monkeypatch.setattr(copies_module, "_BLOCK_CLIPS", 3)
    monkeypatch.setattr(module, "_KEPT_CLIPS", 3)
    assert found(tmp_path / "blocks", performances, copies) == {
        name: (f"a{name[1:]}", each) for name, (_, each) in whole.items()
    }


def test_few_numbers_of_many_clips_find_the_same(performances, tmp_path, monkeypatch):
    monkeypatch.setattr(copies_module, "_BASIS_CLIPS", 5)
    monkeypatch.setattr(copies_module, "_SIGNATURE_NUMBERS", 6)
    copies = [COPIES["all of it"](sequence) for sequence in performances]
    assert found(tmp_path, performances, copies).keys() == {f"b{number}" for number in range(len(copies))}


def seven():
    names = ("root", "chest", "left_hip", "right_hip", "left_shoulder", "right_shoulder", "hand")
    anchors = {name if name != "root" else "centre": place for place, name in enumerate(names[:6])}
    skeleton = Skeleton("seven", names, (0, 0, 0, 0, 1, 1, 5), (0, 1, 3, 2, 5, 4, 6), anchors)
    body = [[0, 1, 0], [0, 1.5, 0], [0.1, 1, 0], [-0.1, 1, 0], [0.2, 1.5, 0], [-0.2, 1.5, 0], [-0.4, 1.2, 0.1]]
    return skeleton, np.array(body)


def still(skeleton, joints, name="a", present=None):
    joints = np.asarray(joints, np.float32)
    present = np.ones(joints.shape[:3], bool) if present is None else present
    return SkeletonSequence(joints, present, 30.0, skeleton, Record(name, label=-1))
