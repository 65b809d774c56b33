"""Recordings as people have them, that were refused or wrongly trusted: one test per case, and others of its kind.

Inputs are made here; what is right about them is known from how they are made.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from bodies import bvh, places
from bvh_text import upper_body
from ntu_text import skeleton_text, standing

from marrow.cli.main import main
from marrow.data.augment import AugmentConfig
from marrow.data.loader import ResidentLoader
from marrow.data.window import InputConfig
from marrow.errors import ConfigError, ParseError
from marrow.importing.importer import Recordings
from marrow.readers.bvh import BVH
from marrow.readers.h36m import H36M
from marrow.readers.ntu import NTU
from marrow.readers.nw_ucla import NWUCLA
from marrow.readers.pku_mmd import PKUMMD
from marrow.readers.utkinect import UTKinect
from marrow.store import Store, convert_recordings
from marrow.store.summary import Summary, summarise

BOTH = pytest.mark.parametrize("reader", [BVH, Recordings])
LIMBS = ("Arm", "ForeArm", "Hand", "UpLeg", "Leg", "Foot")


def put(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        file = folder / "in" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / "in"


def made(folder: Path, reader, files: dict[str, str | bytes], on_error="stop") -> tuple[Store, Summary]:
    root = put(folder, files)
    convert_recordings(reader, root, folder / "store", on_error=on_error)
    store = Store.open(folder / "store")
    return store, summarise(store)


def joints_of(store: Store, row: int = 0) -> np.ndarray:
    return store.sequence(row).joints


# 1. What is looked at before reading


@BOTH
@pytest.mark.parametrize(
    "bad", [bvh()[:900], b"", b"\0" * 3000, bvh(places(fingers=True)), bvh(time="nan"), bvh(declared=99), "1 2 3\n"]
)
def test_case_01_one_bad_file_is_dropped(tmp_path, reader, bad):
    store, _ = made(tmp_path, reader(), {"a.bvh": bvh(), "b.bvh": bvh(seed=1), "c/bad.bvh": bad}, "drop")
    assert list(store.ids) == ["a", "b"]
    assert [(one.id, one.path) for one in store.dropped] == [("c/bad", "c/bad.bvh")]
    with pytest.raises(ParseError, match=r"bad\.bvh"):
        made(tmp_path / "again", reader(), {"a.bvh": bvh(), "b.bvh": bvh(seed=1), "c/bad.bvh": bad})


@BOTH
def test_case_01_a_path_that_the_pattern_does_not_fit(tmp_path, reader):
    files = {"walk_1.bvh": bvh(), "odd.bvh": bvh(seed=1), "run_2.bvh": bvh(seed=2)}
    store, _ = made(tmp_path, reader(pattern=r"(?P<label>[a-z]+)_(?P<take>\d+)"), files, "drop")
    assert (store.classes, list(store.ids), store.dropped[0].path) == (("run", "walk"), ["run_2", "walk_1"], "odd.bvh")


def _ntu(seed: int) -> str:
    return skeleton_text([[(7, standing(0.01 * frame + seed))] for frame in range(14)])


def _ucla(seed: int) -> str:
    return json.dumps(
        {"skeletons": [[[0.1 * joint, 0.5, 2 + frame + seed] for joint in range(20)] for frame in range(3)]}
    )


def _lines(columns: int, seed: int, between: str = " ", numbered: bool = False) -> str:
    values = np.random.default_rng(seed).normal(1, 0.2, (5, columns))
    rows = [[f"{value:.4f}" for value in row] for row in values]
    return "".join(between.join([str(frame), *row] if numbered else row) + "\n" for frame, row in enumerate(rows))


H36M_LINES, PKU_LINES, UTK_LINES = (
    _lines(99, 0, ","),
    _lines(150, 0),
    _lines(60, 0, numbered=True),
)
PKU_SPLIT = "Training videos:\n0002-L,0003-L\nValidataion videos:\n0004-L\n"
OTHERS = {
    "ntu": (
        NTU(),
        {"S001C001P001R001A001.skeleton": _ntu(0)},
        {
            "clip.skeleton": _ntu(1),
            "S001C001P001R001A002.skeleton": _ntu(2)[:2000],
            "S001C001P001R001A003.skeleton": b"",
        },
    ),
    "nw_ucla": (
        NWUCLA(),
        {"a01_s01_e00_v01.json": _ucla(0)},
        {"clip.json": _ucla(1), "a02_s01_e00_v01.json": _ucla(2)[:99], "a03_s01_e00_v03.json": b""},
    ),
    "h36m": (
        H36M(),
        {"S1/walking_1.txt": H36M_LINES},
        {"S1/dancing_1.txt": H36M_LINES, "S5/eating_1.txt": H36M_LINES[:-99], "S9/notes.txt": "notes"},
    ),
    "pku_mmd": (
        PKUMMD(),
        {"s/0002-L.txt": PKU_LINES, "l/0002-L.txt": "1,0,4,2\n", "cross-subject.txt": PKU_SPLIT},
        {"l/0003-L.txt": "1,0,x,2\n", "s/0003-L.txt": PKU_LINES, "s/0004-L.txt": b"", "l/0004-L.txt": "2,0,4,2\n"},
    ),
    "utkinect": (
        UTKinect(),
        {"joints_s01_e01.txt": UTK_LINES, "actionLabel_modified.txt": "s01_e01\nwalk: 0 3\ns02_e01\nwalk: 1 x\n"},
        {"joints_x.txt": UTK_LINES, "joints_s02_e01.txt": UTK_LINES, "joints_s03_e01.txt": UTK_LINES[:-99]},
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_case_01_in_other_readers(tmp_path, name):
    reader, good, bad = OTHERS[name]
    store, _ = made(tmp_path, reader, good | bad, "drop")
    assert len(store) == 1
    assert len(store.dropped) == len({file for file in bad if name != "pku_mmd" or file.startswith("s")})


def test_case_01_one_bad_line_of_labels_costs_that_recording_alone(tmp_path):
    _, good, bad = OTHERS["utkinect"]
    store, _ = made(tmp_path, UTKinect(trimmed=True), good | bad, "drop")
    assert list(store.ids) == ["s01_e01_walk"]
    assert any("walk: 1 x" in one.reason for one in store.dropped if one.id == "s02_e01")


# 2. Names that begin with a dot


HIDDEN = {
    "._a.bvh": b"\0\5\x16\7",
    ".ipynb_checkpoints/a-checkpoint.bvh": bvh(seed=3),
    "__MACOSX/sub/b.bvh": bvh(seed=4),
    "x/.trash/c.bvh": b"",
    ".DS_Store": b"\0\0\0\1",
}


@BOTH
def test_case_02_hidden_files_are_no_recordings(tmp_path, reader):
    store, _ = made(tmp_path, reader(), {"a.bvh": bvh(), "v1.2/take.01.bvh": bvh(seed=1), **HIDDEN})
    assert (list(store.ids), len(store.dropped)) == (["a", "v1.2/take.01"], 0)


@pytest.mark.parametrize("name", OTHERS)
def test_case_02_in_other_readers(tmp_path, name):
    reader, good, _ = OTHERS[name]
    hidden = {
        str(Path(folder) / file.name): b"\0\5\x16\7" for file in map(Path, good) for folder in (".x", "__MACOSX")
    } | {str(Path(file).with_name(f"._{Path(file).name}")): b"\0\5\x16\7" for file in good}
    store, _ = made(tmp_path, reader, good | hidden)
    assert (len(store), len(store.dropped)) == (1, 0)


@BOTH
def test_case_02_folders_and_dead_links_with_the_name_of_a_recording(tmp_path, reader):
    root = put(tmp_path, {"a.bvh": bvh(), "take.bvh/b.bvh": bvh(seed=1)})
    (root / "gone.bvh").symlink_to(root / "nowhere.bvh")
    convert_recordings(reader(), root, tmp_path / "store", on_error="drop")
    store = Store.open(tmp_path / "store")
    assert (list(store.ids), [one.path for one in store.dropped]) == (["a", "take.bvh/b"], ["gone.bvh"])


# 3 and 4. Size


MORE = {"fingers": True, "face": True, "skirt": True}


@BOTH
@pytest.mark.parametrize("more", [{}, {"fingers": True}, MORE])
def test_case_03_fingers_faces_and_skirts_are_no_alarm(tmp_path, reader, more):
    _, summary = made(tmp_path, reader(), {"a.bvh": bvh(places(**more))})
    assert (summary.warnings, summary.not_checked) == ((), ())


UNITS = {"metres": 1.0, "millimetres": 0.001, "inches": 0.0254, "feet": 0.3048, "CMU": 0.056444, "decimetres": 0.1}


@pytest.mark.parametrize("more", [{}, MORE])
@pytest.mark.parametrize("unit", UNITS)
def test_case_04_the_unit_that_would_fit_is_named(tmp_path, unit, more):
    files = {"a.bvh": bvh(places(**more), unit_metres=UNITS[unit])}
    _, summary = made(tmp_path, BVH(), files)
    (warning,) = summary.warnings
    assert (unit in warning, f"--options.unit_metres {UNITS[unit]:g}" in warning) == (True, True)
    _, summary = made(tmp_path / "again", BVH(unit_metres=UNITS[unit]), files)
    assert (summary.warnings, summary.not_checked) == ((), ())


@pytest.mark.parametrize("unit", [*UNITS, "centimetres"])
def test_case_04_import_measures_the_unit(tmp_path, unit):
    metres = UNITS.get(unit, 0.01)
    store, summary = made(tmp_path, Recordings(), {"a.bvh": bvh(unit_metres=metres)})
    assert (summary.warnings, summary.not_checked) == ((), ())
    assert summary.bone_metres["LeftLeg"] == pytest.approx(0.42, abs=0.01)
    assert joints_of(store).max() < 3


def test_case_04_a_unit_that_is_said_and_wrong(tmp_path):
    known = Recordings(unit_metres=0.01).for_root(put(tmp_path, {"a.bvh": bvh(unit_metres=0.0254)}))
    assert known.findings is not None
    assert ["--unit_metres 0.0254" in doubt.option for doubt in known.findings.doubts] == [True]


def test_case_04_a_part_of_a_body_tells_its_unit_with_doubt(tmp_path):
    trunk = {name: place for name, place in places().items() if "Leg" not in name and "Foot" not in name}
    known = Recordings().for_root(put(tmp_path, {"a.bvh": bvh(trunk, names=lambda name: f"{name[:-1]}_{name[-1]}")}))
    assert known.findings is not None
    assert known.findings.decisions.unit_metres == 0.01
    assert any("METRES" in doubt.option for doubt in known.findings.doubts)


# 5. Sides


ACCLAIM = dict(zip(LIMBS, ("humerus", "radius", "hand", "femur", "tibia", "foot"), strict=True))
DAZ = dict(zip(LIMBS, ("Shldr", "ForeArm", "Hand", "Thigh", "Shin", "Foot"), strict=True))
GERMAN = dict(zip(LIMBS, ("Oberarm", "Unterarm", "Hand", "Oberschenkel", "Unterschenkel", "Fuss"), strict=True))
SPANISH = dict(zip(LIMBS, ("Brazo", "Antebrazo", "Mano", "Muslo", "Pierna", "Pie"), strict=True))
JAPANESE = dict(zip(LIMBS, ("腕", "ひじ", "手首", "足", "ひざ", "足首"), strict=True))
KOREAN = dict(zip(LIMBS, ("팔", "팔뚝", "손", "허벅지", "종아리", "발"), strict=True))
RUSSIAN = dict(zip(LIMBS, ("Плечо", "Предплечье", "Кисть", "Бедро", "Голень", "Стопа"), strict=True))
SCHEMES = {
    "acclaim": ("l{}", "r{}", ACCLAIM),
    "Acclaim": ("L{}", "R{}", ACCLAIM),
    "daz": ("l{}", "r{}", DAZ),
    "german": ("{}_links", "{}_rechts", GERMAN),
    "spanish": ("{}_izq", "{}_der", SPANISH),
    "Spanish": ("{}Izquierdo", "{}Derecho", SPANISH),
    "japanese": ("左{}", "右{}", JAPANESE),
    "kana": ("ひだり{}", "みぎ{}", JAPANESE),
    "korean": ("왼쪽 {}", "오른쪽 {}", KOREAN),
    "russian": ("Лев_{}", "Прав_{}", RUSSIAN),
    "blender": ("{}.L", "{}.R", dict(zip(LIMBS, LIMBS, strict=True))),
}


def named(left: str, right: str, stems: dict[str, str]):
    def name_of(name: str) -> str:
        for side, pattern in (("Left", left), ("Right", right)):
            stem = name.removeprefix(side)
            if stem != name and stem in stems:
                return pattern.format(stems[stem])
        return name

    return name_of


@BOTH
@pytest.mark.parametrize("scheme", SCHEMES)
def test_case_05_sides_in_every_way_of_writing(tmp_path, reader, scheme):
    name_of = named(*SCHEMES[scheme])
    skeleton = reader().for_root(put(tmp_path, {"a.bvh": bvh(names=name_of)})).skeleton
    for limb in LIMBS:
        left, right = skeleton.index(name_of(f"Left{limb}")), skeleton.index(name_of(f"Right{limb}"))
        assert (skeleton.mirror[left], skeleton.sides[left], skeleton.sides[right]) == (right, "left", "right")
    assert len(skeleton.anchors) == 6


@BOTH
def test_case_05_the_up_axis_is_checked_with_such_names(tmp_path, reader):
    _, summary = made(tmp_path, reader(up="y"), {"a.bvh": bvh(names=named(*SCHEMES["acclaim"]), up="z")})
    assert ["up looks like z, not y" in text and "up z" in text for text in summary.warnings] == [True]
    assert ["front" in text for text in summary.not_checked] == [True]


@pytest.mark.parametrize("up", ["x", "-x", "-y", "z", "-z"])
def test_case_05_every_axis_has_an_option(tmp_path, up):
    files = {"a.bvh": bvh(up=up)}
    _, summary = made(tmp_path, BVH(), files)
    assert f"--options.up{' ' if len(up) == 1 else '='}{up}" in summary.warnings[0]
    for number, reader in enumerate((BVH(up=up), Recordings(), Recordings(up=up))):
        _, summary = made(tmp_path / str(number), reader, files)
        assert (summary.warnings, summary.not_checked, summary.upright) == ((), (), 1.0)


def unnamed(count: int = 99):
    called: dict[str, str] = {}
    return lambda name: called.setdefault(name, f"b{len(called):02d}")


@BOTH
@pytest.mark.parametrize("more", [{}, {"fingers": True}])
def test_case_05_without_names_the_shape_tells(tmp_path, reader, more):
    by_name, by_shape = (
        reader().for_root(put(tmp_path / folder, {"a.bvh": bvh(places(**more), names=names, up="z")})).skeleton
        for folder, names in (("named", None), ("unnamed", unnamed()))
    )
    for limb in LIMBS:
        left, right = by_name.index(f"Left{limb}"), by_name.index(f"Right{limb}")
        assert by_shape.mirror[left] == right
    assert by_shape.anchors == by_name.anchors


def test_case_05_a_guess_of_sides_is_said(tmp_path):
    files = {"a.bvh": bvh(names=unnamed())}
    store, _ = made(tmp_path, BVH(), files)
    assert any("shape" in note and "--options.sides" in note for note in store.notes)
    known = Recordings().for_root(tmp_path / "in")
    assert known.findings is not None
    assert ["--sides" in doubt.option for doubt in known.findings.doubts] == [True]
    assert "shape" in known.findings.decisions.reasons["sides"]


CHAIN = """HIERARCHY
ROOT A
{
OFFSET 0 0 0
CHANNELS 3 Xposition Yposition Zposition
JOINT B
{
OFFSET 0 30 0
CHANNELS 3 Zrotation Xrotation Yrotation
JOINT C
{
OFFSET 0 20 0
CHANNELS 3 Zrotation Xrotation Yrotation
End Site
{
OFFSET 0 60 0
}
}
}
}
MOTION
Frames: 3
Frame Time: 0.04
0 90 0 1 2 3 4 5 6
1 91 0 2 3 4 5 6 7
2 92 1 3 4 5 6 7 8
"""


@BOTH
def test_case_05_without_pairs_nothing_is_mirrored(tmp_path, reader):
    store, summary = made(tmp_path, reader(), {"a.bvh": CHAIN, "b.bvh": CHAIN.replace("0 90", "0 80")})
    assert any("no pairs" in text and "sides" in text for text in summary.not_checked)
    rows, config = np.arange(2), InputConfig(window_frames=4)
    with pytest.raises(ConfigError, match=r"mirror_probability.*sides"):
        ResidentLoader(store, rows, config, AugmentConfig(mirror_probability=0.5), batch_clips=2, seed=0, device="cpu")
    ResidentLoader(store, rows, config, AugmentConfig(), batch_clips=2, seed=0, device="cpu")


# 6 to 8. What is unambiguous


@BOTH
@pytest.mark.parametrize(
    ("declared", "note"), [(11, "one frame more than declared"), (13, "one frame fewer than declared")]
)
def test_case_06_one_frame_more_or_fewer(tmp_path, reader, declared, note):
    store, summary = made(tmp_path, reader(), {"a.bvh": bvh(frames=12, declared=declared)})
    assert (store.frame_count.tolist(), summary.notes, summary.warnings) == ([12], {note: 1}, ())


@BOTH
def test_case_06_more_are_refused(tmp_path, reader):
    store, _ = made(tmp_path, reader(), {"a.bvh": bvh(frames=12, declared=14), "b.bvh": bvh(seed=1)}, "drop")
    assert ["expected 14 frames as declared, got 12" in one.reason for one in store.dropped] == [True]


@BOTH
@pytest.mark.parametrize("end", ["End Site tip", "End Site4", "EndSite", "END SITE", "End Site # the tip"])
def test_case_07_end_sites(tmp_path, reader, end):
    expected, _ = made(tmp_path / "plain", reader(), {"a.bvh": bvh()})
    store, summary = made(tmp_path, reader(), {"a.bvh": bvh().replace("End Site", end)})
    np.testing.assert_array_equal(joints_of(store), joints_of(expected))
    assert store.skeleton == expected.skeleton
    assert len(summary.notes) == (end.lower() not in ("end site", "endsite"))


PLAIN = bvh()
HEAD, ROWS = PLAIN[: PLAIN.index("Frame Time")], PLAIN[PLAIN.index("Frame Time") :]


@BOTH
@pytest.mark.parametrize(
    "text",
    [
        HEAD + ROWS.replace("\n", "\n\n"),
        PLAIN.replace("\n", "\n\n"),
        PLAIN.replace("\n", "\r\n\r\n"),
        HEAD + ROWS.replace("\n", "\n \t\n", 1),
        PLAIN + "\n\n \n",
        PLAIN + "\0\0",
        PLAIN + "\x1a",
        PLAIN + "\r\n\x1a\0",
    ],
)
def test_case_08_blank_lines(tmp_path, reader, text):
    expected, _ = made(tmp_path / "plain", reader(), {"a.bvh": PLAIN})
    store, _ = made(tmp_path, reader(), {"a.bvh": text})
    np.testing.assert_array_equal(joints_of(store), joints_of(expected))


@pytest.mark.parametrize("name", ["ntu", "h36m", "pku_mmd", "utkinect"])
@pytest.mark.parametrize(
    "written",
    [
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text.replace("\n", "\r\n\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: "\ufeff" + text,
        lambda text: text + "\x1a\0",
        lambda text: text.encode("utf-16"),
    ],
)
def test_case_08_and_12_in_other_readers(tmp_path, name, written):
    reader, good, _ = OTHERS[name]
    expected, _ = made(tmp_path / "plain", reader, good)
    first = next(iter(good))
    store, _ = made(tmp_path, reader, good | {first: written(str(good[first]))})
    np.testing.assert_array_equal(joints_of(store), joints_of(expected))


# 9. Rates


@BOTH
@pytest.mark.parametrize("time", ["30", "33.333", "24", "8.333", "0.3", "0.0005"])
def test_case_09_a_rate_that_is_none_is_doubted(tmp_path, reader, time):
    store, summary = made(tmp_path, reader(), {"a.bvh": bvh(time=time)})
    assert store.fps[0] == pytest.approx(1 / float(time), rel=1e-3)
    assert ["frames per second" in text and "fps RATE" in text for text in summary.warnings] == [True]
    store, summary = made(tmp_path / "told", reader(fps=30.0), {"a.bvh": bvh(time=time)})
    assert (store.fps.tolist(), summary.warnings) == ([30.0], ())


@BOTH
@pytest.mark.parametrize("time", ["0", "-1", "nan", "soon"])
def test_case_09_no_rate_at_all(tmp_path, reader, time):
    with pytest.raises(ParseError, match="fps"):
        made(tmp_path / "untold", reader(), {"a.bvh": bvh(time=time)})
    store, _ = made(tmp_path, reader(fps=24.0), {"a.bvh": bvh(time=time)})
    assert store.fps.tolist() == [24.0]


@BOTH
@pytest.mark.parametrize("time", ["0.0333333", "0.00833333", "0.2", "0.001"])
def test_case_09_usual_rates_are_no_doubt(tmp_path, reader, time):
    _, summary = made(tmp_path, reader(), {"a.bvh": bvh(time=time)})
    assert summary.warnings == ()


@BOTH
def test_case_09_each_file_keeps_its_rate(tmp_path, reader):
    files = {"a.bvh": bvh(), "b.bvh": bvh(seed=1, time="0.00833333"), "c.bvh": bvh(seed=2)}
    store, summary = made(tmp_path, reader(), files)
    assert store.fps.tolist() == [30.0, 120.0, 30.0]
    assert summary.warnings == ("clips differ in frame rate: 30, 120 per second",)


# 10. Bodies in one point


def _with_places(text: str) -> str:
    """Give every joint position channels that are always 0."""
    text = text.replace("CHANNELS 3 Zrot", "CHANNELS 6 Xposition Yposition Zposition Zrot")
    head, _, rows = text.partition("Frame Time: 0.0333333\n")
    numbers = np.array([row.split() for row in rows.splitlines()], float)
    root, others = numbers[:, :6], numbers[:, 6:].reshape(len(numbers), -1, 3)
    filled = np.concatenate([np.zeros_like(others), others], axis=-1).reshape(len(numbers), -1)
    lines = [" ".join(map(str, row)) for row in np.concatenate([root, filled], axis=1)]
    return head + "Frame Time: 0.0333333\n" + "\n".join(lines) + "\n"


@BOTH
def test_case_10_bones_without_a_length(tmp_path, reader):
    _, summary = made(tmp_path, reader(unit_metres=0.01), {"a.bvh": _with_places(bvh())})
    assert ["no length" in text and "OFFSET" in text for text in summary.warnings] == [True]
    known = Recordings().for_root(tmp_path / "in")
    assert known.findings is not None
    assert any("no length" in doubt.text for doubt in known.findings.doubts)


def _all_zero(text: str) -> str:
    head, _, rows = text.partition("Frame Time: 0.04\n")
    head = "\n".join("OFFSET 0 0 0" if line.startswith("OFFSET") else line for line in head.split("\n"))
    zeros = "\n".join(" ".join("0" for _ in row.split()) for row in rows.splitlines())
    return f"{head.replace('CHANNELS 3 Zrot', 'CHANNELS 6 Xposition Yposition Zposition Zrot')}Frame Time: 0.04\n" + (
        "\n".join(row + " 0" * 6 for row in zeros.split("\n")) + "\n"
    )


@BOTH
def test_case_10_a_chain_of_zeros(tmp_path, reader):
    _, summary = made(tmp_path, reader(), {"a.bvh": _all_zero(CHAIN)})
    assert any("one point" in text for text in summary.warnings)
    known = Recordings().for_root(tmp_path / "in")
    assert known.findings is not None
    assert any("one point" in doubt.text for doubt in known.findings.doubts)


# 11. Nodes that are left out


@BOTH
def test_case_11_hips_that_hold_the_body_are_kept(tmp_path, reader):
    rows = [f"0 95 0 0 0 {10 * frame} 0 12 0 0 0 0" for frame in range(3)]
    store, summary = made(tmp_path, reader(), {"a.bvh": upper_body(rows)})
    assert store.skeleton.joints[:2] == ("Hips", "Spine")
    assert summary.notes == {}


@BOTH
def test_case_11_what_is_left_out_is_named(tmp_path, reader, capsys):
    rows = [f"0 0 0 0 0 0 {10 * frame} 95 0 0 0 0" for frame in range(3)]
    store, summary = made(tmp_path, reader(), {"a.bvh": upper_body(rows, root="Scene")})
    assert (store.skeleton.joints[0], summary.notes) == ("Spine", {"left out, being no joints: Scene": 1})
    assert main(["import", str(tmp_path / "in"), "--dry_run"]) == 0
    assert "Scene" in capsys.readouterr().out


# 12. Line ends and encodings


@BOTH
@pytest.mark.parametrize(
    "content",
    [
        PLAIN.replace("\n", "\r").encode(),
        PLAIN.encode("utf-16"),
        PLAIN.encode("utf-16-be"),
        PLAIN.encode("utf-32"),
        PLAIN.encode("utf-8-sig"),
        PLAIN.replace("\n", "\r\n").encode(),
    ],
)
def test_case_12_line_ends_and_encodings(tmp_path, reader, content):
    expected, _ = made(tmp_path / "plain", reader(), {"a.bvh": PLAIN})
    store, _ = made(tmp_path, reader(), {"a.bvh": content})
    np.testing.assert_array_equal(joints_of(store), joints_of(expected))


def test_case_12_nw_ucla_with_a_mark(tmp_path):
    expected, _ = made(tmp_path / "plain", NWUCLA(), {"a01_s01_e00_v01.json": _ucla(0)})
    for number, encoding in enumerate(("utf-8-sig", "utf-16")):
        store, _ = made(tmp_path / str(number), NWUCLA(), {"a01_s01_e00_v01.json": _ucla(0).encode(encoding)})
        np.testing.assert_array_equal(joints_of(store), joints_of(expected))


@BOTH
def test_case_12_decimal_commas_are_named(tmp_path, reader):
    for number, text in enumerate((PLAIN.replace(".", ",", 1), HEAD + ROWS.replace(".", ",", 3).replace(",", ".", 1))):
        with pytest.raises(ParseError, match="comma"):
            made(tmp_path / str(number), reader(), {"a.bvh": text})


def test_case_12_decimal_commas_in_rows_of_numbers(tmp_path):
    reader, good, _ = OTHERS["utkinect"]
    with pytest.raises(ParseError, match="decimal comma"):
        made(tmp_path, reader, good | {"joints_s01_e01.txt": UTK_LINES.replace(".", ",")})


# 13. Joints of one name


@BOTH
def test_case_13_two_joints_of_one_name(tmp_path, reader):
    expected, _ = made(tmp_path / "plain", reader(), {"a.bvh": bvh()})
    store, summary = made(tmp_path, reader(), {"a.bvh": bvh(names={"LeftLeg": "Shin", "RightLeg": "Shin"})})
    np.testing.assert_array_equal(joints_of(store), joints_of(expected))
    assert (store.skeleton.mirror, store.skeleton.sides) == (expected.skeleton.mirror, expected.skeleton.sides)
    assert ["one name" in note for note in summary.notes] == [True]
    assert (summary.warnings, summary.not_checked) == ((), ())


@BOTH
def test_case_13_a_root_without_a_name(tmp_path, reader):
    store, summary = made(tmp_path, reader(), {"a.bvh": bvh().replace("ROOT Hips", "ROOT")})
    assert (store.skeleton.joints[0], ["no name" in note for note in summary.notes]) == ("root", [True])


# A folder of mixed things


MIXED = {
    "take1.bvh": bvh(),
    "take2.bvh": bvh(seed=1),
    "other/take3.bvh": bvh(places(fingers=True), seed=2),
    "broken.bvh": bvh(seed=3)[:900],
    "README.md": "# notes\n",
    "video.mp4": np.random.default_rng(0).bytes(5000),
    **HIDDEN,
}


def test_a_folder_of_mixed_things(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    root = put(tmp_path, MIXED)
    assert main(["import", str(root), "--out", str(tmp_path / "store")]) == 1
    shown = capsys.readouterr()
    for words in ("README.md, video.mp4", "broken.bvh:", "take3.bvh: expected the layout of take1.bvh"):
        assert words in shown.out
    assert "--on_error drop" in shown.err
    assert main(["import", str(root), "--out", str(tmp_path / "store"), "--on_error", "drop", "--jobs", "1"]) == 0
    assert len(Store.open(tmp_path / "store")) == 2


def test_a_folder_of_two_formats_names_the_next_commands(tmp_path, capsys):
    people = {"people": [{"pose_keypoints_2d": [float(value) for value in range(75)]}]}
    root = put(tmp_path, {**MIXED, "f_000000000001_keypoints.json": json.dumps(people)})
    assert main(["import", str(root), "--dry_run"]) == 1
    message = capsys.readouterr().err
    for words in ("4 of bvh", "1 of openpose", "--format bvh", "--format openpose"):
        assert words in message
    assert main(["import", str(root), "--dry_run", "--format", "bvh"]) == 0


def test_a_dry_run_says_what_reading_finds_wrong(tmp_path, capsys):
    root = put(tmp_path, {"a.bvh": bvh(), "b.bvh": bvh(declared=99), "c.bvh": bvh(frames=0)})
    assert main(["import", str(root), "--dry_run"]) == 0
    shown = capsys.readouterr().out
    assert ("expected 99 frames as declared" in shown, "there is no frame" in shown) == (True, True)
    assert "nothing is doubtful" not in shown
