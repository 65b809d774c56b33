"""Tables of text: what is best in a column, and how a table stands in Markdown, HTML and on a console."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from marrow.report.tables import TextTable, best_of, number_text
from marrow.tasks.numbers import About, Number, Quantity

HIGHER, LOWER = Quantity("accuracy", "%", "higher"), Quantity("error", "mm", "lower")


def number(mean, quantity=HIGHER, std=0.0, seeds=1, draws_std=None):
    about = About("kind", "Title")
    return Number("trained", "task", "name", quantity, about, mean, std, None, None, tuple([mean] * seeds), draws_std)


@pytest.mark.parametrize(
    ("means", "quantity", "best"),
    [
        ([10.0, 30.0, 20.0], HIGHER, [1]),
        ([10.0, 30.0, 20.0], LOWER, [0]),
        # 30.04 and 29.96 are both shown as 30.0.
        ([30.04, 29.96, 29.94], HIGHER, [0, 1]),
        ([None, 5.0, 7.0], LOWER, [1]),
        # Alone, without a known direction, or chosen on the test clips: nothing is best.
        ([None, 5.0], HIGHER, []),
        ([None, None], HIGHER, []),
        ([1.0, 2.0], Quantity("frames"), []),
        ([1.0, 2.0], replace(HIGHER, chosen_on_test=True), []),
    ],
)
def test_the_best_of_a_column(means, quantity, best):
    assert best_of([None if mean is None else number(mean, quantity) for mean in means]) == best


def test_a_number_as_text():
    assert number_text(None) == "–"
    assert number_text(number(70.0)) == "70.0"
    assert number_text(number(70.0, std=14.14, seeds=2)) == "70.0 ± 14.1"
    # The spread over draws of the labels is told of a single seed alone.
    assert number_text(number(70.0, draws_std=7.07)) == "70.0 (draws ± 7.1)"
    assert number_text(number(70.0, std=14.14, seeds=2, draws_std=7.07)) == "70.0 ± 14.1"


def test_each_column_of_numbers_has_its_own_best():
    table = TextTable("t", ["experiment", "seeds"], [["a", "0"], ["b", "0"], ["c", "–"]])
    table = table.with_numbers(
        ["accuracy", "error"],
        [[number(50.0), number(9.0, LOWER)], [number(60.0), None], [None, number(8.0, LOWER)]],
    )
    assert table.lines == [["a", "0", "50.0", "9.0"], ["b", "0", "60.0", "–"], ["c", "–", "–", "8.0"]]
    assert table.best == {(1, 2), (2, 3)}
    assert table.markdown().splitlines()[2:] == [
        "| a | 0 | 50.0 | 9.0 |",
        "| b | 0 | **60.0** | – |",
        "| c | – | – | **8.0** |",
    ]


WIDE = TextTable("t", ["experiment", "seeds", "a", "b|c", "d", "e"], [["<x>", "0", "1.0", "2.0", "–", "4.0"]], {(0, 3)})


def test_markdown_of_a_wide_table_has_its_experiments_side_by_side():
    assert WIDE.markdown(may_turn=True).splitlines() == [
        *("| experiment | <x> |", "| --- | ---: |", "| seeds | 0 |", "| a | 1.0 |"),
        *("| b\\|c | **2.0** |", "| d | – |", "| e | 4.0 |"),
    ]
    assert WIDE.markdown().splitlines()[0] == "| experiment | seeds | a | b\\|c | d | e |"


def test_html_is_escaped():
    text = WIDE.html()
    assert "<td>&lt;x&gt;</td>" in text
    assert "<b>2.0</b>" in text


def test_a_console_shows_a_wide_table_in_parts_that_name_their_rows():
    long = replace(WIDE, head=["experiment", "seeds", *("heading " + name for name in "abcd")], lines=WIDE.lines * 2)
    for width, parts in ((200, 1), (41, 2), (10, 4)):
        tables = long.console(width)
        assert len(tables) == parts
        stream = io.StringIO()
        for table in tables:
            Console(width=200, file=stream).print(table)
        shown = stream.getvalue()
        assert shown.count("<x>") == 2 * parts
        assert all(f"heading {name}" in shown for name in "abcd")
