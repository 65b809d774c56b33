"""Layouts in YAML: one written by hand, and what no layout is, with the line where it stands."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marrow import load_layout
from marrow.errors import ConfigError, MarrowError
from marrow.skeleton.layout_file import get_layout
from marrow.skeleton.places import places_of

SUIT = """\
name: suit
up: z
joints:
  Root: {place: pelvis}
  Top: {parent: Root, place: neck}
  HipA: {parent: Root, place: left hip, mirror: HipB}
  HipB: {parent: Root, place: right hip}
  ArmA: {parent: Top, place: left shoulder, mirror: ArmB}
  ArmB: {parent: Top, place: right shoulder}
  Probe: {parent: ArmA}
derived:
  Middle: {of: [HipA, HipB], parent: Root, place: hip centre}
  Low: {of: {Root: 0.5, Middle: 0.5}}
anchors: {chest: Top}
"""


def written(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_layout_by_hand(tmp_path):
    layout = load_layout(written(tmp_path, SUIT))
    assert layout.name == "suit"
    assert layout.up == "z"
    assert layout.joints == ("Root", "Top", "HipA", "HipB", "ArmA", "ArmB", "Probe", "Middle", "Low")
    assert layout.parents == (0, 0, 0, 0, 1, 1, 4, 0, 0)
    assert layout.mirror == (0, 1, 3, 2, 5, 4, 6, 7, 8)
    assert layout.measured_count == 7
    # Low is half the root and half of the middle, which is a quarter of each hip.
    assert layout.derived == {7: ((2, 0.5), (3, 0.5)), 8: ((0, 0.5), (2, 0.25), (3, 0.25))}
    assert places_of(layout)["left hip"] == 2
    assert layout.anchors == {
        **{"centre": 7, "chest": 1, "left_hip": 2, "right_hip": 3},
        **{"left_shoulder": 4, "right_shoulder": 5},
    }
    assert get_layout(str(tmp_path / "mine.yaml")) == layout


def test_names_tell_what_is_not_said(tmp_path):
    text = "joints:\n  Hips:\n" + "".join(
        f"  {side}{bone}: {{parent: {parent.replace('@', side)}}}\n"
        for side in ("Left", "Right")
        for bone, parent in (("UpLeg", "Hips"), ("Leg", "@UpLeg"), ("Arm", "Hips"))
    )
    layout = load_layout(written(tmp_path, text))
    assert (layout.name, layout.up) == ("mine", "y")
    assert layout.mirror == (0, 4, 5, 6, 1, 2, 3)
    assert places_of(layout)["right knee"] == layout.index("RightLeg")
    assert layout.anchors["left_hip"] == 1


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("Top: {parent: Root, place: neck}", "Top: {place: neck}", 5, "Root, Top"),
        ("Root: {place: pelvis}", "Root: {parent: Probe}", 3, "without a parent"),
        ("Top: {parent: Root,", "Top: {parent: Probe,", 5, "Top - Probe - ArmA - Top"),
        ("Probe: {parent: ArmA}", "Probe: {parent: ArmC}", 10, "ArmA"),
        ("  ArmB:", "  ArmA:", 9, "twice"),
        ("HipB: {parent: Root,", "HipB: {mirror: ArmA, parent: Root,", 7, "inverse"),
        ("place: right hip", "place: right hipp", 7, "right hip"),
        ("place: right hip", "place: left hip", 7, "two joints"),
        ("anchors: {chest: Top}", "anchors: {chest: Tip}", 14, "no joint 'Tip'"),
        ("anchors: {chest: Top}", "anchors: {chin: Top}", 14, "chest"),
        ("of: [HipA, HipB]", "of: [HipA, HipC]", 12, "HipA"),
        ("of: [HipA, HipB]", "of: []", 12, "made of"),
        ("of: [HipA, HipB]", "of: [HipA: , HipB]", 12, "made of"),
        ("of: [HipA, HipB]", "of: [[HipA], HipB]", 12, "made of"),
        ("of: [HipA, HipB]", "of: {HipA: 0.5, HipB: 0.6}", 12, "1.1"),
        ("of: [HipA, HipB]", "of: {HipA: much}", 12, "much"),
        ("of: [HipA, HipB]", "of: [HipA, Low]", 12, "Low"),
        ("Low: {of", "Top: {of", 11, "Top"),
        ("up: z", "up: w", 2, "x, y or z"),
        ("name: suit", "nam: suit", 1, "name"),
        ("Probe: {parent: ArmA}", "Probe: {parent: ArmA, colour: red}", 10, "colour"),
        ("Probe: {parent: ArmA}", "Probe: ArmA", 10, "parent"),
        ("Probe: {parent: ArmA}", "Probe: {parent: [ArmA]}", 10, "text"),
    ],
)
def test_what_is_no_layout(tmp_path, old, new, line, said):
    assert old in SUIT
    path = written(tmp_path, SUIT.replace(old, new, 1))
    with pytest.raises(ConfigError) as error:
        load_layout(path)
    assert str(error.value).startswith(f"{path}:{line}: ")
    assert said in str(error.value)


@pytest.mark.parametrize("text", ["", "joints:\n", "joints: [a, b]\n", "name: x\n", "- 1\n", "joints: {a: {parent: a"])
def test_no_joints_at_all(tmp_path, text):
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        load_layout(written(tmp_path, text))


def test_there_is_none(tmp_path):
    with pytest.raises(ConfigError, match="there is no"):
        get_layout(str(tmp_path / "none.yml"))
    with pytest.raises(ConfigError, match="Did you mean 'coco_17'"):
        get_layout("coco17")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00joints")
    with pytest.raises(ConfigError, match="binary"):
        load_layout(tmp_path / "binary.yaml")


@settings(max_examples=100)
@given(st.data())
def test_any_change_is_a_layout_or_one_error(tmp_path_factory, data):
    at = data.draw(st.integers(0, len(SUIT) - 1))
    length = data.draw(st.integers(0, 12))
    text = SUIT[:at] + data.draw(st.text("{}[]:, \n-HipABTop0.5~&*!", max_size=6)) + SUIT[at + length :]
    path = tmp_path_factory.mktemp("layouts") / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with suppress(MarrowError):
        layout = load_layout(path)
        assert len(layout.parents) == len(layout.joints) > 0


def test_two_dimensions_are_said_in_the_file(tmp_path):
    flat = SUIT.replace("up: z", "up: y\ndimensions: 2")
    assert load_layout(written(tmp_path, flat)).dimensions == 2
    assert load_layout(written(tmp_path, SUIT)).dimensions == 3
    with pytest.raises(ConfigError, match=r"mine.yaml:3: .*2 or 3 for dimensions, got 4"):
        load_layout(written(tmp_path, flat.replace("dimensions: 2", "dimensions: 4")))
    with pytest.raises(ConfigError, match=r"mine.yaml:2: .*z.* does not exist in two dimensions"):
        load_layout(written(tmp_path, SUIT.replace("up: z", "up: z\ndimensions: 2")))
