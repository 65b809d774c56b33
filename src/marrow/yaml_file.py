"""A YAML file of named values whose errors say in which line they stand."""

import difflib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from marrow.errors import ConfigError


def nearest(name: str, known: Collection[str]) -> str:
    """Return " Did you mean ...?" where a known name is spelt like it, else nothing."""
    near = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


class Mapping(dict[str, Any]):
    """Values by name, and the lines of the names."""

    line: int
    lines: dict[str, int]


class Section:
    """The file or a part of it: its values, and errors that say where they stand.

    Args:
        values: by name.
        said: what the part is called in errors; the file itself is called by its path.
        path: of the file.
        known: the names that it may hold.
    """

    def __init__(self, values: Mapping, said: str, path: Path, known: Collection[str]) -> None:
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
        """Return settings under dotted names, as commands have them, or None where they are not given."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, Mapping):
            raise self.error(name, f"expected `name: value` pairs for {name}, got {value!r}")
        return None if value is None else self._dotted(name, value)

    def _dotted(self, section: str, values: Mapping, prefix: str = "") -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for name, value in values.items():
            full = prefix + name.replace("-", "_")
            inner = self._dotted(section, value, f"{full}.") if isinstance(value, Mapping) else {full: value}
            for twice in flat.keys() & inner.keys():
                raise self.error(section, f"{twice} is given twice")
            flat |= inner
        return flat


class _Loader(yaml.SafeLoader):
    """Reads mappings with their lines, and refuses a name that occurs twice."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Mapping:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(problem="expected a name before the colon", problem_mark=key.start_mark)
        if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
            raise yaml.MarkedYAMLError(problem=f"{key.value!r} is given twice", problem_mark=key.start_mark)
        seen.add(key.value)
    loader.flatten_mapping(node)
    result = Mapping()
    result.line, result.lines = node.start_mark.line + 1, {}
    for key, value in node.value:
        result[key.value] = loader.construct_object(value, deep=True)
        result.lines[key.value] = key.start_mark.line + 1
    return result


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def load(path: Path) -> Mapping:
    """Read a file.

    Raises:
        ConfigError: it holds no names and values; says in which line.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected a YAML file, this is no text") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{where}: cannot be read as YAML: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path}: expected one `name: value` in a line; got {str(values)[:60]!r}")
    return values
