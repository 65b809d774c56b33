"""What is wrong with one recording drops that one, whichever the reader; what systems leave behind is none."""

import json

import pytest
from ntu_text import skeleton_text, standing

from marrow.errors import ParseError
from marrow.readers import get_reader

NTU = skeleton_text([[(7, standing(0.01 * frame))] for frame in range(14)])
UCLA = json.dumps({"skeletons": [[[0.5, 1.5, 2.5]] * 20] * 3})
H36M = "\n".join([",".join(["0.25"] * 99)] * 4) + "\n"
CMU = "\n".join([",".join(["0.25"] * 117)] * 4) + "\n"
UTKINECT = "".join(f"{frame} {' '.join(['0.5'] * 60)}\n" for frame in range(1, 9))
PKU = "\n".join([" ".join(["0.5"] * 150)] * 9) + "\n"
PKU_SPLIT = {"cross-subject.txt": "Training videos:\n0002-L\nValidataion videos:\n0291-L\n"}
LABELS = "actionLabel_modified.txt"
# Files of two good recordings; of one more with a fault that listing sees; and the good ones' place in the text.
CASES = {
    "ntu": (
        {"S001C001P001R001A001.skeleton": NTU, "S001C001P001R001A002.skeleton": NTU},
        {"S001C001P001R001.skeleton": NTU},
    ),
    "nw_ucla": ({"a01_s01_e00_v01.json": UCLA, "a02_s01_e00_v01.json": UCLA}, {"b.json": UCLA}),
    "h36m": ({"S1/walking_1.txt": H36M, "S5/eating_1.txt": H36M}, {"S1/jumping_1.txt": H36M}),
    "cmu_mocap": (
        {"train/walking/walking_1.txt": CMU, "test/running/running_1.txt": CMU},
        {"train/walking/wandering.txt": CMU},
    ),
    "utkinect": (
        {
            "joints_s01_e01.txt": UTKINECT,
            "joints_s02_e01.txt": UTKINECT,
            LABELS: "s01_e01\nwalk: 1 4\n\ns02_e01\npush: 2 3\ns03_e01\nwalk: 4 1\n",
        },
        {"joints_s03_e01.txt": UTKINECT},
    ),
    "pku_mmd": (
        {
            "skeleton/0002-L.txt": PKU,
            "skeleton/0291-L.txt": PKU,
            "label/0002-L.txt": "1,0,4,2\n\n",
            "label/0291-L.txt": "2,1,3,2\n",
            **PKU_SPLIT,
        },
        {"skeleton/0003-L.txt": PKU, "label/0003-L.txt": "1,0,four,2\n"},
    ),
}


def put(root, files, encoding="utf-8"):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode(encoding))


def read_all(reader, root):
    """Return joints by id, and the ids of recordings with a fault."""
    joints, faults = {}, []
    for record in reader.records(root):
        try:
            joints[record.id] = reader.read(root, record).joints.tolist()
        except ParseError:
            faults.append(record.id)
    return joints, faults


@pytest.mark.parametrize("name", CASES)
def test_a_fault_is_that_of_one_recording_and_hidden_files_are_none(tmp_path, name):
    good, wrong = CASES[name]
    put(tmp_path, good)
    reader = get_reader(name)
    expected, faults = read_all(reader, tmp_path)
    assert len(expected) == 2
    assert faults == []
    hidden = {}
    for path in good:
        folder, _, file = path.rpartition("/")
        hidden[f"{folder}/._{file}".lstrip("/")] = "\0\5"
        hidden[f"__MACOSX/{path}"] = "\0\5"
        hidden[f".ipynb_checkpoints/{path}"] = "\0\5"
    put(tmp_path, wrong | hidden)
    found, faults = read_all(reader, tmp_path)
    assert found == expected
    assert faults == [next(iter(wrong))]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("way", ["mark", "carriage returns", "utf-16", "blank lines", "ctrl-z"])
def test_text_as_systems_write_it(tmp_path, name, way):
    good, _ = CASES[name]
    put(tmp_path / "plain", good)
    changed = {
        "mark": lambda text: "\ufeff" + text,
        "carriage returns": lambda text: text.replace("\n", "\r"),
        "utf-16": lambda text: text,
        "blank lines": lambda text: text.replace("\n", "\n\n"),
        "ctrl-z": lambda text: text + "\x1a",
    }[way]
    put(
        tmp_path / "changed",
        {path: changed(content) for path, content in good.items()},
        encoding="utf-16" if way == "utf-16" else "utf-8",
    )
    reader = get_reader(name)
    assert read_all(reader, tmp_path / "changed") == read_all(reader, tmp_path / "plain")
