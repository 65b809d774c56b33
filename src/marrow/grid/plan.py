"""The file of a grid: which rows of settings are trained with which seeds, on what, and how long.

`grids/quick_synthetic.yaml` is a short one; `docs/grids.md` explains every name. (The grid of `marrow.models` is
another thing: how patches tile a window.)
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from marrow.errors import ConfigError
from marrow.tasks import TASKS, get_task
from marrow.yaml_file import Mapping, Section, load, nearest

BUDGETS = ("epochs", "max_steps", "max_minutes", "max_cpu_seconds")
DEFAULT_GROUP = "main"
_TASKS = ("linear_probe", "knn")
_WITH_SETTINGS = tuple(name for name, task in TASKS.items() if hasattr(task, "config"))
_GRID_NAMES = ("title", "recipe", "protocol", "tasks", "seeds", "budget", "settings", "evaluation", "rows")
_ROW_NAMES = ("name", "recipe", "tasks", "seeds", "budget", "settings", "evaluation", "baselines", "group", "line")
# Settings of a run that a grid says elsewhere.
_ELSEWHERE = {
    "store": "the option --store",
    "out": "the option --out",
    "threads": "the option --threads",
    "protocol": "`protocol` of the grid",
    "seed": "`seeds`",
    "recipe": "`recipe`",
    **dict.fromkeys(BUDGETS, "`budget`"),
}


@dataclass(frozen=True)
class GridRow:
    """One experiment: settings, trained with one or more seeds.

    Args:
        name: in tables.
        slug: name of its folder.
        recipe: name or file that its settings start from.
        seeds: of its runs.
        budget: limits of a run by name, one or more of `BUDGETS`.
        settings: what differs from the recipe, by dotted names.
        tasks: names of the evaluations.
        evaluation: what differs from their defaults, by dotted names.
        baselines: whether random initialisation and raw coordinates are scored beside it.
        groups: tables that it stands in.
        line: rows with the same are joined in the plot; None: a point of its own.
        place: file and line, for messages.
    """

    name: str
    slug: str
    recipe: str
    seeds: tuple[int, ...]
    budget: dict[str, Any]
    settings: dict[str, Any]
    tasks: tuple[str, ...]
    evaluation: dict[str, Any]
    baselines: bool
    groups: tuple[str, ...]
    line: str | None
    place: str


@dataclass(frozen=True)
class Grid:
    """A table of experiments.

    Args:
        path: its file.
        title: its heading.
        protocol: whose training half is learned from, and on which the encoders are scored.
        rows: the experiments, in the order of the file.
    """

    path: Path
    title: str
    protocol: str
    rows: tuple[GridRow, ...]

    @property
    def groups(self) -> list[str]:
        """Names of the tables, in order of first appearance."""
        return list(dict.fromkeys(group for row in self.rows for group in row.groups))


def grid_names() -> list[str]:
    """Return the names of the grids that marrow ships."""
    entries = files("marrow.grids").iterdir()
    return sorted(entry.name.removesuffix(".yaml") for entry in entries if entry.name.endswith(".yaml"))


def grid_path(name_or_file: str) -> Path:
    """Return the file of a shipped grid, or the given file itself.

    Raises:
        ConfigError: it is neither.
    """
    path = Path(name_or_file)
    if path.is_file():
        return path
    names = grid_names()
    if name_or_file.removesuffix(".yaml") in names:
        return Path(str(files("marrow.grids").joinpath(f"{name_or_file.removesuffix('.yaml')}.yaml")))
    raise ConfigError(
        f"no grid and no file is called {name_or_file!r}.{nearest(name_or_file, names)} Grids: {', '.join(names)}"
    )


def read_grid(path: Path) -> Grid:
    """Read and check the file of a grid. What only `marrow pretrain` can judge (recipes, settings) is not looked at.

    Raises:
        ConfigError: names the file and the line of what is wrong.
    """
    values = load(path)
    file = Section(values, str(path), path, _GRID_NAMES)
    protocol = file.text("protocol")
    if protocol is None:
        raise file.error("protocol", "expected the protocol that is learned and scored on; it is missing")
    listed = values.get("rows")
    if not isinstance(listed, list) or not listed:
        raise file.error("rows", "expected a list of rows, one `- name: ...` each")
    rows: list[GridRow] = []
    for number, row_values in enumerate(listed, start=1):
        if not isinstance(row_values, Mapping):
            raise file.error("rows", f"row {number}: expected `name: value` pairs, got {str(row_values)[:60]!r}")
        row = _row(row_values, file, number)
        for other in rows:
            if row.slug == other.slug:
                raise ConfigError(
                    f"{row.place}: row {row.name!r}: its folder would be {row.slug!r}, which is that of the row "
                    f"{other.name!r} ({other.place}); give it another name"
                )
        rows.append(row)
    for setting in _evaluation(file):
        if not any((task := setting.partition(".")[0]) in row.tasks for row in rows):
            raise file.error("evaluation", f"no row is scored by {task}, whose settings these are; add it to tasks")
    return Grid(path, file.text("title") or path.stem, protocol, tuple(rows))


def _row(values: Mapping, file: Section, number: int) -> GridRow:
    """Return a row, with what it shares with the others filled in."""
    row = Section(values, f"row {values.get('name', number)!r}", file.path, _ROW_NAMES)
    name = row.text("name")
    if name is None:
        raise row.error("name", "expected a name; it is missing")
    if "," in name:
        raise row.error("name", f"expected a name without commas, which separate names in --rows; got {name!r}")
    slug = re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-.")
    if not slug:
        raise row.error("name", f"expected a name with letters a to z or digits, for its folder; got {name!r}")
    seeds, budget = _seeds(row) or _seeds(file), _budget(row)
    if seeds is None:
        raise row.error("seeds", "expected seeds, of the row or of the grid, as in `seeds: [0, 1, 2]`; there are none")
    recipe = row.text("recipe") or file.text("recipe")
    if recipe is None:
        raise row.error("recipe", "expected a recipe, of the row or of the grid; there is none")
    tasks = _tasks(row) or _tasks(file) or _TASKS
    for setting in _evaluation(row):
        if (task := setting.partition(".")[0]) not in tasks:
            raise row.error("evaluation", f"the row is not scored by {task}, whose settings these are; add it to tasks")
    beside = file.path.parent / recipe
    baselines = values.get("baselines", False)
    if not isinstance(baselines, bool):
        raise row.error("baselines", f"expected true or false for baselines, got {baselines!r}")
    return GridRow(
        name=name.strip(),
        slug=slug,
        recipe=str(beside) if beside.is_file() else recipe,
        seeds=seeds,
        budget=(_budget(file) or {}) if budget is None else budget,
        settings=_settings(file) | _settings(row),
        tasks=tasks,
        evaluation={
            name: value
            for name, value in (_evaluation(file) | _evaluation(row)).items()
            if name.partition(".")[0] in tasks
        },
        baselines=baselines,
        groups=row.names("group") or (DEFAULT_GROUP,),
        line=row.text("line"),
        place=f"{file.path}:{values.line}",
    )


def _seeds(section: Section) -> tuple[int, ...] | None:
    """Return the seeds, or None where they are not given."""
    value = section.values.get("seeds")
    if value is None:
        return None
    whole = isinstance(value, list) and all(type(seed) is int and seed >= 0 for seed in value)
    if not whole or not value or len(set(value)) < len(value):
        raise section.error("seeds", f"expected a list of different seeds from 0 on, as in [0, 1, 2], got {value!r}")
    return tuple(value)


def _budget(section: Section) -> dict[str, Any] | None:
    """Return the limits of a run, or None where they are not given."""
    limits = section.mapping("budget")
    for name in limits or {}:
        if name not in BUDGETS:
            raise section.error(
                "budget", f"unknown budget {name!r}.{nearest(name, BUDGETS)} Names: {', '.join(BUDGETS)}"
            )
    return limits


def _settings(section: Section) -> dict[str, Any]:
    """Return the settings that differ from the recipe."""
    settings = section.mapping("settings") or {}
    for name in settings:
        if name in _ELSEWHERE:
            raise section.error("settings", f"{name} is no setting of a row: it is given by {_ELSEWHERE[name]}")
    return settings


def _evaluation(section: Section) -> dict[str, Any]:
    """Return the settings of the evaluation."""
    settings = section.mapping("evaluation") or {}
    for name in settings:
        if name.partition(".")[0] not in _WITH_SETTINGS or "." not in name:
            raise section.error(
                "evaluation",
                f"expected settings of a task, as in `finetune.epochs: 20`; got {name!r}. "
                f"Tasks with settings: {', '.join(_WITH_SETTINGS)}",
            )
    return settings


def _tasks(section: Section) -> tuple[str, ...]:
    """Return the tasks, none where they are not given."""
    tasks = section.names("tasks")
    for task in tasks:
        try:
            get_task(task)
        except ConfigError as error:
            raise section.error("tasks", str(error)) from error
    return tasks


def chosen_rows(grid: Grid, names: Sequence[str]) -> list[GridRow]:
    """Return the rows of some names or slugs, in the order of the grid.

    Raises:
        ConfigError: there is no such row.
    """
    rows = {key: row for row in grid.rows for key in (row.name, row.slug)}
    names = [name.strip() for name in names]
    for name in names:
        if name not in rows:
            raise ConfigError(
                f"{grid.path} has no row {name!r}.{nearest(name, rows)} "
                f"Rows: {', '.join(row.name for row in grid.rows)}"
            )
    wanted = {rows[name].slug for name in names}
    return [row for row in grid.rows if row.slug in wanted]
