from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from marrow.data import pool as pool_module
from marrow.data.augment import AugmentConfig
from marrow.data.loader import ResidentLoader, Schedule, StreamingLoader
from marrow.data.pool import Pool, StoreChoice, choices_in, copies_elsewhere, open_pool, parse_choice
from marrow.data.window import InputConfig
from marrow.errors import ConfigError, StoreError
from marrow.readers.base import Split
from marrow.readers.synthetic import Synthetic
from marrow.skeleton.body import BODY
from marrow.skeleton.known import get_skeleton
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.format import Store
from marrow.store.memory import write_store

INPUT = InputConfig(window_frames=16, alignment="body")
AUGMENT = AugmentConfig(min_crop_frames=4, rotation_radians=0.2)
KINECT, COCO = get_skeleton("kinect_v1_20"), get_skeleton("coco_17")


def walk(number: int, skeleton: Skeleton, frames: int = 40, fps: float = 30.0) -> SkeletonSequence:
    generator = np.random.default_rng([number, frames])
    joints = generator.normal(0, 0.3, (1, frames, len(skeleton.joints), 3)).astype(np.float32)
    record = Record(f"clip{number:03d}", label=number % 3, attributes={"subject": number % 4})
    return SkeletonSequence(joints, np.ones(joints.shape[:3], np.bool_), fps, skeleton, record)


def store_of(folder: Path, clips: list[SkeletonSequence]) -> Store:
    half = Split(lambda record: record.attributes["subject"] < 2, lambda record: record.attributes["subject"] >= 2)
    return write_store(folder, clips, source="walks", classes=("a", "b", "c"), splits={"xsub": half})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    clips = [walk(number, KINECT) for number in range(20)]
    store_of(folder / "one", clips[:12])
    store_of(folder / "two", clips[12:])
    store_of(folder / "both", clips)
    store_of(folder / "coco", [walk(100 + number, COCO) for number in range(6)])
    store_of(folder / "long", [walk(200, KINECT, frames=301), walk(201, KINECT, frames=20)])
    return folder


def chosen(folder: Path, *texts: str) -> list[StoreChoice]:
    choices = [parse_choice(text) for text in texts]
    return [StoreChoice(each.name, folder / each.path, each.rows, each.weight) for each in choices]


def steps(loader: ResidentLoader | StreamingLoader, count: int) -> list[torch.Tensor]:
    return [batch.joints for _ in range(count) for batch, _ in loader.next_step()]  # type: ignore[union-attr]


def test_two_stores_of_one_layout_give_what_both_in_one_give(folder: Path) -> None:
    pool, notes = open_pool(chosen(folder, "one", "two"))
    whole = Store.open(folder / "both").brought_to(BODY)
    settings = {"batch_clips": 6, "seed": 1, "device": "cpu"}
    together = ResidentLoader(pool, np.arange(20), INPUT, AUGMENT, **settings, shares=pool.shares)
    alone = ResidentLoader(whole, np.arange(20), INPUT, AUGMENT, **settings)
    assert not notes
    for ours, theirs in zip(steps(together, 7), steps(alone, 7), strict=True):
        assert torch.equal(ours, theirs)


def test_streaming_and_resident_give_the_same_batches(folder: Path) -> None:
    pool, _ = open_pool(chosen(folder, "one*2", "coco*1", "long*1"), piece_seconds=2.0)
    rows = np.arange(len(pool))
    settings = {"batch_clips": 6, "seed": 1, "device": "cpu", "shares": pool.shares}
    resident = ResidentLoader(pool, rows, INPUT, AUGMENT, **settings)
    streaming = StreamingLoader(pool, rows, INPUT, AUGMENT, **settings, workers=1)
    for ours, theirs in zip(steps(resident, 8), steps(streaming, 8), strict=True):
        assert torch.equal(ours, theirs)


def test_weights_decide_how_often_the_clips_of_a_store_come() -> None:
    schedule = Schedule(30, 10, seed=0, shares=((20, 1.0), (10, 3.0)))
    seen = np.zeros(30, int)
    for step in range(3 * 40):  # forty epochs of thirty: 300 of the first store, 900 of the second
        np.add.at(seen, schedule.clips_of(step)[0], 1)
    # 7.5 and 22.5 clips of an epoch: the one that is left is the first store's, always.
    assert (seen[:20].sum(), seen[20:].sum()) == (8 * 40, 22 * 40)
    assert np.ptp(seen[:20]) <= 1, "a clip comes as often as the others of its store"
    assert np.ptp(seen[20:]) <= 1


def test_a_schedule_of_weights_goes_on_anywhere() -> None:
    schedule = Schedule(30, 10, seed=0, shares=((20, 1.0), (10, 3.0)))
    again = Schedule(30, 10, seed=0, shares=((20, 1.0), (10, 3.0)))
    assert np.array_equal(again.clips_of(77)[0], schedule.clips_of(77)[0])
    halves = [Schedule(30, 10, 0, rank, 2, shares=schedule.shares).clips_of(5)[0] for rank in (0, 1)]
    assert np.array_equal(np.concatenate(halves), schedule.clips_of(5)[0])


def test_long_recordings_count_as_pieces(folder: Path) -> None:
    pool, _ = open_pool(chosen(folder, "long"), piece_seconds=2.0)
    # 301 frames at 30 Hz are 10 s, five pieces; 20 frames stay one.
    assert pool.frame_count.tolist() == [60, 60, 61, 60, 60, 20]
    whole = Store.open(folder / "long").brought_to(BODY).frames(0)[0]
    np.testing.assert_array_equal(np.concatenate([pool.frames(row)[0] for row in range(5)], axis=1), whole)


def test_a_pool_knows_layouts_classes_and_people(folder: Path) -> None:
    pool, _ = open_pool(chosen(folder, "k=one:xsub/train", "c=coco"))
    assert [member.choice.name for member in pool.members] == ["k", "c"]
    assert pool.shares == ((6, 6), (6, 6))
    assert set(pool.label[:6]) <= {0, 1, 2}
    assert set(pool.label[6:]) == {3, 4, 5}, "classes of other stores are other classes"
    assert len(set(pool.subjects()[:6]) & set(pool.subjects()[6:])) == 0
    left_elbow, spine = BODY.joints.index("left elbow"), BODY.joints.index("spine")
    assert pool.frames(6)[1][..., left_elbow].all()
    assert not pool.frames(6)[1][..., spine].any(), "COCO has no spine"
    assert BODY.joints.index("shoulder centre") in pool.layout_of(6).derived
    assert BODY.joints.index("shoulder centre") not in pool.layout_of(0).derived


def test_copies_of_clips_that_are_kept_apart_are_said(folder: Path) -> None:
    _, notes = open_pool(chosen(folder, "one:xsub/train", "other=both:label=0"))
    # Of the twelve clips, 2, 3, 6, 7, 10, 11 are kept apart; of those 3 and 6 have the label 0.
    assert len(notes) == 1
    assert "2 of the 6" in notes[0]
    assert "'other'" in notes[0]


@pytest.fixture(scope="module")
def filmed_twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six performances, and two of them as another camera had them: 21 joints, half the frames, in centimetres."""
    folder, reader = tmp_path_factory.mktemp("twice"), Synthetic(noise=0.0, dropouts=0.0)
    clips = [reader.read(folder, record) for record in list(reader.records(folder))[:60:10]]
    clips = [
        replace(clip, record=Record(f"clip{number}", label=0, attributes={"subject": number % 4}))
        for number, clip in enumerate(clips)
    ]
    store_of(folder / "first", clips)
    # All but hand tips and thumbs.
    whole = clips[0].skeleton
    few = Skeleton("few", whole.joints[:21], whole.parents[:21], whole.mirror[:21], whole.anchors)
    again = []
    for clip in clips[2:4]:
        joints = np.ascontiguousarray(100 * clip.joints[:, ::2, :21])
        present = np.ones(joints.shape[:3], np.bool_)
        again.append(replace(clip, joints=joints, present=present, skeleton=few, segments=()))
    store_of(folder / "second", again)
    return folder


def test_near_copies_of_clips_that_are_kept_apart_are_said(filmed_twice: Path) -> None:
    """Clips 2 and 3 are kept apart, and are in the other store."""
    _, notes = open_pool(chosen(filmed_twice, "first:xsub/train", "second"))
    assert len(notes) == 1
    assert "2 of the 2" in notes[0]
    assert "near copy in the store 'second'" in notes[0]
    first, second = chosen(filmed_twice, "first", "second")
    assert "2 of the 6" in copies_elsewhere(first, [second])[0]
    assert copies_elsewhere(second, [replace(first, rows="subject=0,1")]) == []


def test_a_search_for_near_copies_that_is_left_out_is_said(filmed_twice: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "PAIRS_UNASKED", 3)
    _, notes = open_pool(chosen(filmed_twice, "first:xsub/train", "second"))
    # Two clips are kept apart: four of the first store and two of the second are learned from.
    assert len(notes) == 2
    for note, pairs in zip(notes, ("8 pairs", "4 pairs"), strict=True):
        assert "not looked for" in note
        assert pairs in note


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (["one", "again=one"], "the same clips"),
        (["one", "one=two"], "two stores are called"),
        (["one:xsub"], "xsub/train"),
        (["one:view=3"], "view"),
        (["one:label=7"], "label=7"),
    ],
)
def test_stores_that_do_not_go_together(folder: Path, texts: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        open_pool(chosen(folder, *texts))


def test_a_store_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(StoreError, match="'gone'"):
        open_pool(chosen(folder, "one", "gone=nowhere"))


def test_joints_that_nobody_knows(tmp_path: Path, folder: Path) -> None:
    strange = Skeleton("strange", ("q1", "q2", "q3"), (0, 0, 1), (0, 1, 2), {})
    store_of(tmp_path / "strange", [walk(0, strange)])
    with pytest.raises(ConfigError, match="MyElbow"):
        open_pool([StoreChoice("s", tmp_path / "strange")])
    named = StoreChoice("s", tmp_path / "strange", joints={"left elbow": "q2"})
    assert open_pool([named])[0].frames(0)[1].any(axis=(0, 1)).sum() == 1


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("stores/nw", StoreChoice("nw", Path("stores/nw"))),
        ("a=stores/nw*2.5", StoreChoice("a", Path("stores/nw"), None, 2.5)),
        ("a=stores/nw:xview/train*3", StoreChoice("a", Path("stores/nw"), "xview/train", 3.0)),
        ("stores/nw:view=1,2 & subject!=3", StoreChoice("nw", Path("stores/nw"), "view=1,2 & subject!=3")),
        ("ut=s/ut:leave-one-out:subject=3/train", StoreChoice("ut", Path("s/ut"), "leave-one-out:subject=3/train")),
    ],
)
def test_how_a_store_is_written(text: str, choice: StoreChoice) -> None:
    assert parse_choice(text) == choice


@pytest.mark.parametrize("text", ["a=stores/nw*0", "a=:xview/train", "stores/nw*-1", "stores/nw*x"])
def test_how_a_store_is_not_written(text: str) -> None:
    with pytest.raises(ConfigError, match=r"weight|cannot read"):
        parse_choice(text)


def test_a_file_lists_stores(tmp_path: Path) -> None:
    file = tmp_path / "stores.yaml"
    file.write_text(
        "nw: {path: stores/nw, rows: xview/train, weight: 2}\nui:\n  path: /data/ui\n  joints: {head: Top}\n"
    )
    first, second = choices_in(file)
    assert first == StoreChoice("nw", tmp_path / "stores/nw", "xview/train", 2.0)
    assert (second.name, second.path, second.joints) == ("ui", Path("/data/ui"), {"head": "Top"})
    file.write_text("nw: {path: stores/nw}\nui: {fodler: here}\n")
    with pytest.raises(ConfigError, match=r"stores.yaml:2.*fodler"):
        choices_in(file)
    file.write_text("nw: {path: stores/nw, weight: 0}\n")
    with pytest.raises(ConfigError, match=r"stores.yaml:1.*weight"):
        choices_in(file)


def test_what_a_run_says_of_its_stores(folder: Path) -> None:
    pool, _ = open_pool(chosen(folder, "one*5", "coco"))
    assert [entry["name"] for entry in pool.described()] == ["one", "coco"]
    assert pool.described()[0]["weight"] == 5.0
    other, _ = open_pool(chosen(folder, "one*6", "coco"))
    assert pool.fingerprint == Pool(pool.members, None).fingerprint != other.fingerprint
