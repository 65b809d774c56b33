"""The methods give the numbers that were recorded from their released codes."""

from pathlib import Path

from marrow.parity.hi_trs import compare_hi_trs
from marrow.parity.mamp import compare_mamp

GOLDEN = Path(__file__).parents[1] / "golden"


def test_mamp() -> None:
    quantities = compare_mamp(GOLDEN / "mamp_parity.npz")
    assert len(quantities) == 7
    assert {quantity.name: quantity.error for quantity in quantities if not quantity.passes} == {}


def test_hi_trs() -> None:
    quantities = compare_hi_trs(GOLDEN / "hi_trs_parity.npz")
    assert len(quantities) == 11
    assert {quantity.name: quantity.error for quantity in quantities if not quantity.passes} == {}
