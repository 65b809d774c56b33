import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from marrow.errors import DataError
from marrow.skeleton.layout import KINECT_V2_25, Skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.viewer.figure import contact_sheet, stick_figure

STICK = Skeleton("stick", ("Base", "ArmLeft", "ArmRight"), (0, 0, 0), (0, 2, 1), {"centre": 0, "chest": 0}, up="y")


def sequence(bodies=1, frames=5, present=True):
    joints = np.random.default_rng(0).normal(0, 0.4, (bodies, frames, 25, 3)).astype(np.float32)
    return SkeletonSequence(joints, np.full(joints.shape[:3], present), 30.0, KINECT_V2_25, Record("x"))


def test_a_stick_figure_by_hand():
    joints = np.array([[[0, 0], [-1, 2], [1, 2]]], np.float32)
    drawing = stick_figure(joints, np.ones((1, 3), bool), STICK, pixels_per_metre=10.0)
    # Up is up: y = 2 m is 20 pixels above the origin, where SVG counts downwards.
    assert "M0.0 0.0L-10.0 -20.0" in drawing.replace("-0.0", "0.0")
    assert "M0.0 0.0L10.0 -20.0" in drawing.replace("-0.0", "0.0")
    assert drawing.count("stroke=") == 2, "left and right have their own colours"


def test_bones_without_both_ends_are_left_out():
    joints = np.zeros((1, 3, 2), np.float32)
    present = np.array([[True, False, True]])
    assert stick_figure(joints, present, STICK, 10.0).count("M") == 1


def test_a_sheet_is_well_formed_and_holds_every_figure():
    sheet = contact_sheet([sequence(), sequence(bodies=2)], ["one", 'two <&> "three"'], figures=4)
    root = ElementTree.fromstring(sheet)
    namespace = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{namespace}svg"
    assert [text.text for text in root.iter(f"{namespace}text")] == ["one", 'two <&> "three"']
    # One head per body and moment.
    assert len(list(root.iter(f"{namespace}circle"))) == 4 + 8
    assert "href" not in sheet, "the picture needs nothing from elsewhere"


def test_a_sequence_in_which_nobody_is_seen_says_so():
    assert "nobody is seen" in contact_sheet([sequence(present=False)], ["empty"])


def test_an_absent_second_body_is_not_drawn():
    two = sequence(bodies=2)
    two.present[1] = False
    assert contact_sheet([two], ["x"], figures=3).count("<circle") == 3


def test_more_figures_than_frames():
    assert contact_sheet([sequence(frames=1)], ["x"], figures=6).count("<circle") == 6


def test_an_empty_sheet_and_missing_titles():
    ElementTree.fromstring(contact_sheet([], []))
    with pytest.raises(DataError, match="title"):
        contact_sheet([sequence()], [])
