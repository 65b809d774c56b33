"""Every reader passes the checks that are shipped, and the checks can fail."""

import dataclasses
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from marrow.errors import ParseError
from marrow.readers import READERS, Split, get_reader
from marrow.readers.bvh import BVH
from marrow.readers.ntu import NTU
from marrow.readers.nw_ucla import NWUCLA
from marrow.readers.pku_mmd import PKUMMD
from marrow.readers.utkinect import UTKinect
from marrow.store import Store, convert_recordings
from marrow.store.summary import summarise
from marrow.testing import check_reader

sys.path.insert(0, str(Path(__file__).parents[1] / "readers"))
import penn_files

NTU_NAME, UCLA_NAME = "S001C001P001R001A001.skeleton", "a01_s01_e00_v01.json"
H36M_NAME, BVH_NAME, CMU_NAME = "S1/walking_1.txt", "clip.bvh", "test/walking/walking_1.txt"


def bodies(joint_count, frame_count, seed):
    """Joints on a chain with steps of 0.2 m, shaken a little: every bone is a fraction of a metre long."""
    generator = np.random.default_rng(seed)
    steps = generator.normal(size=(joint_count, 3))
    chain = np.cumsum(0.2 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)
    return chain + np.array([0, 0, 3]) + generator.normal(scale=0.01, size=(frame_count, joint_count, 3))


def ntu_text(joints):
    lines = [str(len(joints))]
    for frame in joints:
        lines += ["1", "72057594037931101 0 0 0 0 0 0 0 0 2", str(len(frame))]
        lines += [f"{x:.7f} {y:.7f} {z:.7f} 250 200 900 500 0 0 0 1 2" for x, y, z in frame]
    return "\n".join(lines) + "\n"


def ucla_text(joints):
    return json.dumps({"skeletons": joints.tolist()})


def pku_text(joints):
    return "\n".join(" ".join(f"{value:.6f}" for value in frame.ravel()) for frame in joints) + "\n"


def h36m_text(frame_count, seed, columns=99):
    angles = np.random.default_rng(seed).normal(scale=0.1, size=(frame_count, columns))
    return "\n".join(",".join(f"{value:.7f}" for value in frame) for frame in angles) + "\n"


def bvh_text(frame_count, seed, leg="LeftLeg"):
    angles = np.random.default_rng(seed).normal(scale=20, size=(frame_count, 12))
    tip = "\n      End Site\n      {\n        OFFSET 0 -40 0\n      }\n    }"
    joints = [
        f"  JOINT {name}\n    {{\n      OFFSET {x} 0 0\n      CHANNELS 3 Zrotation Xrotation Yrotation{tip}"
        for name, x in ((leg, 10), ("RightLeg", -10))
    ]
    channels = "CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation"
    head = f"HIERARCHY\nROOT Hips\n{{\n  OFFSET 0 0 0\n  {channels}\n" + "\n".join(joints) + "\n}\nMOTION"
    frames = "\n".join(" ".join(f"{value:.4f}" for value in frame) for frame in angles)
    return f"{head}\nFrames: {frame_count}\nFrame Time: 0.0333333\n{frames}\n"


def ntu_folder(folder: Path, unit=1.0):
    for setup, performer in ((1, 1), (2, 3), (3, 8)):
        text = ntu_text(unit * bodies(25, 20, performer))
        (folder / f"S{setup:03d}C{setup:03d}P{performer:03d}R001A005.skeleton").write_text(text)
    return folder


def ucla_folder(folder: Path, unit=1.0):
    for view in (1, 2, 3):
        (folder / f"a02_s01_e00_v{view:02d}.json").write_text(ucla_text(unit * bodies(20, 15, view)))
    return folder


def pku_mmd_folder(folder: Path, unit=1.0):
    for kind in ("skeleton", "label"):
        (folder / kind).mkdir()
    for seed, name in enumerate(("0002-L", "0002-R", "0291-L")):
        two = np.stack([bodies(25, 30, seed), bodies(25, 30, seed + 10)], axis=1)
        (folder / "skeleton" / f"{name}.txt").write_text(pku_text(unit * two))
        (folder / "label" / f"{name}.txt").write_text("1,0,12,2\n51,15,30,1\n")
    (folder / "cross-subject.txt").write_text("Training videos:\n0002-L,0002-R\nValidataion videos:\n0291-L,\n")
    (folder / "cross-view.txt").write_text("Training videos:\n0002-R,\nValidataion videos:\n0002-L,0291-L\n")
    return folder


def h36m_folder(folder: Path):
    for subject in (1, 5, 11):
        (folder / f"S{subject}").mkdir()
        (folder / f"S{subject}" / "walking_1.txt").write_text(h36m_text(20, subject))
    return folder


def cmu_folder(folder: Path):
    for seed, half in enumerate(("train", "test")):
        (folder / half / "walking").mkdir(parents=True)
        (folder / half / "walking" / "walking_1.txt").write_text(h36m_text(20, seed, columns=117))
    return folder


def bvh_folder(folder: Path):
    for seed in range(3):
        (folder / f"clip{seed}.bvh").write_text(bvh_text(10, seed))
    return folder


NTU_GOOD = ntu_text(bodies(25, 3, 0))
NTU_LINES = NTU_GOOD.splitlines(keepends=True)
UCLA_GOOD = ucla_text(bodies(20, 3, 0))
H36M_GOOD, BVH_GOOD, CMU_GOOD = h36m_text(3, 0), bvh_text(3, 0), h36m_text(3, 0, columns=117)
BROKEN = {
    "ntu": {
        "truncated": (NTU_NAME, NTU_GOOD[:-200]),
        "empty": (NTU_NAME, ""),
        "not numbers": (NTU_NAME, NTU_GOOD.replace("250", "abc", 1)),
        "not a number": (
            NTU_NAME,
            "".join([*NTU_LINES[:5], "nan nan nan 0 0 0 0 0 0 0 1 2\n", *NTU_LINES[6:]]),
        ),
        "joint count": (NTU_NAME, ntu_text(bodies(20, 3, 0))),
        "name": ("clip.skeleton", NTU_GOOD),
    },
    "nw_ucla": {
        "truncated": (UCLA_NAME, UCLA_GOOD[:-200]),
        "empty": (UCLA_NAME, ""),
        "not numbers": (UCLA_NAME, UCLA_GOOD.replace("[[[", '[[["abc", ', 1)),
        "not a number": (UCLA_NAME, UCLA_GOOD.replace("3.", "NaN, 3.", 1).replace("NaN, 3.", "NaN, ", 1)),
        "joint count": (UCLA_NAME, ucla_text(bodies(25, 3, 0))),
        "name": ("clip.json", UCLA_GOOD),
    },
    "h36m": {
        "truncated": (H36M_NAME, H36M_GOOD[:-200]),
        "empty": (H36M_NAME, ""),
        "not numbers": (H36M_NAME, H36M_GOOD.replace("0.", "x", 1)),
        "not a number": (H36M_NAME, H36M_GOOD.replace(",", ",nan,", 1)),
        "name": ("S1/clip.txt", H36M_GOOD),
    },
    "cmu_mocap": {
        "truncated": (CMU_NAME, CMU_GOOD[:-200]),
        "empty": (CMU_NAME, ""),
        "not numbers": (CMU_NAME, CMU_GOOD.replace("0.", "x", 1)),
        "joint count": (CMU_NAME, H36M_GOOD),
        "name": ("train/walking/clip.txt", CMU_GOOD),
    },
    "bvh": {
        "truncated": (BVH_NAME, BVH_GOOD[:-40]),
        "empty": (BVH_NAME, ""),
        "not numbers": (BVH_NAME, BVH_GOOD.replace("OFFSET 10", "OFFSET x")),
        "not a number": (BVH_NAME, BVH_GOOD.replace(" 0.0333333", " nan")),
        "frame count": (BVH_NAME, BVH_GOOD.replace("Frames: 3", "Frames: 5")),
    },
}


def synthetic_folder(folder: Path):
    return folder


def utkinect_folder(folder: Path, unit=1.0):
    labels = []
    for subject in (1, 5, 6):
        rows = np.column_stack([np.arange(100, 130, 3), unit * bodies(20, 10, subject).reshape(10, 60)])
        np.savetxt(folder / f"joints_s{subject:02d}_e01.txt", rows, "%.6f")
        labels.append(f"s{subject:02d}_e01\nwalk: 103 110\nsitDown: 110 127\n")
    (folder / "actionLabel_modified.txt").write_text("".join(labels))
    return folder


FOLDERS = {
    "bvh": bvh_folder,
    "cmu_mocap": cmu_folder,
    "h36m": h36m_folder,
    "ntu": ntu_folder,
    "nw_ucla": ucla_folder,
    "penn_action": penn_files.folder_of_three,
    "pku_mmd": pku_mmd_folder,
    "synthetic": synthetic_folder,
    "utkinect": utkinect_folder,
}
# Subject 11 of Human3.6M is left for validation.
COVER = {name: name != "h36m" for name in FOLDERS}


@pytest.mark.parametrize("name", sorted(READERS))
def test_reader_passes(name, tmp_path):
    check_reader(get_reader(name), FOLDERS[name](tmp_path), splits_cover=COVER[name])


def test_whole_recordings_of_pku_mmd_pass(tmp_path):
    check_reader(PKUMMD(kind="untrimmed"), pku_mmd_folder(tmp_path))


def test_clips_of_utkinect_pass(tmp_path):
    check_reader(UTKinect(trimmed=True), utkinect_folder(tmp_path))


def test_ntu_120_passes(tmp_path):
    check_reader(NTU(version=120), ntu_folder(tmp_path))


@pytest.mark.parametrize(("name", "fault"), [(name, fault) for name in BROKEN for fault in BROKEN[name]])
def test_malformed_file_is_refused(name, fault, tmp_path):
    file_name, content = BROKEN[name][fault]
    folder = FOLDERS[name](tmp_path)
    check_reader(get_reader(name), folder, broken={file_name: content.encode()}, splits_cover=COVER[name])


def test_malformed_files_of_penn_action_are_refused(tmp_path):
    good = penn_files.write(tmp_path / "good" / "0001.mat").read_bytes()
    other = penn_files.write(tmp_path / "other" / "0001.mat", action="sleep").read_bytes()
    broken = {"0001.mat": good[:-200], "0002.mat": b"", "0003.mat": b"x" * 300, "0004.mat": other}
    check_reader(get_reader("penn_action"), penn_files.folder_of_three(tmp_path / "three"), broken=broken)


@pytest.mark.parametrize(
    "fault",
    [
        ("skeleton/0291-L.txt", "1 2 3\n"),
        ("skeleton/0291-L.txt", ""),
        ("label/0291-L.txt", "1,0,12\n"),
        ("label/0291-L.txt", "1,0,twelve,2\n"),
        ("cross-subject.txt", "0002-L\n"),
    ],
)
def test_a_malformed_file_among_those_of_pku_mmd_is_refused(fault, tmp_path):
    """A single file of PKU-MMD is no data set, so the fault is put among good ones."""
    root = pku_mmd_folder(tmp_path)
    (root / fault[0]).write_text(fault[1])
    with pytest.raises(ParseError) as caught:
        [PKUMMD().read(root, record) for record in PKUMMD().records(root)]
    assert (caught.value.path, caught.value.line) == (root / fault[0], 1)


def test_a_reader_that_learns_from_files_must_have_the_skeleton_of_all(tmp_path):
    folder = bvh_folder(tmp_path)
    (folder / "other.bvh").write_text(bvh_text(3, 0, leg="LeftThigh"))
    with pytest.raises(ParseError, match="it has no joint 'LeftLeg'"):
        check_reader(get_reader("bvh"), folder)


@pytest.mark.data
@pytest.mark.slow
def test_bvh_passes_on_the_real_recordings(data_folder, tmp_path):
    """All of data set 1, and the left hands of one style of data set 2; the figures are those of the description."""
    import tarfile

    with tarfile.open(data_folder / "bandai_namco" / "bandai_namco.tar.xz") as archive:
        for member in archive:
            if re.search(r"dataset-1_.*bvh|dataset-2_raise-up-left-hand_normal.*bvh", member.name):
                archive.extract(member, tmp_path, filter="data")
    reader = BVH(pattern="dataset-(?P<dataset>.)_(?P<label>[^_]+)_(?P<style>[^_]+)_(?P<take>[0-9]+)")
    check_reader(reader, tmp_path)
    store = Store.open(convert_recordings(reader, tmp_path, tmp_path / "store").store)
    declared = [int(file.read_text().partition("Frames:")[2].split()[0]) for file in tmp_path.rglob("*.bvh")]
    assert (int(store.frame_count.sum()), set(store.fps.tolist())) == (sum(declared), {30.0})
    assert (store.attribute("dataset") == 1).sum() == 174
    assert len(store.skeleton.joints) == 21
    joints, _, _ = store.flat()
    lengths = np.stack([np.linalg.norm(joints[:, a] - joints[:, b], axis=-1) for a, b in store.skeleton.bones])
    np.testing.assert_allclose(lengths.std(axis=1), 0, atol=1e-5)
    left, right, toes = (store.skeleton.index(name) for name in ("Hand_L", "Hand_R", "Toes_L"))
    assert np.median(joints[:, toes, 1]) == pytest.approx(0.042, abs=0.005)
    rows = np.flatnonzero(store.label == store.classes.index("raise-up-left-hand"))
    assert len(rows)
    for row in rows:
        highest = store.frames(int(row))[0][0, :, [left, right], 1].max(axis=1)
        assert highest[0] > highest[1] + 0.3


@dataclasses.dataclass(frozen=True)
class Spoilt:
    """NW-UCLA with one fault."""

    fault: str
    name: str = "spoilt"
    skeleton = NWUCLA.skeleton
    classes = NWUCLA.classes

    @property
    def splits(self):
        everything = Split(train=lambda record: True, test=lambda record: True)
        nothing = Split(train=lambda record: False, test=lambda record: False)
        return {"both": {"all": everything}, "neither": {"all": nothing}}.get(self.fault, NWUCLA.splits)

    @property
    def folds(self):
        faulty = {"fold": "k-fold:1", "attribute": "leave-one-out:person", "one fold": "leave-one-out:subject=1"}
        name = "xview" if self.fault == "name" else "loso"
        return {name: faulty.get(self.fault, "leave-one-out:subject")}

    def records(self, root):
        records = list(NWUCLA().records(root))
        changes = {"ids": {"id": "one"}, "labels": {"label": 10}}.get(self.fault, {})
        return iter([dataclasses.replace(record, **changes) for record in records])

    def read(self, root, record):
        if self.fault == "crash":
            try:
                return NWUCLA().read(root, record)
            except ValueError:
                raise
            except Exception as error:
                raise IndexError(str(error)) from error
        sequence = NWUCLA().read(root, record)
        if self.fault == "random":
            noise = np.random.default_rng().normal(size=sequence.joints.shape)
            return dataclasses.replace(sequence, joints=sequence.joints + noise.astype(np.float32))
        if self.fault == "absent":
            present = sequence.present.copy()
            present[0, 0, 0] = False
            return dataclasses.replace(sequence, present=present)
        if self.fault == "record":
            return dataclasses.replace(sequence, record=dataclasses.replace(record, id="another"))
        return sequence


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("ids", "two records are called one"),
        ("labels", "has label 10"),
        ("both", "both halves of all"),
        ("neither", "neither half of all"),
        ("fold", "at least 2 folds, got 1"),
        ("attribute", "no clip has the attribute 'person'; attributes: action, episode, subject, view"),
        ("one fold", "leave-one-out:ATTRIBUTE"),
        ("name", "a split has this name"),
        ("random", "reading twice gives different positions"),
        ("absent", "an absent joint is not at zero"),
        ("record", "carries another record"),
        ("crash", "must raise a ParseError, got IndexError"),
    ],
)
def test_faults_are_found(fault, says, tmp_path):
    with pytest.raises(AssertionError, match=says):
        check_reader(Spoilt(fault), ucla_folder(tmp_path), broken={UCLA_NAME: b""})


def test_nothing_looks_wrong_with_poses_without_a_place(tmp_path):
    """The hips of Human3.6M lie at the origin in every frame, and a bone of it has 0.1 mm."""
    store = Store.open(convert_recordings(get_reader("h36m"), h36m_folder(tmp_path), tmp_path / "store").store)
    assert (store.frames(0)[0][0, :, 0] == 0).all()
    # Subject 11 is for validation: it is in no half of the split.
    assert not [text for text in summarise(store).warnings if "class" not in text and "no half" not in text]


def test_millimetres_are_found(tmp_path):
    with pytest.raises(AssertionError, match="are the positions in metres"):
        check_reader(NWUCLA(), ucla_folder(tmp_path, unit=1000))


def test_a_reader_that_takes_a_bad_file_is_found(tmp_path):
    with pytest.raises(AssertionError, match="but it was read"):
        check_reader(NWUCLA(), ucla_folder(tmp_path), broken={UCLA_NAME: UCLA_GOOD.encode()})
