"""`marrow layouts`: the list, one layout, two of them, their pictures."""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from marrow.cli.main import main
from marrow.skeleton.body import STANDING
from marrow.skeleton.estimators import BODY_25, COCO_17
from marrow.skeleton.known import LAYOUTS
from marrow.skeleton.layout import CMU_38
from marrow.viewer.layout_picture import layout_picture, layout_sheet, standing_joints

SVG = "{http://www.w3.org/2000/svg}"


def printed(capsys, *arguments):
    assert main(["layouts", *arguments]) == 0
    return capsys.readouterr().out


def test_all(capsys):
    rows = {line.split()[0]: line.split()[1] for line in printed(capsys).splitlines()[1:] if line[:1].islower()}
    assert rows == {name: str(len(layout.joints)) for name, layout in LAYOUTS.items()}
    assert len(json.loads(printed(capsys, "--json"))) == len(LAYOUTS)


def test_one(capsys):
    text = printed(capsys, "coco_17")
    [hip] = [line for line in text.splitlines() if line.startswith("18")]
    assert "MidHip" in hip
    assert "hip centre" in hip
    assert "HipLeft and HipRight" in hip
    described = json.loads(printed(capsys, "coco_17", "--json"))
    assert described["joints"][11] == {
        **{"joint": "HipLeft", "parent": "ShoulderLeft", "place": "left hip", "mirror": "HipRight"},
        **{"anchor": "left_hip", "derived": None},
    }


def test_two(capsys):
    described = json.loads(printed(capsys, "coco_17", "kinect_v1_20", "--json"))
    assert described["pairs"]["KneeLeft"] == "KneeLeft"
    assert described["derived"] == {
        "HipCenter": ["HipLeft", "HipRight"],
        "ShoulderCenter": ["ShoulderLeft", "ShoulderRight"],
    }
    assert described["missing"] == ["Spine", "Head", "HandLeft", "HandRight", "FootLeft", "FootRight"]
    assert described["left"] == ["Nose", "EyeLeft", "EyeRight", "EarLeft", "EarRight"]
    text = printed(capsys, "body_25", "kinect_v1_20")
    [centre] = [line for line in text.splitlines() if line.startswith("HipCenter")]
    assert "MidHip" in centre
    assert "near" in centre


def test_own_layouts_and_stores(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("joints: {a: {place: head}, b: {parent: a}}\n", encoding="utf-8")
    assert json.loads(printed(capsys, str(tmp_path / "mine.yaml"), "body", "--json"))["pairs"] == {"head": "a"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["coco"], "coco_17"),
        (["coco_17", "body", "body_25"], "one layout or two"),
        (["coco_17", "--picture", "a.png"], ".svg"),
        (["coco_17", "body", "--picture", "a.svg"], "--picture"),
        (["none.yaml"], "there is no"),
    ],
)
def test_what_is_refused(arguments, said, capsys):
    assert main(["layouts", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_layouts_that_share_nothing(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("joints: {a: , b: {parent: a}}\n", encoding="utf-8")
    assert main(["layouts", str(tmp_path / "mine.yaml"), "coco_17"]) == 2
    assert "no joint of" in capsys.readouterr().err


def test_pictures(tmp_path, capsys):
    picture = tmp_path / "all.svg"
    printed(capsys, "--picture", str(picture))
    titles = [text.text for text in ElementTree.parse(picture).iter(f"{SVG}text")]
    assert set(LAYOUTS) <= set(titles)
    printed(capsys, "body_25", "--picture", str(tmp_path / "one.svg"))
    assert (tmp_path / "one.svg").read_text(encoding="utf-8") == layout_picture(BODY_25)


def test_what_is_drawn():
    """Dots for places, rings for own joints (Body-25 has two, small toes), squares for what is derived."""
    drawing = ElementTree.fromstring(layout_sheet([BODY_25]))
    fills = [circle.get("fill") for circle in drawing.iter(f"{SVG}circle")]
    assert (len(fills), fills.count("#fff")) == (25, 2)
    assert len(list(drawing.iter(f"{SVG}path"))) == 24
    drawing = ElementTree.fromstring(layout_sheet([COCO_17]))
    assert len(list(drawing.iter(f"{SVG}rect"))) == 1 + 2  # the background, and two middles


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_every_joint_is_drawn_on_its_side_of_the_body(name):
    layout = LAYOUTS[name]
    positions = standing_joints(layout)
    assert np.isfinite(positions).all()
    for place, joint in layout.places.items():
        assert positions[joint].tolist() == list(STANDING[place])
    for joint, side in enumerate(layout.sides):
        assert np.sign(round(float(positions[joint, 0]), 9)) in {"left": (0, 1), "right": (0, -1), "middle": (0,)}[side]


def test_own_joints_lie_between_those_that_are_known():
    """LHipJoint is halfway from Hips to LeftUpLeg; LowerBack halfway from Hips to Spine."""
    positions = standing_joints(CMU_38)
    for own, above, below in (("LHipJoint", "Hips", "LeftUpLeg"), ("LowerBack", "Hips", "Spine")):
        middle = (positions[CMU_38.index(above)] + positions[CMU_38.index(below)]) / 2
        np.testing.assert_allclose(positions[CMU_38.index(own)], middle, atol=1e-12)
