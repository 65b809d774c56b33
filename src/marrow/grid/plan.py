"""The file of a grid: which rows of settings are trained with which seeds, on what, and how long.

`grids/quick_synthetic.yaml` is a short one; `docs/grids.md` explains every name. (The grid of `marrow.models` is
another thing: how patches tile a window.)
"""

import difflib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from marrow.errors import ConfigError
from marrow.tasks import get_task

BUDGETS = ("epochs", "max_steps", "max_minutes", "max_cpu_seconds")
DEFAULT_GROUP = "main"
_GRID_NAMES = ("title", "recipe", "protocol", "tasks", "seeds", "budget", "settings", "rows")
_ROW_NAMES = ("name", "recipe", "seeds", "budget", "settings", "baselines", "group", "line")
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
        tasks: names of the evaluations.
        rows: the experiments, in the order of the file.
    """

    path: Path
    title: str
    protocol: str
    tasks: tuple[str, ...]
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
    values = _load(path)
    file = _Section(values, str(path), path, _GRID_NAMES)
    protocol = file.text("protocol")
    if protocol is None:
        raise file.error("protocol", "expected the protocol that is learned and scored on; it is missing")
    listed = values.get("rows")
    if not isinstance(listed, list) or not listed:
        raise file.error("rows", "expected a list of rows, one `- name: ...` each")
    rows: list[GridRow] = []
    for number, row_values in enumerate(listed, start=1):
        if not isinstance(row_values, _Mapping):
            raise file.error("rows", f"row {number}: expected `name: value` pairs, got {str(row_values)[:60]!r}")
        row = _row(row_values, file, number)
        for other in rows:
            if row.slug == other.slug:
                raise ConfigError(
                    f"{row.place}: row {row.name!r}: its folder would be {row.slug!r}, which is that of the row "
                    f"{other.name!r} ({other.place}); give it another name"
                )
        rows.append(row)
    return Grid(path, file.text("title") or path.stem, protocol, _tasks(file), tuple(rows))


def nearest(name: str, known: Collection[str]) -> str:
    """Return " Did you mean ...?" where a known name is spelt like it, else nothing."""
    near = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


class _Mapping(dict[str, Any]):
    """Values by name, and the lines of the names."""

    line: int
    lines: dict[str, int]


class _Section:
    """The grid or a row of it: its values, and errors that say where they stand."""

    def __init__(self, values: _Mapping, said: str, path: Path, known: Collection[str]) -> None:
        self.values, self._said, self.path = values, said, path
        for name in values:
            if name not in known:
                raise self.error(name, f"unknown name {name!r}.{nearest(name, known)} Names: {', '.join(known)}")

    def error(self, name: str, problem: str) -> ConfigError:
        """Return the error about one of the values."""
        line = self.values.lines.get(name, self.values.line)
        said = "" if self._said == str(self.path) else f"{self._said}: "
        return ConfigError(f"{self.path}:{line}: {said}{problem}")

    def text(self, name: str) -> str | None:
        """Return a text, or None where it is not given."""
        value = self.values.get(name)
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise self.error(name, f"expected a text for {name}, got {value!r}")
        return value

    def names(self, name: str) -> tuple[str, ...]:
        """Return a list of names, given as such, as one name, or separated by commas; empty where it is not given."""
        value = self.values.get(name, [])
        listed = value.split(",") if isinstance(value, str) else value
        if not isinstance(listed, list) or not all(isinstance(each, str) and each.strip() for each in listed):
            raise self.error(name, f"expected one name or a list of names for {name}, got {value!r}")
        return tuple(dict.fromkeys(each.strip() for each in listed))

    def mapping(self, name: str) -> dict[str, Any] | None:
        """Return settings under dotted names, as `marrow pretrain` has them, or None where they are not given."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, _Mapping):
            raise self.error(name, f"expected `name: value` pairs for {name}, got {value!r}")
        return None if value is None else self._dotted(name, value)

    def _dotted(self, section: str, values: _Mapping, prefix: str = "") -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for name, value in values.items():
            full = prefix + name.replace("-", "_")
            inner = self._dotted(section, value, f"{full}.") if isinstance(value, _Mapping) else {full: value}
            for twice in flat.keys() & inner.keys():
                raise self.error(section, f"{twice} is given twice")
            flat |= inner
        return flat

    def seeds(self) -> tuple[int, ...] | None:
        """Return the seeds, or None where they are not given."""
        value = self.values.get("seeds")
        if value is None:
            return None
        whole = isinstance(value, list) and all(type(seed) is int and seed >= 0 for seed in value)
        if not whole or not value or len(set(value)) < len(value):
            raise self.error("seeds", f"expected a list of different seeds from 0 on, as in [0, 1, 2], got {value!r}")
        return tuple(value)

    def budget(self) -> dict[str, Any] | None:
        """Return the limits of a run, or None where they are not given."""
        limits = self.mapping("budget")
        for name in limits or {}:
            if name not in BUDGETS:
                raise self.error(
                    "budget", f"unknown budget {name!r}.{nearest(name, BUDGETS)} Names: {', '.join(BUDGETS)}"
                )
        return limits

    def settings(self) -> dict[str, Any]:
        """Return the settings that differ from the recipe."""
        settings = self.mapping("settings") or {}
        for name in settings:
            if name in _ELSEWHERE:
                raise self.error("settings", f"{name} is no setting of a row: it is given by {_ELSEWHERE[name]}")
        return settings


def _row(values: _Mapping, file: _Section, number: int) -> GridRow:
    """Return a row, with what it shares with the others filled in."""
    row = _Section(values, f"row {values.get('name', number)!r}", file.path, _ROW_NAMES)
    name = row.text("name")
    if name is None:
        raise row.error("name", "expected a name; it is missing")
    if "," in name:
        raise row.error("name", f"expected a name without commas, which separate names in --rows; got {name!r}")
    slug = re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-.")
    if not slug:
        raise row.error("name", f"expected a name with letters a to z or digits, for its folder; got {name!r}")
    seeds, budget = row.seeds() or file.seeds(), row.budget()
    if seeds is None:
        raise row.error("seeds", "expected seeds, of the row or of the grid, as in `seeds: [0, 1, 2]`; there are none")
    recipe = row.text("recipe") or file.text("recipe")
    if recipe is None:
        raise row.error("recipe", "expected a recipe, of the row or of the grid; there is none")
    beside = file.path.parent / recipe
    baselines = values.get("baselines", False)
    if not isinstance(baselines, bool):
        raise row.error("baselines", f"expected true or false for baselines, got {baselines!r}")
    return GridRow(
        name=name.strip(),
        slug=slug,
        recipe=str(beside) if beside.is_file() else recipe,
        seeds=seeds,
        budget=(file.budget() or {}) if budget is None else budget,
        settings=file.settings() | row.settings(),
        baselines=baselines,
        groups=row.names("group") or (DEFAULT_GROUP,),
        line=row.text("line"),
        place=f"{file.path}:{values.line}",
    )


def _tasks(file: _Section) -> tuple[str, ...]:
    tasks = file.names("tasks") or ("linear_probe", "knn")
    for task in tasks:
        try:
            get_task(task)
        except ConfigError as error:
            raise file.error("tasks", str(error)) from error
    return tasks


class _Loader(yaml.SafeLoader):
    """Reads mappings with their lines, and refuses a name that occurs twice."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> _Mapping:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(problem="expected a name before the colon", problem_mark=key.start_mark)
        if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
            raise yaml.MarkedYAMLError(problem=f"{key.value!r} is given twice", problem_mark=key.start_mark)
        seen.add(key.value)
    loader.flatten_mapping(node)
    result = _Mapping()
    result.line, result.lines = node.start_mark.line + 1, {}
    for key, value in node.value:
        result[key.value] = loader.construct_object(value, deep=True)
        result.lines[key.value] = key.start_mark.line + 1
    return result


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def _load(path: Path) -> _Mapping:
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected a YAML file with a grid, this is no text") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{where}: cannot be read as YAML: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(values, _Mapping):
        raise ConfigError(f"{path}: expected a grid, one `name: value` in a line; got {str(values)[:60]!r}")
    return values


def chosen_rows(grid: Grid, names: Sequence[str]) -> list[GridRow]:
    """Return the rows of some names or slugs, in the order of the grid.

    Raises:
        ConfigError: there is no such row.
    """
    known = {key: row for row in grid.rows for key in (row.name, row.slug)}
    names = [name.strip() for name in names]
    for name in names:
        if name not in known:
            raise ConfigError(
                f"{grid.path} has no row {name!r}.{nearest(name, known)} "
                f"Rows: {', '.join(row.name for row in grid.rows)}"
            )
    wanted = {known[name].slug for name in names}
    return [row for row in grid.rows if row.slug in wanted]
