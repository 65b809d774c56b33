"""What came out: on cells that are written by hand, with scores that are counted on fingers."""

import json
import re
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml
from grid_cells import finish

from marrow.cli.main import main
from marrow.errors import ConfigError
from marrow.files import lock_file
from marrow.grid.cells import conflict
from marrow.grid.page import finished_line, markdown, time_page, write_tables
from marrow.grid.table import read_tables
from marrow.pretrain_config import MAY_CHANGE
from marrow.tasks.base import Report
from marrow.tasks.numbers import Quantity
from marrow.tasks.recognition.declared import MEAN_AVERAGE_PRECISION, about_of
from marrow.train.run_directory import claim_run, plain


def mean_and_std(row, column: str = "knn, pooled", clips: str = "official") -> tuple[float, float]:
    number = row.scores[column][clips]
    return number.mean, number.std


def of_version_1(values: dict) -> dict:
    """Return a report as version 1 had it, whose task and numbers have names alone."""
    return {
        name: value
        for name, value in values.items()
        if name not in ("declared", "quantities", "asked", "cost", "noted")
    }


@pytest.fixture
def finished(write_grid, cells_of, ten_clips):
    """Two rows with two seeds and one with one: 2 and 4, 1 and 1, and 3 of ten clips wrong, the first being copies."""
    rows = [
        {"name": "A", "baselines": True, "line": "up", "group": ["main", "time"]},
        {"name": "B | <b>", "settings": {"encoder.width": 32}},
        {"name": "C", "settings": {"encoder.width": 64}, "line": "up", "group": "time", "seeds": [0]},
    ]
    grid = write_grid(rows, seeds=[0, 1], title="Three <rows>")
    cells = cells_of(grid)
    for cell, wrong, seconds in zip(cells, (2, 4, 1, 1, 3), (100, 100, 50, 50, 40), strict=True):
        finish(cell, ten_clips, wrong, cpu_seconds=seconds, baselines=cell.row.baselines)
    return grid, cells


def test_means_deviations_and_baselines(finished, ten_clips) -> None:
    tables = read_tables(*finished, ten_clips)
    main_table, time_table = tables.tables
    assert (tables.test_clips, tables.clean_clips, list(tables.columns)) == (10, 8, ["knn, pooled"])
    assert (tables.missing, tables.refused, tables.warnings) == ({}, {}, [])
    assert [row.name for row in main_table.rows] == ["A", "B | <b>", "random initialisation", "raw coordinates"]
    assert [row.name for row in time_table.rows] == ["A", "C", "random initialisation", "raw coordinates"]
    a, b, random, raw = main_table.rows
    # 2 and 4 of 10 wrong: 80 and 60. Without the two copies, 0 and 2 of 8: 100 and 75.
    assert mean_and_std(a) == (70.0, pytest.approx(200**0.5))
    assert mean_and_std(a, clips="clean") == (87.5, pytest.approx(312.5**0.5))
    assert a.scores["knn, pooled"]["official"].by_seed == (80.0, 60.0)
    # 100 and 101 seconds; the largest memory of any entry of any seed.
    assert (a.seeds, a.planned, a.steps, a.cpu_seconds, a.peak_memory_mib) == ((0, 1), (0, 1), 1000.0, 100.5, 701.0)
    assert mean_and_std(b) == (90.0, 0.0)
    assert (mean_and_std(random), random.seeds) == ((50.0, 0.0), (0, 1))
    assert mean_and_std(random, clips="clean") == (pytest.approx(62.5), 0.0)
    assert (mean_and_std(raw), raw.cpu_seconds) == ((90.0, 0.0), None)


def test_markdown_has_the_best_in_bold(finished, ten_clips) -> None:
    text = markdown(read_tables(*finished, ten_clips))
    assert text.startswith("# Three <rows>\n\nTop-1 in percent on xview, 10 test clips, 8 of them clean, data ")
    main_table = text.split("## ")[1].splitlines()
    assert main_table == [
        "main",
        "",
        "| row | seeds | steps | CPU, s | peak, MiB | knn, pooled, official | knn, pooled, clean |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
        "| A | 0, 1 | 1,000 | 100 | 701 | 70.0 ± 14.1 | 87.5 ± 17.7 |",
        "| B \\| <b> | 0, 1 | 1,000 | 50 | 701 | **90.0 ± 0.0** | **100.0 ± 0.0** |",
        "| random initialisation | 0, 1 | – | – | – | 50.0 ± 0.0 | 62.5 ± 0.0 |",
        "| raw coordinates | – | – | – | – | **90.0** | **100.0** |",
        "",
    ]


def test_the_page_joins_rows_of_a_line_by_time(finished, ten_clips) -> None:
    page = time_page(read_tables(*finished, ten_clips))
    figures = re.search(r"id='figures'>(.*?)</script>", page, re.S)
    assert figures
    [figure] = json.loads(figures[1]).values()
    up, b = figure["data"]
    assert (up["name"], up["mode"], up["x"], up["y"]) == ("up", "lines+markers", [0.0, 40.0, 100.5], [50.0, 70.0, 70.0])
    assert up["error_y"]["array"] == [0.0, 0.0, pytest.approx(200**0.5)]
    assert (b["name"], b["mode"], b["x"], b["y"]) == ("B | &lt;b&gt;", "lines+markers", [0.0, 50.5], [50.0, 90.0])
    assert "<title>Three &lt;rows&gt;</title>" in page
    assert "<td>B | &lt;b&gt;</td>" in page
    assert "<b>90.0 ± 0.0</b>" in page


def test_a_line_begins_where_its_encoder_was_not_trained(finished, ten_clips) -> None:
    tables = read_tables(*finished, ten_clips)
    of = {"A": "wide", "B | <b>": "narrow", "random initialisation": "wide"}
    rows = [replace(row, architecture=of.get(row.name)) for row in tables.tables[0].rows]
    page = time_page(replace(tables, tables=[replace(tables.tables[0], rows=rows)]))
    figures = re.search(r"id='figures'>(.*?)</script>", page, re.S)
    assert figures
    [figure] = json.loads(figures[1]).values()
    up, b = figure["data"]
    assert (up["mode"], up["x"][0], up["y"][0]) == ("lines+markers", 0.0, 50.0)
    assert (b["x"], b["y"]) == ([50.5], [90.0])  # no such encoder was scored untrained


def test_what_is_missing_is_said_and_left_out(finished, ten_clips, tmp_path: Path) -> None:
    grid, cells = finished
    (cells[1].folder / "reports" / "xview.json").unlink()
    (cells[4].folder / "result.json").unlink()
    assert [cell.next_work().name for cell in (cells[1], cells[4])] == ["evaluate", "pretrain"]
    tables = read_tables(grid, cells, ten_clips, [cells[2].folder])
    assert (tables.missing, tables.refused) == ({"A": [1], "C": [0]}, {"B | <b>": [0]})
    a, b, *_ = tables.tables[0].rows
    assert (a.seeds, mean_and_std(a), b.seeds) == ((0,), (80.0, 0.0), (1,))
    text = markdown(tables)
    assert "| A | 0 (of 2) | 1,000 | 100 | 700 | 80.0 | **100.0** |" in text
    assert "| C | – (of 1) | – | – | – | – | – |" in text
    assert "Not finished yet: A (seed 1); C (seed 0).\n" in text
    assert "Left out, because the folder holds a run with other settings: B | <b> (seed 0).\n" in text


def test_a_grid_of_one_row_has_no_best(write_grid, cells_of, ten_clips) -> None:
    grid = write_grid([{"name": "A"}])
    [cell] = cells = cells_of(grid)
    finish(cell, ten_clips, 2)
    assert "| 80.0 | 100.0 |" in markdown(read_tables(grid, cells, ten_clips))
    assert finished_line(cell) == "A, seed 0: 1,000 steps, 1 min 40 s of the processor, knn, pooled 80.0 %"


def test_a_grid_of_nothing_is_a_table_of_dashes(write_grid, cells_of, ten_clips, tmp_path: Path) -> None:
    grid = write_grid([{"name": "A", "baselines": True}])
    tables = read_tables(grid, cells_of(grid), ten_clips)
    written = write_tables(tables, tmp_path / "out")
    assert [path.name for path in written] == ["table.md", "table.json", "time.html"]
    assert "nothing is scored yet" in written[0].read_text()
    assert json.loads(written[1].read_text())["missing"] == {"A": [0]}


def test_a_report_counts_only_for_its_encoder_tasks_and_baselines(write_grid, cells_of, ten_clips) -> None:
    [cell] = cells_of(write_grid([{"name": "A"}]))
    finish(cell, ten_clips, 2)
    assert cell.next_work() is None
    [asks_more] = cells_of(write_grid([{"name": "A"}], tasks="knn,linear_probe"))
    assert asks_more.next_work().name == "evaluate"
    [asks_baselines] = cells_of(write_grid([{"name": "A", "baselines": True}]))
    assert asks_baselines.next_work().name == "evaluate"
    # The run was scored while it was interrupted, and has gone on since.
    (cell.folder / "encoder" / "encoder.safetensors").write_bytes(b"other weights")
    assert cell.next_work().name == "evaluate"


@pytest.mark.parametrize("foreign", ["{", "[]", '{"version": 1, "runs": ["x"], "reports": []}', "3"])
def test_another_report_in_a_cell_may_be_anything(finished, ten_clips, foreign: str) -> None:
    grid, cells = finished
    before = read_tables(grid, cells, ten_clips)
    (cells[0].folder / "reports" / "other.json").write_text(foreign)
    (cells[0].folder / "reports" / "zzz.json").write_text(foreign)
    assert read_tables(grid, cells, ten_clips) == before
    assert finished_line(cells[0]).endswith("knn, pooled 80.0 %")


def test_a_report_of_no_run_is_no_report(write_grid, cells_of, ten_clips) -> None:
    [cell] = cells_of(write_grid([{"name": "A"}]))
    finish(cell, ten_clips, 2)
    file = cell.folder / "reports" / "xview.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "runs": []}))
    assert cell.next_work().name == "evaluate"


def test_a_damaged_log_costs_its_own_cell_and_no_other(finished, ten_clips) -> None:
    grid, cells = finished
    (cells[0].folder / "log.jsonl").write_text("{\n{}\n")
    (cells[2].folder / "log.jsonl").write_text("")
    tables = read_tables(grid, cells, ten_clips)
    a, b, *_ = tables.tables[0].rows
    assert (a.seeds, a.cpu_seconds, b.seeds, b.cpu_seconds) == ((1,), 101.0, (0, 1), 51.0)
    [said] = [note for note in tables.warnings if "left out" in note]
    assert said.startswith("A, seed 0 is finished, but left out: ")
    assert "log.jsonl: cannot be read as a log" in said
    assert finished_line(cells[2]) == "B | <b>, seed 0: no log, knn, pooled 90.0 %"
    # The only cell of its row.
    (cells[4].folder / "log.jsonl").write_text("{\n{}\n")
    assert read_tables(grid, cells, ten_clips).tables[1].rows[1].seeds == ()


def test_rows_that_were_not_made_alike_are_named(finished, ten_clips) -> None:
    grid, cells = finished
    data = {"store": {"fingerprint": ten_clips.fingerprint}}
    one = {**data, "marrow": "0.1.0", "commit": 40 * "a", "precision": "fp32, as asked"}
    alike = {**one, "precision": "fp32 chosen: this GPU does not multiply bf16 in hardware"}
    for cell in cells:
        (cell.folder / "environment.json").write_text(json.dumps([one, alike]))
    assert read_tables(grid, cells, ten_clips).warnings == []
    # One seed of A went on in another precision, and C is of a changed checkout.
    other = {**one, "precision": "bf16 chosen: this CPU has AMX tiles"}
    (cells[1].folder / "environment.json").write_text(json.dumps([one, other]))
    (cells[4].folder / "environment.json").write_text(json.dumps([{**one, "commit": 40 * "a" + "-dirty"}]))
    assert read_tables(grid, cells, ten_clips).warnings == [
        "The runs were made by different versions of marrow "
        "(0.1.0 at aaaaaaaa: A, B | <b>; 0.1.0 at aaaaaaaa-dirty: C).",
        "The runs were made in different precisions (fp32: A, B | <b>, C; bf16: A).",
    ]


def test_columns_are_the_tasks_of_the_grid(write_grid, cells_of, ten_clips) -> None:
    grid = write_grid([{"name": "A"}])
    [cell] = cells = cells_of(grid)
    finish(cell, ten_clips, 2)
    file = cell.folder / "reports" / "xview.json"
    values = json.loads(file.read_text())
    more = [
        of_version_1({**values["reports"][0], "task": task, "settings": {}})
        for task in ("logistic/pooled", "linear_probe/pooled", "finetune/x")
    ]
    file.write_text(json.dumps({**values, "reports": values["reports"] + more}))
    assert list(read_tables(grid, cells, ten_clips).columns) == ["knn, pooled"]
    probed = write_grid([{"name": "A"}], tasks="linear_probe")
    columns = read_tables(probed, cells_of(probed), ten_clips).columns
    assert [column.partition(",")[0] for column in columns] == ["logistic", "linear probe"]
    # Another draw of the probes is another score.
    file.write_text(json.dumps({**values, "settings": {"probe_seed": 1}}))
    assert cell.next_work().name == "evaluate"


def test_fine_tuning_counts_with_the_settings_that_are_asked_for(write_grid, cells_of, ten_clips) -> None:
    def grid_of(**asked: object):
        given = {f"finetune.{name}": value for name, value in {"epochs": 20, **asked}.items()}
        return write_grid([{"name": "A"}], tasks="finetune", seeds=[0, 1], evaluation=given)

    grid = grid_of(**{"augment.crop_low": 0.6})
    cells = cells_of(grid)
    for cell in cells:
        finish(cell, ten_clips, 2)
        file = cell.folder / "reports" / "xview.json"
        values = json.loads(file.read_text())
        [knn] = values["reports"]
        # What is an outcome differs from run to run.
        settings = {"epochs": 20, "training_cpu_seconds": 9.0 + cell.seed, "note": f"took {9 + cell.seed} seconds"}
        settings |= {"asked": plain(cell.scoring.settings["finetune"]), "label_seed_used": cell.seed}
        settings["asked"].pop("label_fraction")  # of a marrow that did not know it
        settings["asked"]["optimizer"].pop("clip_norm")
        tuned = {**knn, "task": "finetune", "settings": settings}
        file.write_text(json.dumps({**values, "reports": [knn, of_version_1(tuned)]}))
        assert cell.next_work() is None
    tables = read_tables(grid, cells, ten_clips)
    assert list(tables.columns) == ["finetune"]
    assert tables.warnings == []
    assert tables.tables[0].rows[0].scores["finetune"]["official"].by_seed == (80.0, 80.0)
    for other in ({"epochs": 30}, {"label_fraction": 0.1}, {"augment.crop_low": 0.7}, {}, {"optimizer.clip_norm": 1.0}):
        asked = {**({"augment.crop_low": 0.6} if other and "augment.crop_low" not in other else {}), **other}
        assert cells_of(grid_of(**asked))[0].next_work().name == "evaluate"


def test_few_labels_stand_beside_no_raw_coordinates(write_grid, cells_of, ten_clips) -> None:
    asked = {"finetune.label_fraction": 0.1}
    grid = write_grid([{"name": "A", "baselines": True}], tasks="knn,finetune", evaluation=asked)
    [cell] = cells = cells_of(grid)
    finish(cell, ten_clips, 2, baselines=True)
    file = cell.folder / "reports" / "xview.json"
    values = json.loads(file.read_text())
    trained, random, raw = values["reports"]
    tuned = {"task": "finetune/10 % of labels", "settings": {"asked": plain(cell.scoring.settings["finetune"])}}
    more = [of_version_1({**trained, **tuned}), of_version_1({**random, **tuned}), {**raw, "task": "ridge/raw"}]
    file.write_text(json.dumps({**values, "reports": [*values["reports"], *more]}))
    a, of_random, of_raw = read_tables(grid, cells, ten_clips).tables[0].rows
    assert list(a.scores) == list(of_random.scores) == ["knn, pooled", "finetune, 10 % of labels"]
    assert list(of_raw.scores) == ["knn, pooled"]
    assert mean_and_std(of_random, "finetune, 10 % of labels") == (50.0, 0.0)


def test_tasks_without_a_top1_score_are_columns_with_their_unit(write_grid, cells_of, ten_clips) -> None:
    rows = [{"name": "A", "baselines": True}, {"name": "B", "settings": {"encoder.width": 32}}]
    shares = {"semi_supervised.fractions": [0.1], "semi_supervised.draws": 2, "semi_supervised.readout": "linear"}
    grid = write_grid(rows, tasks="semi_supervised,retrieval", evaluation=shares)
    cells = cells_of(grid)

    def reports_of(cell, source: str, right: float) -> list[dict]:
        plain_settings = {name: plain(config) for name, config in cell.scoring.settings.items()}
        mark = {"run": cell.folder.name} if source == "trained" else {}
        # 80 and 60 percent right of ten clips; and numbers of forecasts and rankings.
        draws = [
            {"seed": s, "labels": 2, "predictions": [c % 2 ^ (c < w) for c in range(10)]} for s, w in ((0, 2), (1, 4))
        ]
        few = Report("semi_supervised_linear/10 %", {}, detail={"draws": draws}, num_labels_used=2)
        few.settings = {"asked": plain_settings["semi_supervised"]}
        found = Report(
            "retrieval/pooled", {"recall_at_1_percent": 1.0, "map_percent": right, "map_clean_percent": right - 1}
        )
        found.settings = {"asked": plain_settings["retrieval"]}
        return [
            of_version_1(asdict(replace(each, source=source, fingerprints=mark, seed=cell.seed)))
            for each in (few, found)
        ]

    for cell, right in zip(cells, (40.0, 50.0), strict=True):
        finish(cell, ten_clips, 2)
        file = cell.folder / "reports" / "xview.json"
        values = json.loads(file.read_text())
        mine = reports_of(cell, "trained", right)
        if cell.row.baselines:
            raw = of_version_1(asdict(Report("retrieval/knn", {"map_percent": 60.0}, source="raw")))
            about = replace(about_of("retrieval/pooled"), rule="always the first")
            first = Report("retrieval/always the first", {"map_percent": 5.0}, declared=about, source="raw")
            rule = asdict(replace(first, quantities={"map_percent": MEAN_AVERAGE_PRECISION}))
            mine += [*reports_of(cell, "random", 30.0), raw, rule]
        file.write_text(json.dumps({**values, "reports": mine}))
        assert cell.next_work() is None
    tables = read_tables(grid, cells, ten_clips)
    few, ranks = tables.columns
    assert (few, ranks, tables.columns[ranks].better) == ("semi supervised linear, 10 %", "retrieval, mAP, %", "higher")
    [table] = tables.tables
    names = ["A", "B", "random initialisation", "raw coordinates", "always the first"]
    assert [row.name for row in table.rows] == names
    assert [row.scores[ranks]["official"].mean for row in table.rows] == [40.0, 50.0, 30.0, 60.0, 5.0]
    assert [few in row.scores for row in table.rows] == [True, True, True, False, False]
    text = markdown(tables)
    assert "Top-1 in percent, other numbers in the unit that their column names, on xview" in text
    assert "70.0 (draws ± 14.1) | 87.5 (draws ± 17.7)" in text.replace("*", "")
    assert "| 30.0 | 29.0 |" in text
    assert "**60.0**" in text
    assert "semi supervised linear, 10 %" in time_page(tables)


def in_millimetres(tables):
    """Return tables whose only column holds errors."""
    [column], errors = tables.columns, Quantity("errors", "mm", "lower")

    def turned(row):
        cell = {clips: replace(number, quantity=errors) for clips, number in row.scores[column].items()}
        return replace(row, scores={column: cell})

    groups = [replace(table, rows=[turned(row) for row in table.rows]) for table in tables.tables]
    return replace(tables, columns={column: errors}, tables=groups)


def test_errors_in_millimetres_are_the_better_the_lower(finished, ten_clips) -> None:
    grid, cells = finished
    tables = read_tables(grid, cells, ten_clips)
    assert "**90.0 ± 0.0**" in markdown(tables)
    turned = in_millimetres(tables)
    assert "**50.0 ± 0.0**" in markdown(turned)
    assert "**90.0" not in markdown(turned)
    assert markdown(turned).splitlines()[2].startswith("Scores on xview")
    assert "against processor seconds" not in time_page(turned)


def test_a_finished_line_names_a_number_that_is_no_accuracy(write_grid, cells_of, ten_clips) -> None:
    [cell] = cells_of(write_grid([{"name": "A"}]))
    finish(cell, ten_clips, 2)
    file = cell.folder / "reports" / "xview.json"
    values = json.loads(file.read_text())
    forecast = {**values["reports"][0], "task": "knn/ahead", "predictions": {}, "metrics": {"mpjpe_80ms_mm": 12.25}}
    file.write_text(json.dumps({**values, "reports": [of_version_1(forecast)]}))
    assert finished_line(cell).endswith("knn, ahead, position error 80 ms ahead 12.2 mm")


def test_a_run_with_other_settings_is_told_by_the_setting(write_grid, cells_of, ten_clips) -> None:
    [cell] = cells_of(write_grid([{"name": "A", "settings": {"optimizer.learning_rate": 0.5}}]))
    assert conflict(cell, ten_clips) is None
    finish(cell, ten_clips, 2)
    assert conflict(cell, ten_clips) is None
    [other] = cells_of(write_grid([{"name": "A", "settings": {"optimizer.learning_rate": 0.25}}]))
    assert conflict(other, ten_clips) == "optimizer.learning_rate: 0.5 there, 0.25 here"
    # Where and how fast is no other experiment.
    [faster] = cells_of(write_grid([{"name": "A", "settings": {"optimizer.learning_rate": 0.5, "device": "cpu"}}]))
    assert conflict(faster, ten_clips) is None
    (cell.folder / "environment.json").write_text(json.dumps([{"store": {"fingerprint": "e" * 64}}]))
    assert conflict(cell, ten_clips) == "the store holds other data than the one that the run began with"


def test_a_finished_run_may_lack_a_setting_that_has_its_default(write_grid, cells_of, ten_clips) -> None:
    [cell] = cells_of(write_grid([{"name": "A"}]))
    finish(cell, ten_clips, 2)
    file = cell.folder / "config.yaml"
    values = yaml.safe_load(file.read_text())
    assert values["objective"].pop("tau") == cell.config.objective.tau
    values["optimizer"].pop("learning_rate")
    file.write_text(yaml.safe_dump(values))
    default = type(cell.config.optimizer)().learning_rate
    [cell] = cells_of(write_grid([{"name": "A", "settings": {"optimizer.learning_rate": default}}]))
    assert conflict(cell, ten_clips) is None
    [other] = cells_of(write_grid([{"name": "A", "settings": {"optimizer.learning_rate": 0.25}}]))
    assert conflict(other, ten_clips) == f"optimizer.learning_rate: {default} there, 0.25 here"
    # An unfinished one is to go on, and `marrow pretrain` will refuse that.
    (cell.folder / "result.json").unlink()
    said = conflict(cell, ten_clips)
    assert said == f"objective.tau: None there, {cell.config.objective.tau} here; " + (
        f"optimizer.learning_rate: None there, {default} here"
    )
    with pytest.raises(ConfigError, match=re.escape(said)):
        claim_run(cell.folder, plain(cell.config), {"store": {"fingerprint": ten_clips.fingerprint}}, MAY_CHANGE)


def test_a_damaged_run_is_left_alone(finished, ten_clips) -> None:
    cell = finished[1][0]
    for file, text in (("environment.json", "[{}]"), ("environment.json", "["), ("config.yaml", "3")):
        (cell.folder / file).write_text(text)
        said = conflict(cell, ten_clips)
        assert said is not None
        assert said.startswith(f"the run there cannot be read: {cell.folder / file} is damaged")


def test_tables_are_written_by_one_call_at_a_time(finished, ten_clips, tmp_path: Path) -> None:
    grid, cells = finished
    command = ["grid", str(grid.path), "--store", str(ten_clips.path), "--out", str(tmp_path / "out"), "--dry_run"]
    with (tmp_path / "out" / ".lock").open("ab") as other_call:
        assert lock_file(other_call, wait=False)
        with (tmp_path / "out" / ".lock").open("ab") as again:
            assert not lock_file(again, wait=False)
        thread = threading.Thread(target=main, args=(command,))
        thread.start()
        thread.join(3)
        assert thread.is_alive()
        # What the other call finishes meanwhile is in the table.
        (cells[0].folder / "result.json").unlink()
    thread.join(60)
    assert json.loads((tmp_path / "out" / "table.json").read_text())["missing"] == {"A": [0]}


def test_a_dry_run_runs_nothing_and_shows_what_is_there(finished, ten_clips, tmp_path: Path, capfd) -> None:
    grid, cells = finished
    (cells[3].folder / "result.json").unlink()
    command = ["grid", str(grid.path), "--store", str(ten_clips.path), "--out", str(tmp_path / "out"), "--dry_run"]
    assert main(command) == 0
    shown = capfd.readouterr().out
    assert "- Not finished yet: B | <b> (seed 1)." in shown
    assert shown.index("70.0 ± 14.1") < shown.index("90.0") < shown.index("50.0 ± 0.0")
    assert not (tmp_path / "out" / "cells" / "b-b" / "seed1.log").exists()
    assert main([*command, "--rows", "A,D"]) == 2
    assert "has no row 'D'" in capfd.readouterr().err
    assert main([*command, "--rows", ""]) == 2
    assert "has no row ''" in capfd.readouterr().err
    assert main([*command, "--rows", "C", "--seeds", "1"]) == 2
    assert "no chosen row has the seed '1'; they have 0" in capfd.readouterr().err
    values = yaml.safe_load(grid.path.read_text()) | {"protocol": "xvieww"}
    grid.path.write_text(yaml.safe_dump(values))
    assert main(command) == 2
    said = capfd.readouterr().err
    assert f"{grid.path}: {ten_clips.path} has no split 'xvieww'" in said
