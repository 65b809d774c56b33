"""A task of another package says once what its numbers are, and they look right everywhere."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from grid_cells import finish
from rich.console import Console

from marrow.cli.score_tables import show
from marrow.grid.page import markdown as grid_markdown
from marrow.grid.table import read_tables
from marrow.report.cards import card_sentences, cards_html
from marrow.report.compare import compare_runs
from marrow.report.compare_page import markdown, text_tables
from marrow.report.figures import Figures
from marrow.report.runs import read_runs
from marrow.tasks import TASKS
from marrow.tasks.base import Report, TaskContext
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.testing.tasks import TableEncoder, task_data

_PAGE = Path(__file__).parents[2] / "docs" / "add-a-task.md"
_WORDS = "mean place of the true class among the nearest means"


@pytest.fixture(scope="module")
def package() -> dict:
    """Return what the code of the page defines, as if it were in a package of its own."""
    blocks = re.findall(r"^```python\n(.*?)^```$", _PAGE.read_text(encoding="utf-8"), re.M | re.S)
    names: dict = {"__name__": "package"}
    for block in blocks:
        exec(block, names)
    return names


@pytest.fixture
def scored(package, write_grid, cells_of, ten_clips, monkeypatch):
    """Two rows, whose true class is on place 1.5 and 2.5 on average; and 3.5 at random initialisation."""
    task = package["ClassPlace"]()
    monkeypatch.setitem(TASKS, task.name, task)
    rows = [{"name": "A", "baselines": True}, {"name": "B", "settings": {"encoder.width": 32}}]
    grid = write_grid(rows, tasks="knn,class_place")
    cells = cells_of(grid)
    template = Report(task.name, {}, declared=package["ABOUT"])
    for cell, places in zip(cells, ([1, 2], [2, 3]), strict=True):
        finish(cell, ten_clips, 2, baselines=cell.row.baselines)
        file = cell.folder / "reports" / "xview.json"
        values = json.loads(file.read_text())
        report = replace(template, seed=cell.seed, fingerprints={"run": cell.folder.name})
        values["reports"].append(asdict(package["with_places"](report, places)))
        if cell.row.baselines:
            fresh = replace(template, seed=cell.seed, source="random")
            values["reports"].append(asdict(package["with_places"](fresh, [3, 4])))
        file.write_text(json.dumps(values))
    return grid, cells


def test_it_runs_and_pools(package, tmp_path) -> None:
    data = task_data(tmp_path / "store", lambda label: label)
    label = torch.tensor(np.asarray(data.store.label))
    encoder = TableEncoder(torch.nn.functional.one_hot(label, 16).float())
    [report] = package["ClassPlace"]().run(encoder, data, TaskContext(device="cpu", precision="fp32"))
    assert report.metrics == {"place": 1.0}
    other = package["with_places"](report, [3] * len(report.detail["places"]))
    assert package["ClassPlace"]().pool([report, other]).metrics == {"place": 2.0}
    assert Report.from_dict(json.loads(json.dumps(asdict(report)))) == report


def test_the_table_of_evaluate(scored) -> None:
    _, cells = scored
    console = Console(record=True, width=200)
    show(EvaluationReport.load(cells[0].folder / "reports" / "xview.json"), console)
    said = console.export_text()
    assert "Place of the true class" in said
    assert f"{_WORDS}, places" in said
    assert "1.5 [1, 2]" in said
    assert "3.5 [3, 4]" in said


def test_the_page(scored) -> None:
    _, cells = scored
    evaluation, figures = EvaluationReport.load(cells[0].folder / "reports" / "xview.json"), Figures()
    text = cards_html(evaluation, figures)
    assert "<h3>Place of the true class</h3>" in text
    assert "The lower, the better." in text
    assert f"{_WORDS}, places" in text
    [spec] = figures.specs.values()
    bars = {trace["name"]: trace["x"] for trace in spec["data"]}
    assert bars == {"trained": [1.5], "random initialisation": [3.5]}
    assert spec["layout"]["xaxis"]["title"]["text"] == "places"
    assert card_sentences(evaluation) == [
        f"Place of the true class, {_WORDS}: 1.5 places trained, 3.5 places random initialisation."
    ]


def test_compare_and_its_markdown(scored) -> None:
    _, cells = scored
    folders = [
        cell.folder.rename(cell.folder.parents[1] / f"run_{name}") for cell, name in zip(cells, "ab", strict=True)
    ]
    comparison = compare_runs(read_runs(folders))
    [ranking] = comparison.rankings
    table = text_tables(ranking)[-1]
    assert table.title.startswith("Place of the true class in places, lower is better, on xview")
    assert table.head[2] == "place"
    assert [line[2] for line in table.lines] == ["1.5", "2.5", "3.5"]
    assert {line for line, column in table.best if column == 2} == {0}
    assert "**1.5**" in markdown(comparison)
    [measured] = comparison.plain()["rankings"][0]["measured"]
    number = measured["rows"][0]["numbers"]["place"]
    assert (number["words"], number["unit"], number["better"]) == (_WORDS, "places", "lower")


def test_the_table_of_a_grid(scored, ten_clips) -> None:
    tables = read_tables(*scored, ten_clips)
    column = "place of the true class, place, places"
    assert list(tables.columns) == ["knn, pooled", column]
    shown = {row.name: row.scores[column]["official"].mean for row in tables.tables[0].rows if column in row.scores}
    assert shown == {"A": 1.5, "B": 2.5, "random initialisation": 3.5}
    assert "**1.5**" in grid_markdown(tables)
