"""The file of a grid: what it means, and what is said of one that is wrong."""

import re
from pathlib import Path

import pytest

from marrow.errors import ConfigError
from marrow.grid.plan import chosen_rows, grid_names, grid_path, read_grid

GOOD = """\
title: A table
recipe: mamp_synthetic
protocol: xview
seeds: [0, 1]
budget: {max_cpu_seconds: 150}
settings: {optimizer.learning_rate: 0.001, encoder.width: 64}
rows:
  - name: MAE
    settings: &mae {objective.masking: uniform}
  - name: "AMR 40 s"
    recipe: amr_synthetic
    seeds: [3]
    budget: {max_steps: 40}
    settings: {encoder: {width: 32}}
    group: [time, main]
    line: AMR
    baselines: true
  - name: MAE deeper
    settings: {<<: *mae, encoder.depth: 7}
"""


def read(folder: Path, text: str):
    path = folder / "grid.yaml"
    path.write_text(text)
    return read_grid(path)


def test_rows_have_what_they_share_unless_they_say_otherwise(tmp_path: Path) -> None:
    grid = read(tmp_path, GOOD)
    mae, amr, deeper = grid.rows
    assert (grid.title, grid.protocol, grid.groups) == ("A table", "xview", ["main", "time"])
    assert [row.tasks for row in grid.rows] == [("linear_probe", "knn")] * 3
    assert (mae.slug, mae.recipe, mae.seeds, mae.groups, mae.line, mae.baselines) == (
        *("mae", "mamp_synthetic", (0, 1), ("main",), None, False),
    )
    assert mae.budget == {"max_cpu_seconds": 150}
    common = {"optimizer.learning_rate": 0.001, "encoder.width": 64}
    assert mae.settings == {**common, "objective.masking": "uniform"}
    assert (amr.slug, amr.recipe, amr.seeds, amr.groups, amr.line, amr.baselines) == (
        *("amr-40-s", "amr_synthetic", (3,), ("time", "main"), "AMR", True),
    )
    assert amr.budget == {"max_steps": 40}, "a budget of its own takes the place of the common one"
    assert amr.settings == {**common, "encoder.width": 32}
    assert deeper.settings == {**common, "objective.masking": "uniform", "encoder.depth": 7}
    assert amr.place.endswith("grid.yaml:10")


def test_cells_are_commands_of_marrow_in_the_order_of_the_file(write_grid, cells_of, tmp_path: Path) -> None:
    rows = [
        {"name": "A", "settings": {"objective.tau": 0.5, "optimizer.betas": [0.9, 0.99]}, "baselines": True},
        {"name": "B", "recipe": "amr_synthetic", "budget": {"max_steps": 7, "max_cpu_seconds": None}},
    ]
    cells = cells_of(write_grid(rows, seeds=[4, 2]))
    assert [cell.name for cell in cells] == ["A, seed 4", "A, seed 2", "B, seed 4", "B, seed 2"]
    assert cells[1].folder == tmp_path / "out" / "cells" / "a" / "seed2"
    assert cells[1].log == tmp_path / "out" / "cells" / "a" / "seed2.log"
    pretrain, evaluate = (work.words for work in cells[1].work)
    assert pretrain[:2] == ("pretrain", "--recipe=mamp_synthetic")
    assert {"--protocol=xview", "--seed=2", "--threads=1", "--objective.tau=0.5"} <= set(pretrain)
    assert evaluate[:2] == ("evaluate", str(cells[1].folder))
    assert {"--protocol=xview", "--tasks=knn", "--baselines=random,raw"} <= set(evaluate)
    assert "--baselines=none" in cells[2].work[1].words
    # The settings are those that `marrow pretrain` takes from these words.
    assert (cells[1].config.seed, cells[1].config.out, cells[1].config.method) == (2, cells[1].folder, "mamp")
    assert cells[1].config.optimizer.betas == (0.9, 0.99)
    assert (cells[2].config.method, cells[2].config.max_steps, cells[2].config.max_cpu_seconds) == ("amr", 7, None)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("title:", "titles:", "grid.yaml:1: unknown name 'titles'. Did you mean 'title'?"),
        ("    line:", "    lien:", "grid.yaml:16: row 'AMR 40 s': unknown name 'lien'. Did you mean 'line'?"),
        (
            "max_steps",
            "max_step",
            "grid.yaml:13: row 'AMR 40 s': unknown budget 'max_step'. Did you mean 'max_steps'?",
        ),
        ("protocol: xview\n", "", "grid.yaml:1: expected the protocol"),
        ("protocol: xview", "tasks: [knn, linear_prob]\nprotocol: xview", "grid.yaml:3: unknown task 'linear_prob'"),
        ("[0, 1]", "[0, 0]", "grid.yaml:4: expected a list of different seeds from 0 on, as in [0, 1, 2], got [0, 0]"),
        ("[0, 1]", "3", "grid.yaml:4: expected a list of different seeds"),
        ("[3]", "[true]", "grid.yaml:12: row 'AMR 40 s': expected a list of different seeds"),
        ("seeds: [0, 1]\n", "", "grid.yaml:7: row 'MAE': expected seeds, of the row or of the grid"),
        ("recipe: mamp_synthetic\n", "", "row 'MAE': expected a recipe"),
        ("{optimizer.learning_rate: 0.001, encoder.width: 64}", "[1]", "grid.yaml:6: expected `name: value` pairs"),
        ("encoder.width: 64", "seed: 3", "grid.yaml:6: seed is no setting of a row: it is given by `seeds`"),
        ("encoder.width: 64", "epochs: 3", "epochs is no setting of a row: it is given by `budget`"),
        ("encoder.width: 64", "max-steps: 3", "grid.yaml:6: max_steps is no setting of a row: it is given by `budget`"),
        ("encoder.width: 64", "encoder: {width: 32}, encoder.width: 64", "grid.yaml:6: encoder.width is given twice"),
        ("{max_steps: 40}", "{max_steps: 40, max-steps: 50}", "max_steps is given twice"),
        ("encoder.width: 64", "[a, b]: 1", "grid.yaml:6: cannot be read as YAML: expected a name before the colon"),
        ("encoder.width: 64", "? {a: 1} : 1", "grid.yaml:6: cannot be read as YAML: expected a name before the colon"),
        ("MAE deeper", "mae", "row 'mae': its folder would be 'mae', which is that of the row 'MAE'"),
        ("MAE deeper", "±", "expected a name with letters a to z or digits"),
        ("MAE deeper", "MAE, deeper", "expected a name without commas"),
        ("baselines: true", "baselines: both", "expected true or false for baselines, got 'both'"),
        ("group: [time, main]", "group: [1]", "expected one name or a list of names for group"),
        (
            "    line: AMR\n",
            "    line: AMR\n    line: AMR\n",
            "grid.yaml:17: cannot be read as YAML: 'line' is given twice",
        ),
        ("rows:", "rows: [", "cannot be read as YAML"),
        (GOOD, "- 1", "expected one `name: value` in a line"),
        (GOOD, "protocol: xview\nrows: []", "grid.yaml:2: expected a list of rows"),
        (GOOD, "protocol: xview\nrows: [MAE]", "grid.yaml:2: row 1: expected `name: value` pairs, got 'MAE'"),
        (
            GOOD,
            "protocol: xview\nseeds: [0]\nrows: [{recipe: x}]",
            "grid.yaml:3: row 1: expected a name; it is missing",
        ),
    ],
)
def test_a_wrong_file_is_one_message_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError, match=re.escape(said)):
        read(tmp_path, GOOD.replace(old, new))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {"recipe": "mamp_synthetik"},
            "no recipe and no file is called 'mamp_synthetik'. Did you mean 'mamp_synthetic'?",
        ),
        ({"settings": {"optimizer.learning_rat": 1}}, "did you mean --optimizer.learning_rate?"),
        ({"settings": {"encoder.width": "wide"}}, "--encoder.width: expected int, got 'wide'"),
        ({"settings": {"encoder.width": 0}}, "encoder.width must be at least 1, got 0"),
        ({"settings": {"objective.target_frames": 8}}, "--objective.target_frames"),
        ({"recipe": "amr_synthetic", "settings": {"objective.target_frames": 12}}, "target_frames"),
        ({"settings": {"encoder.depth": 5}}, "has the same settings as row 'first' ("),
    ],
)
def test_settings_are_refused_as_pretrain_refuses_them(write_grid, cells_of, row: dict, said: str) -> None:
    grid = write_grid([{"name": "first"}, {"name": "second", **row}])
    with pytest.raises(ConfigError, match=r"grid\.yaml:\d+: row 'second'") as caught:
        cells_of(grid)
    assert said in str(caught.value)
    assert "--help" not in str(caught.value)


def test_a_device_or_precision_of_a_row_is_that_of_its_scores(write_grid, cells_of) -> None:
    rows = [{"name": "A"}, {"name": "B", "settings": {"device": "cpu", "precision": "fp32"}}]
    a, b = (cell.work[1].words for cell in cells_of(write_grid(rows)))
    assert not [word for word in a if word.startswith(("--device", "--precision"))]
    assert {"--device=cpu", "--precision=fp32"} <= set(b)


TUNED = """\
recipe: mamp_synthetic
protocol: xview
seeds: [0]
tasks: knn, finetune
evaluation: {finetune.epochs: 20, finetune.schedule: {warmup-epochs: 2}}
rows:
  - name: A
  - name: B
    evaluation: {finetune.label_fraction: 0.1, finetune.epochs: 10}
  - name: C
    settings: {encoder.width: 32}
    tasks: [knn]
"""


def test_rows_are_scored_as_they_say(tmp_path: Path, cells_of) -> None:
    grid = read(tmp_path, TUNED)
    common = {"finetune.epochs": 20, "finetune.schedule.warmup_epochs": 2}
    few = {"finetune.epochs": 10, "finetune.label_fraction": 0.1}
    assert [(row.tasks, row.evaluation) for row in grid.rows] == [
        (("knn", "finetune"), common),
        (("knn", "finetune"), common | few),
        (("knn",), {}),
    ]
    a, b, c = cells_of(grid)
    said = {word for word in b.work[1].words if word.startswith("--finetune")}
    assert said == {"--finetune.epochs=10", "--finetune.label_fraction=0.1", "--finetune.schedule.warmup_epochs=2"}
    assert "--tasks=knn,finetune" in b.work[1].words
    assert not [word for word in c.work[1].words if word.startswith("--finetune")]
    # The settings are those that `marrow evaluate` takes from these words.
    assert (a.scoring.settings["finetune"].epochs, a.scoring.settings["finetune"].schedule.warmup_epochs) == (20, 2)
    assert (b.scoring.settings["finetune"].epochs, b.scoring.settings["finetune"].label_fraction) == (10, 0.1)
    assert c.scoring.tasks == ("knn",)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("finetune.epochs: 20", "seed: 3", "grid.yaml:5: expected settings of a task, as in `finetune.ep"),
        ("finetune.epochs: 10", "tasks: knn", "grid.yaml:9: row 'B': expected settings of a task"),
        ("tasks: [knn]", "tasks: [knn, tune]", "grid.yaml:12: row 'C': unknown task 'tune'"),
        (
            "tasks: [knn]",
            "tasks: knn\n    evaluation: {finetune.epochs: 3}",
            "row 'C': the row is not scored by finetune",
        ),
        ("[knn]", "[]\n    evaluation: 3", "grid.yaml:13: row 'C': expected `name: value` pairs for evaluation"),
        (
            "finetune.epochs: 10",
            "finetune.epoch: 10",
            "grid.yaml:8: row 'B': unrecognized arguments: --finetune.epoch=10",
        ),
        ("finetune.epochs: 10", "finetune.epochs: 1", "grid.yaml:8: row 'B': schedule.warmup_epochs must not exceed"),
        ("finetune.epochs: 20", "finetune.epochs: x", "grid.yaml:7: row 'A': --finetune.epochs: expected int, got 'x'"),
        (
            "finetune.label_fraction: 0.1, finetune.epochs: 10",
            "finetune.epochs: 20",
            "row 'B' has the same settings as",
        ),
    ],
)
def test_evaluations_are_refused_before_anything_runs(tmp_path: Path, cells_of, old: str, new: str, said: str) -> None:
    assert old in TUNED
    with pytest.raises(ConfigError) as caught:
        cells_of(read(tmp_path, TUNED.replace(old, new)))
    assert said in str(caught.value)


def test_settings_of_fine_tuning_without_it_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"grid.yaml:4: no row is scored by finetune"):
        read(tmp_path, "protocol: xview\nrecipe: x\nseeds: [0]\nevaluation: {finetune.epochs: 3}\nrows: [{name: A}]")


def test_rows_are_chosen_by_name_or_folder(tmp_path: Path) -> None:
    grid = read(tmp_path, GOOD)
    assert [row.name for row in chosen_rows(grid, ["MAE deeper", " amr-40-s"])] == ["AMR 40 s", "MAE deeper"]
    with pytest.raises(ConfigError, match=r"has no row 'MEA'\. Did you mean 'MAE'"):
        chosen_rows(grid, ["MEA"])


def test_a_recipe_may_stand_beside_the_grid(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("epochs: 3\n")
    grid = read(tmp_path, GOOD.replace("recipe: mamp_synthetic", "recipe: mine.yaml"))
    assert grid.rows[0].recipe == str(tmp_path / "mine.yaml")


@pytest.mark.parametrize("name", grid_names())
def test_shipped_grids_hold_rows_that_pretrain_takes(name: str, cells_of) -> None:
    assert cells_of(read_grid(grid_path(name)))


def test_the_grid_that_is_explained_is_one(tmp_path: Path, cells_of) -> None:
    page = (Path(__file__).parents[2] / "docs" / "grids.md").read_text(encoding="utf-8")
    explained = re.search(r"```yaml\n(.*?)```", page, re.S)
    assert explained
    grid = read(tmp_path, explained[1])
    assert [cell.name for cell in cells_of(grid)][-2:] == [
        "nine tenths hidden, seed 2",
        "nine tenths hidden (40 s), seed 0",
    ]
    assert grid.groups == ["main", "time"]
