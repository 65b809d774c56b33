"""Every reader passes the checks that are shipped, and the checks can fail."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from marrow.readers import READERS, Split, get_reader
from marrow.readers.ntu import NTU
from marrow.readers.nw_ucla import NWUCLA
from marrow.testing import check_reader

NTU_NAME, UCLA_NAME = "S001C001P001R001A001.skeleton", "a01_s01_e00_v01.json"


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


def ntu_folder(folder: Path, unit=1.0):
    for setup, performer in ((1, 1), (2, 3), (3, 8)):
        text = ntu_text(unit * bodies(25, 20, performer))
        (folder / f"S{setup:03d}C{setup:03d}P{performer:03d}R001A005.skeleton").write_text(text)
    return folder


def ucla_folder(folder: Path, unit=1.0):
    for view in (1, 2, 3):
        (folder / f"a02_s01_e00_v{view:02d}.json").write_text(ucla_text(unit * bodies(20, 15, view)))
    return folder


NTU_GOOD = ntu_text(bodies(25, 3, 0))
NTU_LINES = NTU_GOOD.splitlines(keepends=True)
UCLA_GOOD = ucla_text(bodies(20, 3, 0))
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
}


def synthetic_folder(folder: Path):
    return folder


FOLDERS = {"ntu": ntu_folder, "nw_ucla": ucla_folder, "synthetic": synthetic_folder}


@pytest.mark.parametrize("name", sorted(READERS))
def test_reader_passes(name, tmp_path):
    check_reader(get_reader(name), FOLDERS[name](tmp_path))


def test_ntu_120_passes(tmp_path):
    check_reader(NTU(version=120), ntu_folder(tmp_path))


@pytest.mark.parametrize(("name", "fault"), [(name, fault) for name in BROKEN for fault in BROKEN[name]])
def test_malformed_file_is_refused(name, fault, tmp_path):
    file_name, content = BROKEN[name][fault]
    check_reader(get_reader(name), FOLDERS[name](tmp_path), broken={file_name: content.encode()})


@pytest.mark.data
def test_nw_ucla_passes_on_the_real_recordings(data_folder, tmp_path):
    import tarfile

    with tarfile.open(data_folder / "nw_ucla" / "all_sqe.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    root = tmp_path / "all_sqe"
    check_reader(NWUCLA(), root)
    split = NWUCLA.splits["xview"]
    records = list(NWUCLA().records(root))
    assert (sum(map(split.train, records)), sum(map(split.test, records))) == (1020, 464)


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
        ("random", "reading twice gives different positions"),
        ("absent", "an absent joint is not at zero"),
        ("record", "carries another record"),
        ("crash", "must raise a ParseError, got IndexError"),
    ],
)
def test_faults_are_found(fault, says, tmp_path):
    with pytest.raises(AssertionError, match=says):
        check_reader(Spoilt(fault), ucla_folder(tmp_path), broken={UCLA_NAME: b""})


def test_millimetres_are_found(tmp_path):
    with pytest.raises(AssertionError, match="are the positions in metres"):
        check_reader(NWUCLA(), ucla_folder(tmp_path, unit=1000))


def test_a_reader_that_takes_a_bad_file_is_found(tmp_path):
    with pytest.raises(AssertionError, match="but it was read"):
        check_reader(NWUCLA(), ucla_folder(tmp_path), broken={UCLA_NAME: UCLA_GOOD.encode()})
