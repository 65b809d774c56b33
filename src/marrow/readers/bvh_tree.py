"""The tree of a BVH file: the text between HIERARCHY and MOTION. The whole format: `readers/bvh_file.py`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from marrow.errors import ParseError
from marrow.readers.number_lines import shown

# More than any body with hands and a face has, and few enough for a frame of it to be small.
MAX_NODES = 4096
_AXES = "xyz"
_CHANNEL = re.compile(r"([xyz])(position|rotation)", re.IGNORECASE)
_END_SITE = re.compile(r"end\s*site(.*)", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(?:\d{1,400}\.?\d{0,400}|\.\d{1,400})(?:[eE][+-]?\d{1,4})?", re.ASCII)
# As in `readers/number_lines.py`.
_LARGEST = 1e6
_DECIMAL_COMMA = re.compile(r"\d,\d")


@dataclass
class Node:
    """A joint, or the end of a chain.

    Args:
        name: as the file has it; that of an end is its parent's with "_end".
        parent: index of the parent; the root is its own.
        line: 1-based line on which it begins.
        is_end: whether it is an "End Site", which has no channels.
        offset: from the parent, in the file's unit.
        channels: (axis, "position" or "rotation") in the order of the columns.
    """

    name: str
    parent: int
    line: int
    is_end: bool = False
    offset: tuple[float, float, float] | None = None
    channels: list[tuple[int, str]] | None = None

    @property
    def moves(self) -> bool:
        """Whether its place relative to its parent may change."""
        return any(kind == "position" for _, kind in self.channels or ())


@dataclass
class Tree:
    """Nodes, and those whose braces are open."""

    path: Path
    nodes: list[Node] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    open: list[int] = field(default_factory=list)
    # A node was named, and its brace is to follow.
    is_named: bool = False


def parse_hierarchy(path: Path, lines: list[str]) -> tuple[Tree, int]:
    """Return the nodes in the order of the file, and the number of the line with MOTION.

    Raises:
        ParseError: the lines do not follow the format.
    """
    tree = Tree(path)
    has_begun = False
    for number, line in enumerate(lines, start=1):
        for statement in _statements(line):
            keyword = statement[0].upper()
            if not has_begun:
                if keyword != "HIERARCHY" or len(statement) > 1:
                    raise ParseError(path, number, f"expected HIERARCHY, got {shown_line(line)}")
                has_begun = True
            elif keyword == "MOTION":
                if tree.open or not tree.nodes or tree.is_named:
                    what = f"}} of {tree.nodes[tree.open[-1]].name}" if tree.open else "ROOT and its braces"
                    raise ParseError(path, number, f"expected {what} before MOTION")
                return tree, number
            else:
                _take(tree, keyword, statement, number, line)
    got = "the end of the file" if lines else "an empty file"
    raise ParseError(path, max(len(lines), 1), f"expected {'MOTION' if has_begun else 'HIERARCHY'}, got {got}")


def _statements(line: str) -> Iterator[list[str]]:
    """Split a line into statements: braces, and what stands between them."""
    for piece in re.split(r"([{}])", line):
        words = piece.split()
        if words:
            yield words


def _take(tree: Tree, keyword: str, statement: list[str], number: int, line: str) -> None:
    """Add one statement of the hierarchy to the tree."""
    end = _END_SITE.fullmatch(" ".join(statement))
    if (keyword == "{") != tree.is_named:
        expected = "{" if tree.is_named else "ROOT, JOINT, End Site, OFFSET, CHANNELS or }"
        raise ParseError(tree.path, number, f"expected {expected}, got {shown_line(line)}")
    if keyword == "{":
        tree.open.append(len(tree.nodes) - 1)
        tree.is_named = False
    elif end is not None:
        _take_node(tree, "END", "", number)
        if end[1].strip():
            tree.notes.append("a name after End Site, which was passed over")
    elif keyword in ("ROOT", "JOINT"):
        _take_node(tree, keyword, " ".join(statement[1:]), number)
    elif not tree.open:
        raise ParseError(tree.path, number, f"expected ROOT or MOTION, got {shown_line(line)}")
    elif keyword == "}":
        node = tree.nodes[tree.open.pop()]
        missing = "OFFSET" if node.offset is None else "CHANNELS" if node.channels is None else None
        if missing:
            raise ParseError(tree.path, number, f"expected {missing} of {node.name} before its }}")
    elif keyword == "OFFSET":
        node = tree.nodes[tree.open[-1]]
        values = [number_in(word) for word in statement[1:]]
        if node.offset is not None or len(values) != 3 or None in values:
            problem = f"expected one OFFSET of three numbers, got {shown_line(line)}{say_comma(line)}"
            raise ParseError(tree.path, number, problem)
        node.offset = (values[0] or 0.0, values[1] or 0.0, values[2] or 0.0)
    elif keyword == "CHANNELS":
        node = tree.nodes[tree.open[-1]]
        matches = [_CHANNEL.fullmatch(word) for word in statement[2:]]
        channels = [(_AXES.index(match[1].lower()), match[2].lower()) for match in matches if match]
        is_counted = len(statement) > 1 and statement[1] == str(len(matches))
        if node.channels is not None or not is_counted or None in matches or len(set(channels)) < len(channels):
            wanted = "expected one CHANNELS with a count and as many different names, such as 3 Zrotation ..."
            raise ParseError(tree.path, number, f"{wanted}; got {shown_line(line)}")
        node.channels = channels
    else:
        raise ParseError(
            tree.path, number, f"expected ROOT, JOINT, End Site, OFFSET, CHANNELS or }}, got {shown_line(line)}"
        )


def _take_node(tree: Tree, keyword: str, name: str, number: int) -> None:
    if (keyword == "ROOT") != (not tree.open):
        raise ParseError(tree.path, number, f"expected {'JOINT' if tree.open else 'ROOT'}, got {keyword}")
    if keyword == "ROOT" and tree.nodes:
        raise ParseError(tree.path, number, "expected one ROOT; files with several bodies are not read")
    parent = tree.open[-1] if tree.open else 0
    if tree.open and tree.nodes[parent].is_end:
        raise ParseError(tree.path, number, "expected the OFFSET and } of an End Site, got another node")
    if len(tree.nodes) >= MAX_NODES:
        raise ParseError(tree.path, number, f"expected at most {MAX_NODES} joints, got more")
    if keyword == "END":
        name = _not_taken(tree, f"{tree.nodes[parent].name}_end")
    elif keyword == "ROOT" and not name:
        name = "root"
        tree.notes.append("the root has no name: it is called root")
    elif not name:
        raise ParseError(tree.path, number, f"expected a name that no other joint has, got {name!r}")
    elif name in tree.names:
        above = f"{tree.nodes[parent].name}/{name}"
        name = _not_taken(tree, name) if above in tree.names else above
        tree.notes.append("two joints of one name: the second is called Parent/Name")
    tree.names.add(name)
    tree.nodes.append(Node(name, parent, number, keyword == "END", None, [] if keyword == "END" else None))
    tree.is_named = True


def _not_taken(tree: Tree, name: str) -> str:
    """Return a name, with a number from 2 on where it is taken."""
    if name not in tree.names:
        return name
    return next(f"{name}{count}" for count in range(2, len(tree.names) + 3) if f"{name}{count}" not in tree.names)


def number_in(word: str) -> float | None:
    """Return the finite number that a word is, or None."""
    if _NUMBER.fullmatch(word) is None:
        return None
    value = float(word)
    return value if abs(value) < _LARGEST else None


def shown_line(line: str) -> str:
    """Return a line as it may be put into a message."""
    return shown(line.encode())


def say_comma(text: str) -> str:
    """Return what to add to a message about a text that has a decimal comma; nothing where it has none."""
    return " (a decimal comma? Numbers are written with a point)" if _DECIMAL_COMMA.search(text) else ""
