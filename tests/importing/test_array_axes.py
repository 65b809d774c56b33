"""The axes of an array are found by size and by what moves smoothly, doubted where they may be others, and given."""

from pathlib import Path

import numpy as np
import pytest
from moving_body import in_order, moving

from marrow.errors import ConfigError, ParseError
from marrow.importing.arrays.axes import find_axes, given_axes, sample_of

FILE = Path("clips.npy")


def find(array, **known):
    return find_axes(FILE, "the array", array.shape, sample_of(array), **known)


@pytest.mark.parametrize(
    ("order", "clips", "people", "frames", "joints", "coordinates"),
    [
        ("TVC", 1, 1, 90, 25, 3),
        ("TVC", 1, 1, 25, 20, 3),  # as many frames as joints of another layout
        ("TCV", 1, 1, 90, 20, 3),
        ("CTV", 1, 1, 90, 20, 3),
        ("VCT", 1, 1, 60, 20, 3),
        ("VCT", 1, 1, 20, 20, 3),
        ("VTC", 1, 1, 60, 20, 3),
        ("T(VC)", 1, 1, 80, 20, 3),
        ("NT(VC)", 10, 1, 50, 25, 3),
        ("NT(CV)", 10, 1, 50, 25, 3),
        ("NT(MVC)", 10, 2, 300, 25, 3),
        ("NTVC", 40, 1, 60, 25, 3),
        ("NTVC", 25, 1, 25, 25, 3),
        ("NCTV", 40, 1, 60, 25, 3),
        ("NCTVM", 8, 2, 300, 25, 3),
        ("NCTVM", 8, 1, 64, 17, 2),
        ("NMTVC", 8, 2, 100, 25, 3),
        ("NMTVC", 8, 1, 100, 17, 2),
        ("NTMVC", 12, 2, 70, 25, 3),
        ("MTVC", 1, 2, 70, 25, 3),
        ("CTVM", 1, 2, 70, 25, 3),
        ("TMVC", 1, 2, 70, 25, 3),
        ("TVCN", 12, 1, 70, 25, 3),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_orders_are_found(order, clips, people, frames, joints, coordinates, scale):
    values = moving(clips, people, frames, joints, coordinates, scale)
    array = in_order(values, order)
    reading, _ = find(array)
    assert reading.order == order
    sizes = dict(zip("NMTVC", (clips, people, frames, joints, coordinates), strict=True))
    assert {letter: reading.size(letter) for letter in "NMTVC"} == sizes
    row = array
    if "N" in order:
        row = array.take(0, axis=order.index("N"))
    np.testing.assert_array_equal(reading.clip(row), values[0])


def test_the_usual_orders_of_the_field_are_beyond_doubt():
    values = moving(8, 2, 100, 25)
    values[::2, 1] = 0  # half the clips have one person
    for order in ("NCTVM", "NMTVC", "NTVC", "TVC"):
        assert find(in_order(values, order))[1] == ()


def test_two_clips_or_two_people_is_a_doubt_with_its_option():
    reading, doubts = find(in_order(moving(1, 2, 70, 25), "MTVC"))
    assert reading.order == "MTVC"
    assert [doubt.option for doubt in doubts] == ["--axes ORDER"]
    assert "NTVC" in doubts[0].text


def test_a_count_of_clips_or_joints_decides():
    array = in_order(moving(2, 1, 70, 25), "NTVC")
    assert find(array, clips=2)[0].order == "NTVC"
    assert find(array, clips=1)[0].order == "MTVC"
    flat = in_order(moving(4, 1, 50, 33, 2), "NT(VC)")  # 66 numbers are 22 joints in 3 dimensions, too
    assert find(flat, joints=33)[0].size("C") == 2
    assert find(flat, joints=22)[0].size("C") == 3


def test_a_shape_without_joints_is_refused():
    with pytest.raises(ParseError, match="5 × 7"):
        find(np.ones((5, 7)))


def test_a_third_number_between_0_and_1_beside_pixels_is_a_confidence():
    values = moving(1, 1, 40, 17, 3, scale=300)
    values[..., 2] = np.random.default_rng(1).uniform(0.2, 1, values.shape[:-1])
    reading, doubts = find(in_order(values, "TVC"))
    assert reading.coordinates == "xyc"
    assert any("TVC,xyz" in doubt.option for doubt in doubts)
    assert given_axes("TVC,xyz", "the array", (40, 17, 3), sample_of(values[0, 0])).coordinates == "xyz"


@pytest.mark.parametrize(
    "axes", ["", "TVX", "TTVC", "TV", "tvc", "NT(VC", "TVC,xy!", "TVC,-xc", "TVC,xxy", "TVC,xy", "NTVCM"]
)
def test_axes_that_are_no_order_or_do_not_fit_are_refused(axes):
    array = in_order(moving(1, 1, 40, 17), "TVC")
    with pytest.raises(ConfigError):
        given_axes(axes, "the array", array.shape, array)


def test_given_axes_of_other_sizes_are_refused_with_the_shape():
    with pytest.raises(ConfigError, match="40 × 17 × 3"):
        given_axes("CVT", "the array", (40, 17, 3), np.ones((40, 17, 3)))


def test_axes_of_a_body_that_does_not_move_are_those_of_the_field():
    still = np.broadcast_to(moving(1, 1, 1, 25)[0, 0], (40, 25, 3)).copy()
    assert find(still)[0].order == "TVC"
    assert find(np.zeros((8, 3, 300, 25, 2)))[0].order == "NCTVM"
