"""What `marrow inspect` says, on clips whose figures are known by construction."""

import json
from dataclasses import replace

import numpy as np
import pytest
from toy_source import Toy, write_files

from marrow.cli.arguments import parse
from marrow.cli.inspect import build_parser, picture_rows, run
from marrow.errors import StoreError
from marrow.readers.base import Split
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.sequence import Placement, Record, Segment, SkeletonSequence
from marrow.store import convert_recordings, write_store
from marrow.store.summary import SplitSummary, summarise

ANCHORS = {"centre": 0, "chest": 1, "left_hip": 2, "right_hip": 3, "left_shoulder": 1, "right_shoulder": 1}
# A body of four joints: hips 0.2 m apart around a root, a chest 0.5 m above it.
FOUR = Skeleton("four", ("root", "chest", "left", "right"), (0, 0, 0, 0), (0, 1, 3, 2), ANCHORS)
BODY = np.array([[1, 1, 1], [1, 1.5, 1], [1.1, 1, 1], [0.9, 1, 1]], np.float32)
SPLIT = {"half": Split(train=lambda r: r.attributes["subject"] == 0, test=lambda r: r.attributes["subject"] == 1)}


def clip(name, subject=0, frames=4, scale=1.0, bodies=1, change=None, label=0, fps=30.0):
    """A body that stands still. `change` edits positions and flags."""
    joints = np.tile(BODY * scale, (bodies, frames, 1, 1)).astype(np.float32)
    present = np.ones(joints.shape[:3], np.bool_)
    if change is not None:
        change(joints, present)
    return SkeletonSequence(joints, present, fps, FOUR, Record(name, "", label, {"subject": subject}))


def summary_of(tmp_path, *clips, classes=("stand",)):
    return summarise(write_store(tmp_path / "store", clips, source="memory", classes=classes, splits=SPLIT))


def test_counts_lengths_and_bones(tmp_path):
    summary = summary_of(
        tmp_path,
        clip("a", 0, frames=2),
        clip("b", 1, frames=4, bodies=2, label=1),
        clip("c", 1, frames=6),
        classes=("stand", "meet", "sit"),
    )
    assert (summary.clips, summary.frames, summary.bodies) == (3, 12, {1: 2, 2: 1})
    assert summary.labels == {"stand": 2, "meet": 1, "sit": 0}
    assert (summary.length_frames[0], summary.length_frames[3], summary.length_frames[6]) == (2, 4, 6)
    assert summary.fps == {30.0: 3}
    assert summary.splits == {"half": SplitSummary(train=1, test=2, shared=0, near=2)}
    assert summary.bone_metres == pytest.approx({"chest": 0.5, "left": 0.1, "right": 0.1})
    assert summary.bone_variation == pytest.approx({"chest": 0.0, "left": 0.0, "right": 0.0}, abs=1e-6)
    assert (summary.upright, summary.upright_axis, summary.copies, summary.at_origin) == (1.0, "y", 0, 0)
    # Bodies that stand still are the same motion, however long they do.
    assert summary.warnings[0].startswith("2 of the 2 test clips of half are nearly the same as a training clip")
    # They never leave their place, and so none of their coordinates differs along z.
    assert "classes without a clip: sit" in summary.warnings


def test_labelled_intervals_count_for_their_classes(tmp_path):
    untrimmed = clip("a", 0, frames=9, label=-1)
    intervals = (Segment(0, 3, 0), Segment(4, 6, 2), Segment(7, 9, 0))
    first = replace(untrimmed, segments=intervals)
    summary = summary_of(tmp_path, first, clip("b", 1, frames=5), classes=("stand", "meet", "sit"))
    assert summary.labels == {"-": 1, "stand": 1, "meet": 0, "sit": 0}
    assert summary.segments == {"stand": 2, "sit": 1}
    assert summary.warnings[-1] == "classes without a clip: meet"


def test_copies_across_train_and_test_are_counted_per_split(tmp_path):
    summary = summary_of(tmp_path, clip("a", 0), clip("b", 1), clip("c", 1), clip("d", 1, frames=5), clip("e", 2))
    assert summary.splits == {"half": SplitSummary(train=1, test=3, shared=2, near=1)}
    assert summary.splits["half"].examples == (("a", "b"), ("a", "c"), ("a", "d"))
    assert summary.copies == 3
    assert summary.warnings[0].startswith("2 of the 3 test clips of half are bit-identical to a training clip")


def test_absent_joints_do_not_count_as_positions(tmp_path):
    def without_chest_in_the_first_half(joints, present):
        present[0, :2, 1] = False
        joints[0, :2, 1] = 0

    summary = summary_of(tmp_path, clip("a", change=without_chest_in_the_first_half), clip("b", 1, frames=5))
    assert summary.missing == pytest.approx({"root": 0.0, "chest": 2 / 9, "left": 0.0, "right": 0.0})
    assert summary.bone_metres["chest"] == pytest.approx(0.5)
    assert summary.bone_variation["chest"] == pytest.approx(0.0, abs=1e-6)
    assert (summary.at_origin, summary.upright) == (0, 1.0)


def test_variation_is_the_standard_deviation_over_the_mean_within_a_clip(tmp_path):
    def chest_up_and_down(joints, present):
        joints[0, :, 1, 1] = [1.1, 1.3, 1.1, 1.3]  # Lengths 0.1 and 0.3: mean 0.2, deviation 0.1.

    summary = summary_of(tmp_path, clip("a", change=chest_up_and_down), clip("b", 1, change=chest_up_and_down))
    assert summary.bone_variation["chest"] == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize(("scale", "unit"), [(1000.0, "millimetres"), (100.0, "centimetres")])
def test_other_units_are_suspected(tmp_path, scale, unit):
    summary = summary_of(tmp_path, clip("a", scale=scale), clip("b", 1, scale=scale))
    assert any(unit in warning for warning in summary.warnings)


def test_another_upward_axis_is_suspected(tmp_path):
    def upside_down(joints, present):
        joints[..., 1] *= -1

    def lying(joints, present):
        joints[..., [1, 2]] = joints[..., [2, 1]]

    down = summarise(write_store(tmp_path / "a", [clip("a", change=upside_down)], source="memory"))
    assert (down.upright, down.upright_axis) == (0.0, "-y")
    assert any("up looks like -y" in warning for warning in down.warnings)
    flat = summarise(write_store(tmp_path / "b", [clip("a", change=lying)], source="memory"))
    assert (flat.upright, flat.upright_axis) == (0.0, "z")


def test_zeros_that_pass_for_positions_and_loose_ends_are_mentioned(tmp_path):
    def zeros(joints, present):
        joints[0, 0, 3] = 0

    text = " ".join(summary_of(tmp_path, clip("a", change=zeros), clip("b", 2, frames=1, fps=25.0)).warnings)
    assert "1 frames have a joint at exactly (0, 0, 0) that is marked present" in text
    assert "1 clip with a single frame" in text
    assert "the split half has 1 training and 0 test clips" in text
    assert "clips differ in frame rate: 30, 25 per second" in text


def test_a_zero_is_that_of_the_source_where_a_reader_has_moved_the_clip(tmp_path):
    # The root at (1, 1, 1) was moved to the origin; the left hip of frame 1 was (0, 0, 0) before.
    def moved(joints, present):
        joints[0, 1, 2] = 0
        joints -= 1

    back = Placement(translation=np.ones(3))
    summary = summary_of(tmp_path, replace(clip("a", change=moved), placement=back), clip("b", 1))
    assert summary.at_origin == 1


def test_the_summary_does_not_depend_on_the_shards(tmp_path):
    write_files(tmp_path / "raw", 12)
    (tmp_path / "raw" / "005.toy").write_text("empty")
    (tmp_path / "raw" / "006.toy").write_text("empty")
    summaries = []
    for shard_clips in (1, 5, 100):
        convert_recordings(Toy(), tmp_path / "raw", tmp_path / f"{shard_clips}", shard_clips=shard_clips)
        from marrow.store import Store

        summaries.append(summarise(Store.open(tmp_path / f"{shard_clips}")))
    for other in summaries[1:]:
        assert other.bone_metres == summaries[0].bone_metres
        assert other.bone_variation == pytest.approx(summaries[0].bone_variation, rel=1e-9)
        assert other.missing == summaries[0].missing
    assert summaries[0].dropped == {"nobody is seen": 2}


def inspect(*arguments):
    return run(parse(build_parser(), [str(argument) for argument in arguments]))


def test_inspect_prints_a_table_and_writes_a_picture(tmp_path, capsys):
    write_store(tmp_path / "store", [clip("a [b]", 0), clip("c", 1)], source="memory", classes=("x [y]",), splits=SPLIT)
    assert inspect(tmp_path / "store") == 0
    output = capsys.readouterr().out
    assert "x [y] 2" in output
    assert (
        "1 train, 1 test, of which 1 are bit-identical to a training clip and 0 more nearly so: c of a [b]"
        in " ".join(output.split())
    )
    assert f"picture: {tmp_path / 'store.svg'}" in output
    assert (tmp_path / "store.svg").read_text().startswith("<svg")


def test_inspect_lists_the_attributes_that_protocols_may_name(tmp_path, capsys):
    clips = [clip("a", 0), clip("c", 1)]
    clips = [
        replace(each, record=replace(each.record, attributes={"style": style, "take": 2}))
        for each, style in zip(clips, ("old", "young"), strict=True)
    ]
    write_store(tmp_path / "store", clips, source="memory")
    assert inspect(tmp_path / "store") == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "attribute style 2: old 1, young 1" in output
    assert "attribute take 1: 2 2" in output


def test_near_copies_are_not_looked_for_in_a_large_store_unless_asked(tmp_path, capsys, monkeypatch):
    clips = [clip("a", 0), clip("c", 1, frames=7)]
    write_store(tmp_path / "store", clips, source="memory", splits=SPLIT)
    monkeypatch.setattr("marrow.store.copies.PAIRS_UNASKED", 0)
    assert inspect(tmp_path / "store") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "of which 0 are bit-identical to a training clip (near copies not looked for)" in said
    assert inspect(tmp_path / "store", "--near") == 0
    assert "of which 0 are bit-identical to a training clip and 1 nearly so: c of a" in " ".join(
        capsys.readouterr().out.split()
    )


def test_inspect_json_is_json_and_writes_no_picture_unasked(tmp_path, capsys):
    write_store(tmp_path / "store", [clip("a", 0), clip("b", 1)], source="memory", splits=SPLIT)
    assert inspect(tmp_path / "store", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["splits"]["half"] == {"train": 1, "test": 1, "shared": 1, "near": 0, "examples": [["a", "b"]]}
    assert (said["clips"], said["skeleton"]) == (2, "four")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    with pytest.raises(StoreError, match="cannot write the picture"):
        inspect(tmp_path / "store", "--json", "--picture", tmp_path / "store" / "store.json" / "x.svg")


def test_inspect_shows_folds(tmp_path, capsys):
    write_store(
        tmp_path / "store",
        [clip("a", 0), clip("b", 1), clip("c", 1)],
        source="memory",
        folds={"thirds": "k-fold:3", "apart": "leave-one-out:label"},
    )
    assert inspect(tmp_path / "store") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "folds thirds k-fold:3 folds apart leave-one-out:label" in said
    assert inspect(tmp_path / "store", "--json") == 0
    assert json.loads(capsys.readouterr().out)["folds"] == {"thirds": "k-fold:3", "apart": "leave-one-out:label"}


def test_the_picture_shows_every_class_before_any_twice(tmp_path):
    clips = [clip(str(row), frames=2 + row, label=row % 5) for row in range(40)]
    rows = picture_rows(write_store(tmp_path / "store", clips, source="memory"))
    assert len(set(rows)) == 12
    assert {row % 5 for row in rows} == {0, 1, 2, 3, 4}
    many = [clip(str(row), frames=2 + row, label=row) for row in range(40)]
    rows = picture_rows(write_store(tmp_path / "many", many, source="memory"))
    assert (len(set(rows)), rows[0], rows[-1]) == (12, 0, 39)


@pytest.mark.data
def test_nw_ucla_has_95_test_clips_that_are_training_clips(data_folder, tmp_path):
    import tarfile

    from marrow.readers import get_reader

    with tarfile.open(data_folder / "nw_ucla" / "all_sqe.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    convert_recordings(get_reader("nw_ucla"), tmp_path / "all_sqe", tmp_path / "store")
    from marrow.store import Store

    summary = summarise(Store.open(tmp_path / "store"))
    assert (summary.clips, summary.frames, summary.copies) == (1484, 58534, 95)
    assert summary.splits["xview"] == SplitSummary(train=1020, test=464, shared=95, near=0)
    assert (summary.upright_axis, summary.upright > 0.94) == ("y", True)
