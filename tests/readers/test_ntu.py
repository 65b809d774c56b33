"""NTU RGB+D: names, protocols, options, and agreement with the published preparation."""

import lzma
import tarfile
from collections import Counter

import numpy as np
import pytest
from ntu_text import skeleton_text, standing

from marrow.errors import ConfigError, DataError, ParseError
from marrow.parity.ntu import compare_ntu
from marrow.readers import SkipRecording
from marrow.readers.ntu import NTU

NAME = "S001C002P003R002A013"
RAW = {
    "drop_empty_frames": False,
    "close_gaps": False,
    "remove_short": False,
    "remove_flat": False,
    "select_actors": False,
    "translate": False,
}


@pytest.fixture
def write(tmp_path):
    def write_file(frames, name=NAME):
        (tmp_path / f"{name}.skeleton").write_text(skeleton_text(frames))
        return tmp_path

    return write_file


def read(root, **options):
    reader = NTU(**options)
    return reader.read(root, next(iter(reader.records(root))))


def moving(frame, start=0.0, speed=0.02):
    return standing(start + speed * frame)


def test_record_of_a_name(write):
    (record,) = NTU().records(write([[(1, standing())]]))
    assert (record.id, record.path, record.label) == (NAME, f"{NAME}.skeleton", 12)
    assert record.attributes == {"setup": 1, "camera": 2, "subject": 3, "replication": 2, "action": 13}
    assert NTU().classes[record.label] == "tear up paper"


def test_files_are_found_at_any_depth_and_once(tmp_path):
    for folder in ("b", "a"):
        (tmp_path / folder).mkdir()
    (tmp_path / "b" / "S001C001P001R001A001.skeleton").touch()
    (tmp_path / "a" / "S001C001P001R001A002.skeleton").touch()
    assert [record.path[:3] for record in NTU().records(tmp_path)] == ["b/S", "a/S"]
    (tmp_path / "a" / "S001C001P001R001A001.skeleton").touch()
    records = list(NTU().records(tmp_path))
    assert [record.fault is None for record in records] == [True, False, True]
    with pytest.raises(ParseError, match="once"):
        NTU().read(tmp_path, records[1])


def test_setups_above_17_belong_to_120(tmp_path):
    for name in ("S017C001P001R001A060", "S018C001P001R001A061"):
        (tmp_path / f"{name}.skeleton").touch()
    assert [record.id for record in NTU(version=60).records(tmp_path)] == ["S017C001P001R001A060"]
    assert len(list(NTU(version=120).records(tmp_path))) == 2


@pytest.mark.parametrize(
    "name",
    [
        "clip",
        "S001C001P001R001",
        "S001C001P001R001A001_rgb",
        "S000C001P001R001A001",
        "S033C001P001R001A001",
        "S001C004P001R001A001",
        "S001C001P107R001A001",
        "S001C001P001R003A001",
        "S001C001P001R001A121",
        "S001C001P001R001A061",  # an action of 120 in a setup of 60
    ],
)
def test_wrong_names(tmp_path, name):
    (tmp_path / f"{name}.skeleton").touch()
    (tmp_path / "S001C001P001R001A001.skeleton").touch()
    good, wrong = sorted(NTU().records(tmp_path), key=lambda record: record.fault is not None)
    assert (good.id, good.fault) == ("S001C001P001R001A001", None)
    assert (wrong.id, wrong.label) == (f"{name}.skeleton", -1)
    with pytest.raises(ParseError, match="expected a") as caught:
        NTU().read(tmp_path, wrong)
    assert caught.value.path == tmp_path / f"{name}.skeleton"


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match="holds no file"):
        list(NTU().records(tmp_path))
    with pytest.raises(DataError, match="is not a folder"):
        list(NTU().records(tmp_path / "nowhere"))


def test_missing_list(tmp_path):
    for name in ("S001C001P001R001A001", "S001C001P001R001A002"):
        (tmp_path / f"{name}.skeleton").touch()
    listed = tmp_path / "missing.txt"
    listed.write_text("The following samples have no skeletons:\nS001C001P001R001A001\nS009C001P001R001A001\n")
    assert [record.id[-1] for record in NTU(missing_list=listed).records(tmp_path)] == ["2"]
    listed.write_text("none\n")
    with pytest.raises(ConfigError, match="names no recording"):
        list(NTU(missing_list=listed).records(tmp_path))
    with pytest.raises(ConfigError, match="cannot be read"):
        list(NTU(missing_list=tmp_path / "typo.txt").records(tmp_path))


def test_version_is_60_or_120():
    with pytest.raises(ConfigError, match="60 or 120"):
        NTU.__post_init__(type("Wrong", (), {"version": 90})())
    assert (len(NTU(version=60).classes), len(set(NTU(version=120).classes))) == (60, 120)
    assert (list(NTU(version=60).splits), list(NTU(version=120).splits)) == (["xsub", "xview"], ["xsub", "xset"])


def test_one_body_is_translated_and_the_way_back_is_kept(write):
    frames = [[], *([(5, moving(frame, start=1.0))] for frame in range(3)), []]
    sequence = read(write(frames))
    source = np.stack([moving(frame, start=1.0) for frame in range(3)]).astype(np.float32)
    assert sequence.joints.shape == (1, 3, 25, 3)
    assert sequence.present.all()
    assert sequence.joints[0, 0, 1].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(sequence.joints[0], source - source[0, 1])
    np.testing.assert_allclose(sequence.placement.to_source(sequence.joints[0]), source, atol=1e-6)


def test_without_any_step_bodies_stay_as_tracked(write):
    # A short, flat body comes first; the gap, the empty frame and the camera's coordinates stay.
    lying = standing(width=1.6, height=0.5)
    frames = [[(9, lying)], [], [(4, standing()), (9, lying)], [(4, standing(1))]]
    sequence = read(write(frames), **RAW)
    assert sequence.present[..., 0].tolist() == [[True, False, True, False], [False, False, True, True]]
    np.testing.assert_array_equal(sequence.joints[0, 2], lying.astype(np.float32))
    np.testing.assert_array_equal(sequence.joints[1, 3], standing(1).astype(np.float32))
    assert (sequence.joints[~sequence.present] == 0).all()
    assert (sequence.placement.translation == 0).all()


def test_each_step_can_be_switched_off(write):
    lying = standing(2, width=1.6, height=0.5)
    frames = [[(1, moving(frame))] for frame in range(30)]
    frames[3].append((2, standing(1)))  # short
    for frame in range(12, 30):
        frames[frame].append((3, lying + 0.1 * frame))  # flat, and the most mobile
    frames[15].insert(0, (4, standing(-1)))
    frames[15].pop(1)  # body 1 is away in frame 15, and body 4, short, is there
    root = write(frames)
    assert read(root).body_count == 1
    assert read(root).frame_count == 29  # the frames in which the one body that is left is present, its gap closed
    assert read(root, remove_flat=False).body_count == 2
    assert read(root, select_actors=False, remove_short=False, remove_flat=False).body_count == 4
    kept_gap = read(root, close_gaps=False, drop_empty_frames=False)
    assert kept_gap.present[0, :, 0].tolist() == [frame != 15 for frame in range(30)]
    assert read(root, translate=False).joints[0, 0, 0].tolist() == pytest.approx([0.0, 0.0, 2.0])


def test_single_body_is_copied_only_where_asked(write):
    root = write([[(5, moving(frame))] for frame in range(3)])
    assert read(root).body_count == 1
    pair = read(root, duplicate_single_body=True)
    np.testing.assert_array_equal(pair.joints[0], pair.joints[1])
    assert pair.present.all()


def test_two_bodies_are_not_copied(write):
    root = write([[(5, moving(frame)), (6, moving(frame, 1, 0.1))] for frame in range(12)])
    pair = read(root, duplicate_single_body=True)
    assert pair.body_count == 2
    assert not np.array_equal(pair.joints[0], pair.joints[1])


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([], "nobody is seen in any of its 0 frames"),
        ([[], []], "nobody is seen in any of its 2 frames"),
        ([[(1, np.zeros((25, 3)))]], "nobody is seen"),
        ([[(1, standing()), (2, standing(1))]] * 11, "none of its 2 bodies is tracked for more than 11 frames"),
    ],
)
def test_recordings_without_anybody_are_skipped_with_the_reason(write, frames, reason):
    with pytest.raises(SkipRecording, match=reason):
        read(write(frames))


def test_eleven_frames_of_a_single_body_are_kept(write):
    assert read(write([[(1, standing())]] * 11)).frame_count == 11


def test_comparison_tells_what_differs(write, tmp_path):
    root = write([[(5, moving(frame))] for frame in range(3)])
    joints = read(root).joints.swapaxes(0, 1)
    absent = np.zeros_like(joints)

    def compare(array, name=NAME):
        np.savez(tmp_path / "expected.npz", **{name: array})
        (result,) = compare_ntu(root, tmp_path / "expected.npz")
        return result

    assert compare(np.concatenate([joints, absent], axis=1)) == (NAME, 0.0, "")
    assert compare(np.concatenate([joints, joints], axis=1))[1:] == (0.0, "compared with duplicate_single_body")
    moved = np.concatenate([joints, absent], axis=1)
    moved[1, 0, 7, 2] += 0.25
    assert compare(moved).error_m == pytest.approx(0.25)
    assert compare(np.concatenate([joints, absent + 0.5], axis=1)).error_m == pytest.approx(0.5)
    assert compare(joints[:2]).note == "expected 2 frames, got 3"
    assert compare(joints * np.nan).error_m == np.inf
    assert "holds no" in compare(joints, "S001C001P001R001A002").note
    (tmp_path / "expected.npz").write_text("not an archive")
    with pytest.raises(DataError, match="npz"):
        compare_ntu(root, tmp_path / "expected.npz")


@pytest.mark.data
def test_recorded_preparation_is_reproduced_to_the_bit(fixtures_folder, tmp_path):
    with tarfile.open(fixtures_folder / "ntu_skeletons.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    results = compare_ntu(tmp_path, fixtures_folder / "ntu_expected.npz")
    assert len(results) == 26
    assert max(result.error_m for result in results) == 0.0


@pytest.mark.data
def test_protocols_have_the_published_sizes(fixtures_folder, tmp_path):
    names = lzma.decompress((fixtures_folder / "ntu_names.txt.xz").read_bytes()).decode().split()
    # The protocols look at setup, camera and performer alone: one name stands for all that share these.
    counts = Counter(name[:12] for name in names)
    examples = {name[:12]: name for name in names}

    class Listing(type(tmp_path)):
        """A folder that lists those names, without their files."""

        def rglob(self, pattern):
            return [self / f"{name}.skeleton" for name in examples.values()]

    sizes = {}
    for version in (60, 120):
        reader = NTU(version=version)
        records = list(reader.records(Listing(tmp_path)))
        for name, split in reader.splits.items():
            sizes[version, name] = tuple(
                sum(counts[record.id[:12]] for record in records if half(record)) for half in (split.train, split.test)
            )
    assert sizes == {
        (60, "xsub"): (40_091, 16_487),
        (60, "xview"): (37_646, 18_932),
        (120, "xsub"): (63_026, 50_919),
        (120, "xset"): (54_468, 59_477),
    }
