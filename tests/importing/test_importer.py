"""Recordings of any format as one data set: what is decided, on files of a format of this test."""

import json
import os
import pickle
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import marrow
from marrow.errors import ConfigError, DataError, ParseError, setting
from marrow.importing import detect
from marrow.importing.importer import Recordings
from marrow.importing.recording import ClipEntry, Contents, Head, ReadOptions, Recording, Source, one_by_one
from marrow.readers.text_file import read_json
from marrow.readers.upright import turned_up
from marrow.skeleton.layout import KINECT_V2_25
from marrow.skeleton.sequence import SkeletonSequence
from marrow.store.convert import convert_recordings
from marrow.store.format import Store

NAMES = (
    "Hips",
    "Neck",
    "LeftUpLeg",
    "LeftLeg",
    "LeftFoot",
    "RightUpLeg",
    "RightLeg",
    "RightFoot",
    "LeftArm",
    "RightArm",
)
PARENTS = (0, 0, 0, 2, 3, 0, 5, 6, 1, 1)
# A person 1.4 m tall up to the neck, in metres, y up, facing z: left is at +x.
BODY = np.array(
    [
        [0, 0.9, 0], [0, 1.4, 0],
        [0.1, 0.9, 0], [0.1, 0.48, 0], [0.1, 0.08, 0],
        [-0.1, 0.9, 0], [-0.1, 0.48, 0], [-0.1, 0.08, 0],
        [0.2, 1.4, 0], [-0.2, 1.4, 0],
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Letters:
    """Files `{"letters": ..., "positions": [...]}`: a format that says only what a test puts in."""

    name = "letters"
    title = "files of a test"

    def accepts(self, head: Head) -> bool:
        return bool(head.text and '"letters"' in head.text)

    def gather(self, files: list[Path]) -> list[Source]:
        return one_by_one(files)

    def peek(self, source: Source, options: ReadOptions) -> Contents:
        said = read_json(source.path)
        clips = tuple(ClipEntry(**{**clip, "parts": tuple(clip.get("parts", ()))}) for clip in said.get("clips", [{}]))
        joints = tuple(said["joints"]) if said.get("joints") else None
        return Contents(
            clips=clips,
            joint_count=len(said["positions"][0][0]),
            joints=joints,
            parents=tuple(said["parents"]) if said.get("parents") else None,
            dimensions=len(said["positions"][0][0][0]),  # pyright: ignore[reportArgumentType]
            fps=said.get("fps"),
            unit_metres=said.get("unit_metres"),
            up=said.get("up"),
        )

    def read(self, source: Source, key: str, options: ReadOptions) -> Recording:
        said = read_json(source.path)
        if said.get("broken"):
            raise ParseError(source.path, 7, "expected what a test expects")
        confidence = said.get("confidence")
        return Recording(
            np.array(said["positions"], np.float32),
            None if confidence is None else np.array(confidence, np.float32),
        )


@pytest.fixture(autouse=True)
def letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect, "FORMATS", {"letters": f"{__name__}:Letters"})


def write(path: Path, body: np.ndarray = BODY, frames: int = 4, **said: object) -> Path:
    """Write a recording of one person, who sinks by a hundredth of the body per frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    positions = np.stack([body * (1 - 0.01 * frame) for frame in range(frames)])[None]
    everything = {"letters": 1, "joints": NAMES, "parents": PARENTS, "fps": 25.0, "positions": positions.tolist()}
    path.write_text(json.dumps(everything | said))
    return path


def read_all(root: Path, **options: object) -> list[SkeletonSequence]:
    reader = Recordings(**options).for_root(root)  # pyright: ignore[reportArgumentType]
    return [reader.read(root, record) for record in reader.records(root)]


def doubts(root: Path, **options: object) -> str:
    findings = Recordings(**options).for_root(root).findings  # pyright: ignore[reportArgumentType]
    assert findings is not None
    return "\n".join(f"{doubt.text} {doubt.option}" for doubt in findings.doubts)


@pytest.mark.parametrize(("unit", "metres"), [("m", 1.0), ("cm", 0.01), ("mm", 0.001), ("inch", 0.0254)])
def test_the_unit_is_measured_on_trunk_and_legs(tmp_path: Path, unit: str, metres: float) -> None:
    write(tmp_path / "a.json", BODY / metres)
    (sequence,) = read_all(tmp_path)
    np.testing.assert_allclose(sequence.joints[0, 0], BODY, atol=1e-5)
    assert sequence.fps == 25
    assert sequence.skeleton.anchors["centre"] == 0
    assert sequence.skeleton.mirror[2] == 5


def test_a_unit_that_the_file_says_is_kept_and_doubted_where_no_person_has_that_size(tmp_path: Path) -> None:
    write(tmp_path / "a.json", BODY, unit_metres=0.01)
    (sequence,) = read_all(tmp_path)
    np.testing.assert_allclose(sequence.joints[0, 0], 0.01 * BODY, atol=1e-6)
    assert "--unit_metres 1" in doubts(tmp_path)
    (sequence,) = read_all(tmp_path, unit_metres=1.0)
    np.testing.assert_allclose(sequence.joints[0, 0], BODY, atol=1e-6)
    assert "--unit_metres" not in doubts(tmp_path, unit_metres=1.0)


def test_z_up_is_measured_and_doubted_where_the_user_says_y(tmp_path: Path) -> None:
    write(tmp_path / "a.json", np.roll(BODY, 1, axis=1))
    (sequence,) = read_all(tmp_path)
    assert sequence.skeleton.up == "z"
    assert "--up" not in doubts(tmp_path)
    assert "--up=z" in doubts(tmp_path, up="y")


def test_down_becomes_up_by_half_a_turn_that_leaves_left_at_the_left_hand(tmp_path: Path) -> None:
    body = BODY + 0.01 * np.arange(len(BODY))[:, None] * [0, 0, 1]  # with a depth, which a reflection would turn round
    write(tmp_path / "a.json", body * [1, -1, -1], up="-y")
    (sequence,) = read_all(tmp_path)
    assert sequence.skeleton.up == "y"
    np.testing.assert_allclose(sequence.joints[0, 0], body, atol=1e-6)


def test_pixels_become_a_body_of_adult_size_with_a_third_coordinate_of_zero(tmp_path: Path) -> None:
    pixels = 200 * BODY[:, :2] * [1, -1] + 500
    write(tmp_path / "a.json", pixels, frames=1, unit_metres=0.0, up="-y")
    (sequence,) = read_all(tmp_path)
    joints = sequence.joints[0, 0]
    assert (joints[:, 2] == 0).all()
    # Trunk 0.5 m is 1.042 of an adult's, thigh 0.42 and shank 0.40 are an adult's: the median is 1.
    np.testing.assert_allclose(joints[1] - joints[0], [0, 0.5, 0], atol=1e-4)


def test_confidence_becomes_presence_by_a_threshold(tmp_path: Path) -> None:
    confidence = np.ones((1, 4, 10))
    confidence[0, 0, :3] = [0.29, 0.31, 0.5]
    write(tmp_path / "a.json", confidence=confidence.tolist())
    (sequence,) = read_all(tmp_path)
    assert sequence.present[0, 0, :3].tolist() == [False, True, True]
    assert (sequence.joints[0, 0, 0] == 0).all()
    (sequence,) = read_all(tmp_path, min_confidence=0.4)
    assert sequence.present[0, 0, :3].tolist() == [False, False, True]


def test_a_rate_that_no_file_says_is_assumed_and_doubted(tmp_path: Path) -> None:
    write(tmp_path / "a.json", fps=None)
    assert read_all(tmp_path)[0].fps == 30
    assert "--fps" in doubts(tmp_path)
    assert read_all(tmp_path, fps=50.0)[0].fps == 50


@pytest.mark.parametrize(("fps", "right"), [(1 / 30, "30"), (0.03, "30"), (5000.0, "5000")])
def test_an_unlikely_rate_is_doubted(tmp_path: Path, fps: float, right: str) -> None:
    write(tmp_path / "a.json", fps=fps)
    assert right in doubts(tmp_path)
    assert read_all(tmp_path)[0].fps == pytest.approx(fps)


def test_labels_from_folders_patterns_tables_and_files(tmp_path: Path) -> None:
    for path in ("walk/s1_a.json", "walk/s2_b.json", "run/s1_c.json"):
        write(tmp_path / path)
    assert Recordings().for_root(tmp_path).classes == ("run", "walk")
    assert [sequence.record.label for sequence in read_all(tmp_path)] == [0, 1, 1]
    assert Recordings(labels="none").for_root(tmp_path).classes == ()
    by_name = read_all(tmp_path, pattern="s(?P<subject>[0-9])_(?P<label>[a-z])")
    assert [sequence.record.attributes["subject"] for sequence in by_name] == [1, 1, 2]
    assert Recordings(pattern="s(?P<subject>[0-9])_(?P<label>[a-z])").for_root(tmp_path).classes == ("a", "b", "c")
    table = tmp_path / "labels.csv"
    table.write_text("file,label\nwalk/s1_a.json,hop\ns2_b,skip\n", encoding="utf-8-sig")
    labelled = read_all(tmp_path, labels=str(table))
    assert [sequence.record.label for sequence in labelled] == [-1, 0, 1]
    assert "1 of 3" in doubts(tmp_path, labels=str(table))
    write(tmp_path / "walk/s1_a.json", clips=[{"label": "from the file"}])
    assert Recordings().for_root(tmp_path).classes == ("from the file",)


def test_a_table_that_names_none_of_the_files_says_so(tmp_path: Path) -> None:
    write(tmp_path / "a.json")
    (tmp_path / "labels.csv").write_text("file,label\nb.json,hop\n")
    with pytest.raises(ConfigError, match=r"b\.json"):
        Recordings(labels=str(tmp_path / "labels.csv")).for_root(tmp_path)
    (tmp_path / "labels.csv").write_text("one,two\n")
    with pytest.raises(ParseError, match="file and label"):
        Recordings(labels=str(tmp_path / "labels.csv")).for_root(tmp_path)


def test_parts_become_splits(tmp_path: Path) -> None:
    clips = [{"key": "0", "parts": ["xsub_train", "xview_val"]}, {"key": "1", "parts": ["xsub_val", "xview_train"]}]
    write(tmp_path / "a.json", clips=clips)
    reader = Recordings().for_root(tmp_path)
    first, second = reader.records(tmp_path)
    assert (first.id, second.path) == ("a/0", "a.json#1")
    assert sorted(reader.splits) == ["xsub", "xview"]
    assert reader.splits["xsub"].train(first)
    assert reader.splits["xsub"].test(second)
    assert not reader.splits["xview"].train(first)


def test_what_cannot_be_read_is_dropped_with_its_reason_or_stops(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path / "in" / f"{name}.json")
    (tmp_path / "in/cut.json").write_text('{"letters": 1, "positions": [')
    write(tmp_path / "in/other.json", BODY[:4], joints=NAMES[:4], parents=PARENTS[:4])
    write(tmp_path / "in/late.json", broken=True)
    (tmp_path / "in/README.md").write_text("# words")
    (tmp_path / "in/._a.json").write_bytes(b"\0\5")
    summary = convert_recordings(Recordings(), tmp_path / "in", tmp_path / "store", on_error="drop")
    assert summary.clips == 3
    reasons = {dropped.id: dropped.reason for dropped in summary.dropped}
    assert sorted(reasons) == ["cut", "late", "other"]
    assert "no LeftFoot" in reasons["other"]
    assert "late.json:7" in reasons["late"]
    assert Store.open(tmp_path / "store").ids == ("a", "b", "c")
    with pytest.raises(ParseError):
        convert_recordings(Recordings(), tmp_path / "in", tmp_path / "stopped")


def test_a_path_that_the_pattern_does_not_fit_is_one_recordings_fault(tmp_path: Path) -> None:
    write(tmp_path / "in/s1.json")
    write(tmp_path / "in/other.json")
    options = Recordings(pattern=r"s(?P<subject>\d)")
    summary = convert_recordings(options, tmp_path / "in", tmp_path / "store", on_error="drop")
    assert [dropped.id for dropped in summary.dropped] == ["other"]


def test_files_of_no_format_and_of_two_are_an_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "README.md").write_text("# words")
    with pytest.raises(DataError, match="add-a-reader"):
        Recordings().for_root(tmp_path)
    write(tmp_path / "a.json")
    write(tmp_path / "b.other")
    monkeypatch.setattr(Letters, "accepts", lambda self, head: head.suffix == ".json")
    monkeypatch.setattr(Others, "accepts", lambda self, head: head.suffix == ".other")
    monkeypatch.setattr(detect, "FORMATS", {"letters": f"{__name__}:Letters", "others": f"{__name__}:Others"})
    with pytest.raises(DataError, match="--only"):
        Recordings().for_root(tmp_path)
    assert len(read_all(tmp_path, only="*.json")) == 1
    assert len(read_all(tmp_path, format="others")) == 1


class Others(Letters):
    """Another format of the same kind."""

    name = "others"


def test_joints_are_kept_with_their_nearest_parents_and_sides(tmp_path: Path) -> None:
    write(tmp_path / "a.json")
    kept = ["Hips", "Neck", "LeftUpLeg", "LeftFoot", "RightUpLeg", "RightFoot"]
    (sequence,) = read_all(tmp_path, joints=kept, unit_metres=1.0)
    assert sequence.skeleton.joints == tuple(kept)
    assert sequence.skeleton.parents == (0, 0, 0, 2, 0, 4)
    assert sequence.skeleton.mirror == (0, 1, 4, 5, 2, 3)
    np.testing.assert_allclose(sequence.joints[0, 0, 3], BODY[4], atol=1e-6)


def test_files_of_other_layouts_come_together_in_the_joints_that_they_share(tmp_path: Path) -> None:
    write(tmp_path / "a.json")
    order = [0, 1, 5, 6, 7, 2, 3, 4]  # no arms, and the right leg first
    parents = tuple(order.index(PARENTS[joint]) for joint in order)
    write(tmp_path / "b.json", BODY[order], joints=tuple(NAMES[joint] for joint in order), parents=parents)
    with pytest.raises(ParseError, match="no LeftArm"):
        read_all(tmp_path)
    shared = ["Hips", "Neck", "LeftUpLeg", "LeftFoot", "RightUpLeg", "RightFoot"]
    first, second = read_all(tmp_path, joints=shared, unit_metres=1.0)
    assert first.skeleton == second.skeleton
    assert first.skeleton.parents[:6] == (0, 0, 0, 2, 0, 4)
    np.testing.assert_allclose(first.joints[0, 0, :6], BODY[[0, 1, 2, 4, 5, 7]], atol=1e-6)
    np.testing.assert_array_equal(first.joints, second.joints)


def test_bones_are_found_by_what_keeps_its_length(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frames = []
    for _ in range(40):  # legs and arms turn freely about their parents
        body = BODY.copy()
        for joint, parent in enumerate(PARENTS):
            if joint != parent:
                way = random.normal(size=3)
                body[joint] = body[parent] + np.linalg.norm(BODY[joint] - BODY[parent]) * way / np.linalg.norm(way)
        frames.append(body)
    write(tmp_path / "a.json", parents=None, positions=np.stack(frames)[None].tolist())
    (sequence,) = read_all(tmp_path, unit_metres=1.0)
    bones = {frozenset(bone) for bone in sequence.skeleton.bones}
    assert bones == {frozenset((joint, parent)) for joint, parent in enumerate(PARENTS) if joint != parent}


def test_a_reader_goes_to_workers_without_the_list_of_all_recordings(tmp_path: Path) -> None:
    write(tmp_path / "a.json")
    reader = Recordings().for_root(tmp_path)
    there = pickle.loads(pickle.dumps(reader))
    assert there.findings is None
    (record,) = reader.records(tmp_path)
    np.testing.assert_array_equal(there.read(tmp_path, record).joints, reader.read(tmp_path, record).joints)


@pytest.mark.parametrize(
    "options",
    [
        {"fps": -1.0},
        {"unit_metres": 0.0},
        {"pattern": "("},
        {"pattern": "(?P<lable>.)"},
        {"anchors": {"nose": "Hips"}},
        {"min_confidence": float("nan")},
        {"min_confidence": -1.0},
        {"joints": []},
        {"joints": ["Hips", "Hips"]},
    ],
)
def test_options_that_are_no_such_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Recordings(**options)  # pyright: ignore[reportArgumentType]


def test_a_file_or_a_folder_is_read_into_memory(tmp_path: Path) -> None:
    write(tmp_path / "b/2.json")
    write(tmp_path / "a/1.json", frames=7)
    assert [sequence.record.id for sequence in marrow.read(tmp_path)] == ["a/1", "b/2"]
    (sequence,) = marrow.read(tmp_path / "a/1.json", fps=50.0)
    assert (sequence.frame_count, sequence.fps, sequence.record.id) == (7, 50.0, "1")
    with pytest.raises(DataError, match="there is no"):
        marrow.read(tmp_path / "nowhere")


def test_the_middles_that_a_layout_lacks_are_derived(tmp_path: Path) -> None:
    """Legs and arms without Hips and Neck: both middles come after the files' joints; unit and up are measured."""
    kept = [joint for joint, name in enumerate(NAMES) if name not in ("Hips", "Neck")]
    names = tuple(NAMES[joint] for joint in kept)
    # Legs hang from the arms, the right arm from the left one: there is no trunk to hang from.
    write(tmp_path / "a.json", 100 * BODY[kept], joints=names, parents=(6, 0, 1, 7, 3, 4, 6, 6))
    (sequence,) = read_all(tmp_path)
    assert sequence.skeleton.joints == (*names, "MidShoulder", "MidHip")
    np.testing.assert_allclose(sequence.joints[0, 0], np.concatenate([BODY[kept], BODY[[1, 0]]]), atol=1e-6)
    assert sequence.skeleton.derived == {8: ((6, 0.5), (7, 0.5)), 9: ((0, 0.5), (3, 0.5))}
    assert "could not be" not in doubts(tmp_path)


def test_a_layout_of_ones_own(tmp_path: Path) -> None:
    """Ten joints without names, in a layout of which the last one is derived and z points up."""
    (tmp_path / "mine").mkdir()
    layout = tmp_path / "mine" / "suit.yaml"
    lines = [f"  j{joint}: {{parent: j{parent}}}" for joint, parent in enumerate(PARENTS) if joint]
    layout.write_text("up: z\njoints:\n  j0:\n" + "\n".join(lines) + "\nderived: {low: {of: [j4, j7]}}\n")
    write(tmp_path / "files" / "a.json", BODY[:, [2, 0, 1]], joints=None, parents=None)
    (sequence,) = read_all(tmp_path / "files", layout=str(layout))
    assert (sequence.skeleton.name, sequence.skeleton.up) == ("suit", "z")
    assert sequence.skeleton.joints[-1] == "low"
    np.testing.assert_allclose(sequence.joints[0, 0, 10], [0, 0, 0.08], atol=1e-6)
    np.testing.assert_allclose(sequence.joints[0, 0, 1], [0, 0, 1.4], atol=1e-6)
    kept = read_all(tmp_path / "files", layout=str(layout), joints=["j0", "j1", "j4"])[0]
    assert kept.skeleton.joints == ("j0", "j1", "j4")
    write(tmp_path / "others" / "a.json", BODY[:9], joints=None, parents=None)
    with pytest.raises(ConfigError, match="10 joints; the files have 9"):
        read_all(tmp_path / "others", layout=str(layout))


def test_names_that_are_those_of_a_layout_are_that_layout(tmp_path: Path) -> None:
    """In its order and, where the files say how, in its tree; else they are the files' own."""
    layout = marrow.get_skeleton("xsens_23")
    body = np.random.default_rng(0).normal(size=(23, 3))
    write(tmp_path / "whole" / "a.json", body, joints=layout.joints, parents=None)
    assert replace(read_all(tmp_path / "whole")[0].skeleton, up="y") == layout
    write(tmp_path / "other_tree" / "a.json", body, joints=layout.joints, parents=(0,) * 23)
    assert read_all(tmp_path / "other_tree")[0].skeleton.name.startswith("letters_23")


def test_ids_with_numbers_of_thousands_of_digits_are_ordered():
    from marrow.importing.labels import _natural

    names = ["a10", "a9", "a" + 5000 * "9", "a" + 5000 * "8", "b", "a009"]
    assert sorted(names, key=_natural) == ["a9", "a009", "a10", "a" + 5000 * "8", "a" + 5000 * "9", "b"]


@pytest.mark.parametrize("said", [True, False])
def test_files_in_different_units_are_read_as_each_says_or_doubted(tmp_path: Path, said: bool) -> None:
    for name, metres in {"a": 1.0, "b": 0.001, "c": 1.0}.items():
        write(tmp_path / f"{name}.json", BODY / metres, unit_metres=metres if said else None)
    assert "units" in doubts(tmp_path)
    a, b, _ = read_all(tmp_path)
    if said:
        np.testing.assert_allclose(b.joints, a.joints, atol=1e-5)
        # What the user says holds for all.
        told = read_all(tmp_path, unit_metres=0.001)
        np.testing.assert_allclose(told[0].joints, a.joints / 1000, atol=1e-5)
    else:
        assert any("size" in note for sequence in (a, b) for note in sequence.notes)


@pytest.mark.parametrize("up", ["z", "x", "-y", "-z"])
def test_files_with_different_upward_axes_are_turned_as_each_says(tmp_path: Path, up: str) -> None:
    body = BODY + (np.arange(10)[:, None] == NAMES.index("LeftFoot")) * [0, 0, 0.1]  # one foot to the front
    write(tmp_path / "a.json", body, up="y")
    write(tmp_path / "b.json", turned_up(np.roll(body, "xyz".index(up[-1]) - 1, axis=-1), up), up=up)
    write(tmp_path / "c.json", body, up="y")
    assert "upward axes" in doubts(tmp_path)
    a, b, _ = read_all(tmp_path)
    np.testing.assert_allclose(b.joints[..., 1], a.joints[..., 1], atol=1e-5)  # as high
    # To the left, upwards and to the front: no mirror.
    determinants = [np.linalg.det(s.joints[0, 0][[2, 1, 4]] - s.joints[0, 0][[5, 0, 3]]) for s in (a, b)]
    assert determinants[1] == pytest.approx(determinants[0], rel=1e-4)


def test_files_with_different_upward_axes_that_do_not_say_so_are_doubted(tmp_path: Path) -> None:
    write(tmp_path / "a.json")
    write(tmp_path / "b.json", np.roll(BODY, 1, axis=-1))
    write(tmp_path / "c.json")
    assert "y in 2 (a.json), z in 1 (b.json)" in doubts(tmp_path)
    assert ["axis" in " ".join(sequence.notes) for sequence in read_all(tmp_path)] == [False, True, False]


def test_small_and_tall_people_are_no_different_units(tmp_path: Path) -> None:
    write(tmp_path / "child.json", BODY * 0.6)
    write(tmp_path / "giant.json", BODY * 1.25)
    assert "unit" not in doubts(tmp_path)
    assert not any(sequence.notes for sequence in read_all(tmp_path))


def test_bodies_of_an_image_are_not_read_with_those_in_metres(tmp_path: Path) -> None:
    write(tmp_path / "a.json", unit_metres=1.0)
    write(tmp_path / "b.json", unit_metres=1.0)
    write(tmp_path / "c.json", BODY * 500, unit_metres=0.0)
    findings = Recordings().for_root(tmp_path).findings
    assert findings is not None
    assert list(findings.faults) == ["c"]
    assert "of an image" in str(findings.faults["c"])


@pytest.mark.parametrize("names", [["a#1", "a", "a#2"], ["x#y/a", "x/a", "x"]])
def test_a_hash_in_a_path_is_part_of_it(tmp_path: Path, names: list[str]) -> None:
    clips = [{"key": "1"}, {"key": "q#1"}]
    for place, name in enumerate(names):
        write(tmp_path / f"{name}.json", BODY + place, clips=clips if place == 0 else [{}])
    reader = Recordings().for_root(tmp_path)
    places = {record.id: reader.read(tmp_path, record).joints[0, 0, 0, 0] for record in reader.records(tmp_path)}
    expected = {f"{names[0]}/1": 0, f"{names[0]}/q#1": 0, names[1]: 1, names[2]: 2}
    assert places == pytest.approx(expected)


def test_a_link_to_itself_is_no_recording(tmp_path: Path) -> None:
    write(tmp_path / "a.json")
    (tmp_path / "b.txt").symlink_to("b.txt")
    (tmp_path / "up").symlink_to(".")
    assert len(read_all(tmp_path)) == 1


def test_a_file_that_may_not_be_read_is_missed_and_a_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.json")
    (tmp_path / "b.json").symlink_to("b.json")
    (tmp_path / "c.txt").symlink_to("nowhere")
    findings = Recordings().for_root(tmp_path).findings
    assert findings is not None
    assert (list(findings.faults), findings.no_recordings) == (["b"], ("c.txt",))

    write(tmp_path / "locked" / "d.json")
    listed = os.scandir

    def scandir(path: str) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match="locked: expected a readable folder"):
        Recordings().for_root(tmp_path)


@pytest.mark.parametrize("as_said", [True, False])
def test_joints_named_as_those_of_a_known_layout_are_found_in_any_order(tmp_path: Path, as_said: bool) -> None:
    layout = KINECT_V2_25
    order = list(np.argsort(layout.joints))
    body = np.random.default_rng(0).normal(size=(25, 3))
    names = [layout.joints[joint].upper() for joint in order]
    write(tmp_path / "a.json", body[order], joints=names, parents=None, unit_metres=1.0, up="y")
    options = {"layout": layout.name} if as_said else {}
    (sequence,) = read_all(tmp_path, **options)
    assert sequence.skeleton.joints == layout.joints
    np.testing.assert_allclose(sequence.joints[0, 0], body, atol=1e-6)
    (kept,) = read_all(tmp_path, joints=["HandLeft", "Neck"], **options)
    assert kept.skeleton.joints == ("Neck", "HandLeft")
    np.testing.assert_allclose(kept.joints[0, 0], body[[2, 7]], atol=1e-6)


def test_a_layout_that_is_said_of_joints_with_other_names_is_doubted(tmp_path: Path) -> None:
    names = [f"p{joint}" for joint in range(25)]
    write(tmp_path / "a.json", np.random.default_rng(0).normal(size=(25, 3)), joints=names, parents=None)
    assert "p0 is SpineBase" in doubts(tmp_path, layout="kinect_v2_25")


def test_an_option_that_the_format_does_not_look_at_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.json")
    with pytest.raises(ConfigError, match=r"--axes\) is for array"):
        Recordings(axes="NTVC").for_root(tmp_path)


@pytest.mark.parametrize("frames", [2, 4])
def test_joints_at_zero_in_some_frames_are_doubted(tmp_path: Path, frames: int) -> None:
    positions = np.repeat(BODY[None, None], 4, axis=1)
    positions[0, :, 0] = 0  # of all others the origin
    positions[0, :frames, 3] = 0
    write(tmp_path / "a.json", positions=positions.tolist())
    assert ("in 2 of the 4 bodies" in doubts(tmp_path)) == (frames == 2)


def test_a_table_that_names_several_files_or_none_by_a_row_is_doubted(tmp_path: Path) -> None:
    for name in ("u/a.json", "v/a.json", "v/b.json"):
        write(tmp_path / name)
    table = tmp_path / "labels.csv"
    table.write_text("file,label\nu/a.json,walk\nv/a.json,run\nv/b,run\n")
    assert "labels.csv" not in doubts(tmp_path, labels=str(table))
    table.write_text("file,label\na.json,walk\nb.json,run\nw/c.json,run\n")
    text = doubts(tmp_path, labels=str(table))
    assert "several folders at once by a.json" in text
    assert "1 rows of labels.csv name no recording, for example w/c.json" in text


def test_labels_that_differ_by_capitals_alone_are_doubted(tmp_path: Path) -> None:
    for name in ("Sit down/a.json", "sit_down/b.json", "run/c.json"):
        write(tmp_path / name)
    assert "capitals or signs alone: Sit down, sit_down" in doubts(tmp_path)


def test_what_cannot_be_read_stops_reading_or_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "a.json")
    write(tmp_path / "b.json")
    write(tmp_path / "c.json", BODY[:4], joints=NAMES[:4], parents=PARENTS[:4])
    with pytest.raises(ParseError, match="on_error=drop"):
        marrow.read(tmp_path)
    assert [sequence.record.id for sequence in marrow.read(tmp_path, on_error="drop")] == ["a", "b"]


def test_a_setting_is_named_as_in_python_and_as_on_the_command_line() -> None:
    assert setting("fps", "RATE") == "fps=RATE (--fps RATE)"
    assert setting("joints", typed="options.joints") == "joints (--options.joints)"
