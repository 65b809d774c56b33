"""BVH: motion capture of any skeleton, one body per file. The format: `readers/bvh_file.py`.

The skeleton is that of the files below a folder, which `for_root` reads; they must all have the same. Of the nodes in
it, those are left out that are no joints, be it in a single file:

- an end of a chain ("End Site") without a length,
- a joint that can never be apart from its parent: OFFSET 0 and no position channel,
- a root with a single child that has position channels of its own: that root is the origin of the scene.

What moves them still moves the rest. `joints` names those to keep instead. Left-right partners are told by name, hips
and shoulders too; the centre is where the hips join, the chest where the neck leaves the joint that the shoulders
share. `anchors` overrides that.

Labels and attributes come from a file's path below the folder, without `.bvh`, by `pattern`: a regular expression with
named groups that is searched for in it. The group `label` is the class, the others are attributes, as numbers where
they are digits in every file. So

    dataset-(?P<dataset>.)_(?P<label>[^_]+)_(?P<style>[^_]+)_(?P<take>[0-9]+)

makes of `dataset-2_walk_old_001.bvh` a clip of the class "walk" with dataset 2, style "old" and take 1, and
`marrow evaluate` can train on some styles and test on others by `style!=old -> style=old`. BVH has no protocols of
its own.
"""

import copy
import re
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from marrow.errors import ConfigError, ParseError
from marrow.readers.base import SkipRecording, Split, some_files
from marrow.readers.bvh_file import Node, read_hierarchy, read_motion
from marrow.skeleton.layout import ANCHOR_ROLES, Skeleton, mirror_by_name
from marrow.skeleton.sequence import Record, SkeletonSequence

_UNKNOWN = Skeleton("bvh", (), (), (), {})
# How sources call the joint at the top of a limb; the first spelling that a joint has counts.
_LIMBS = {
    "hip": (r"up(per)?[ _]?leg", r"thigh", r"femur", r"hip(?!s)"),
    "shoulder": (r"up(per)?[ _]?arm", r"humerus", r"(?<!fore)(?<!lower)(?<!fore[ _])(?<!lower[ _])arm", r"sho?u?ld"),
}
# A length below this (in the file's unit) is none.
_NO_LENGTH = 1e-6
# Frame times are rounded: 0.0333333 is 30 frames per second, 0.00833 is 120. 29.97 stays 29.97.
_RATE_ROUNDING = 5e-4


@dataclass(frozen=True)
class BVH:
    """Reader of BVH files of one skeleton.

    Args:
        pattern: regular expression with named groups, for labels and attributes from the files' paths.
        unit_metres: length of the files' unit; 0.01 for centimetres.
        up: the axis that points up.
        joints: names of the joints to keep; the parent of one is then the nearest above it that is kept.
        anchors: joint by role, where names do not tell: centre, chest, left_hip, right_hip, left_shoulder,
            right_shoulder.
    """

    pattern: str | None = None
    unit_metres: float = 0.01
    up: Literal["x", "y", "z"] = "y"
    joints: list[str] | None = field(default=None, hash=False)
    anchors: dict[str, str] | None = field(default=None, hash=False)

    # What stands in the files: known after `for_root`.
    skeleton: Skeleton = field(default=_UNKNOWN, init=False)
    classes: tuple[str, ...] = field(default=(), init=False)

    name: ClassVar[str] = "bvh"
    splits: ClassVar[Mapping[str, Split]] = {}

    def __post_init__(self) -> None:
        if not 0 < self.unit_metres < np.inf:
            raise ConfigError(f"bvh unit_metres must be above 0, got {self.unit_metres}")
        if self.up not in ("x", "y", "z"):
            raise ConfigError(f"bvh up must be 'x', 'y' or 'z', got {self.up!r}")
        for role in self.anchors or ():
            if role not in ANCHOR_ROLES:
                raise ConfigError(f"bvh anchors are {', '.join(ANCHOR_ROLES)}; got {role!r}")
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise ConfigError(f"bvh pattern {self.pattern!r} is no regular expression: {error}") from error

    def for_root(self, root: Path) -> "BVH":
        """Return this reader with the skeleton and the classes of the files below a folder.

        Raises:
            DataError: the folder is missing or holds no such file.
            ParseError: a file has another skeleton, or a path that the pattern does not fit.
            ConfigError: an option names a joint that the skeleton does not have.
        """
        files = _files(root)
        groups = self._groups(root, files)
        trees = [read_hierarchy(file) for file in files]
        left_out = set[str]().union(*map(_left_out, trees))
        skeleton = self._skeleton(trees[0], left_out)
        for file, nodes in zip(files, trees, strict=True):
            names = {node.name for node in nodes}
            _check(nodes, skeleton.joints if self.joints else names - left_out, skeleton, file, files[0])
        reader = copy.copy(self)
        object.__setattr__(reader, "skeleton", skeleton)
        object.__setattr__(
            reader, "classes", tuple(sorted({values["label"] for values in groups if "label" in values}))
        )
        return reader

    def records(self, root: Path) -> Iterator[Record]:
        """List the `.bvh` files at any depth below a folder, by path."""
        files = _files(root)
        groups = self._groups(root, files)
        names = sorted({name for values in groups for name in values} - {"label"})
        are_numbers = {name: all(values[name].isdecimal() for values in groups if name in values) for name in names}
        for file, values in zip(files, groups, strict=True):
            yield Record(
                id=file.relative_to(root).with_suffix("").as_posix(),
                path=file.relative_to(root).as_posix(),
                label=self.classes.index(values["label"]) if values.get("label") in self.classes else -1,
                attributes={
                    name: int(values[name]) if are_numbers[name] else values[name] for name in names if name in values
                },
            )

    def read(self, root: Path, record: Record) -> SkeletonSequence:
        """Read one recording; `for_root` comes first."""
        if self.skeleton == _UNKNOWN:
            raise ConfigError("a bvh reader learns its skeleton from the files: use BVH(...).for_root(root)")
        file = root / record.path
        nodes, frame_seconds, places = read_motion(file)
        if not len(places):
            raise SkipRecording("there is no frame")
        _check(nodes, self.skeleton.joints, self.skeleton, file, root)
        kept = [place for place, node in enumerate(nodes) if node.name in self.skeleton.joints]
        joints = (self.unit_metres * places[:, kept]).astype(np.float32)[None]
        return SkeletonSequence(
            joints=joints,
            present=np.ones(joints.shape[:3], np.bool_),
            fps=_frames_per_second(frame_seconds),
            skeleton=self.skeleton,
            record=record,
        )

    def _groups(self, root: Path, files: Sequence[Path]) -> list[dict[str, str]]:
        """Return what the pattern finds in the path of each file."""
        groups = []
        for file in files:
            path = file.relative_to(root).with_suffix("").as_posix()
            match = re.search(self.pattern or "", path)
            if match is None:
                raise ParseError(file, 0, f"expected a path that fits the pattern {self.pattern!r}, got {path!r}")
            groups.append({name: text for name, text in match.groupdict().items() if text is not None})
        return groups

    def _skeleton(self, nodes: Sequence[Node], left_out: Collection[str]) -> Skeleton:
        everything = [node.name for node in nodes]
        names, parents = _tree(nodes, self.joints or set(everything) - set(left_out))
        for asked, choices in ((self.joints or (), everything), ((self.anchors or {}).values(), names)):
            unknown = [joint for joint in asked if joint not in choices]
            if unknown:
                raise ConfigError(f"the skeleton has no joint {unknown[0]!r}. Its joints: {', '.join(choices)}")
        chosen = {role: names.index(joint) for role, joint in (self.anchors or {}).items()}
        # Two sources with as many joints are two layouts.
        code = zlib.crc32(repr((names, parents)).encode())
        return Skeleton(
            name=f"bvh_{len(names)}_{code:08x}",
            joints=names,
            parents=parents,
            mirror=mirror_by_name(names),
            anchors={**_guess_anchors(names, parents), **chosen},
            up=self.up,
        )


def _left_out(nodes: Sequence[Node]) -> set[str]:
    """Return the nodes that are no joints, in one file."""
    of_root = [node for node in nodes[1:] if node.parent == 0]
    left_out = {node.name for node in nodes[1:] if not node.moves and np.linalg.norm(node.offset or 0.0) < _NO_LENGTH}
    return left_out | {nodes[0].name} if len(of_root) == 1 and of_root[0].moves else left_out


def _tree(nodes: Sequence[Node], kept: Collection[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the names of the nodes that are kept, and the nearest above each that is kept as well."""
    row = {place: joint for joint, place in enumerate(p for p, node in enumerate(nodes) if node.name in kept)}
    parents = []
    for place in row:
        above = nodes[place].parent
        while above not in row and above != 0:
            above = nodes[above].parent
        parents.append(row.get(above, row[place]))
    return tuple(nodes[place].name for place in row), tuple(parents)


def _check(nodes: Sequence[Node], kept: Collection[str], skeleton: Skeleton, file: Path, model: Path) -> None:
    """Refuse a file with another skeleton than the model has."""
    names, parents = _tree(nodes, kept)
    if (names, parents) == (skeleton.joints, skeleton.parents):
        return
    line_of = {node.name: node.line for node in nodes}
    above = {name: names[parent] for name, parent in zip(names, parents, strict=True)}
    expected = {name: skeleton.joints[parent] for name, parent in zip(skeleton.joints, skeleton.parents, strict=True)}
    missing = [name for name in expected if name not in above]
    surplus = [name for name in above if name not in expected]
    moved = [name for name in expected if name in above and above[name] != expected[name]]
    if missing:
        line, problem = 1, f"it has no joint {missing[0]!r}"
    elif surplus:
        line, problem = line_of[surplus[0]], f"it has a joint {surplus[0]!r} more"
    elif moved:
        name = moved[0]
        line, problem = line_of[name], f"the parent of {name!r} is {above[name]!r}, not {expected[name]!r}"
    else:
        line, problem = 1, "its joints are in another order"
    raise ParseError(
        file,
        line,
        f"expected the skeleton of {model}, but {problem}. "
        f"Keep the joints that all files share with --options.joints, or prepare the files apart",
    )


def _files(root: Path) -> list[Path]:
    files = (file for file in root.rglob("*") if file.suffix.lower() == ".bvh")
    return some_files(root, files, "BVH files", "*.bvh")


def _frames_per_second(frame_seconds: float) -> float:
    nearest = round(1 / frame_seconds)
    return float(nearest) if abs(nearest * frame_seconds - 1) < _RATE_ROUNDING else 1 / frame_seconds


def _guess_anchors(names: Sequence[str], parents: Sequence[int]) -> dict[str, int]:
    """Return the joint of each role, as far as names and tree tell."""
    skeleton = Skeleton("guess", tuple(names), tuple(parents), mirror_by_name(names), {})
    anchors: dict[str, int] = {}
    for limb, spellings in _LIMBS.items():
        left = [joint for joint, side in enumerate(skeleton.sides) if side == "left"]
        for spelling in spellings:
            top = next((joint for joint in left if re.search(spelling, names[joint], re.IGNORECASE)), None)
            if top is not None:
                anchors[f"left_{limb}"], anchors[f"right_{limb}"] = top, skeleton.mirror[top]
                break
    for role, limb in (("centre", "hip"), ("chest", "shoulder")):
        if f"left_{limb}" in anchors:
            right = _ancestors(anchors[f"right_{limb}"], parents)
            meeting = next((joint for joint in _ancestors(anchors[f"left_{limb}"], parents) if joint in right), None)
            if meeting is not None:
                anchors[role] = meeting
    if "chest" in anchors:  # the top of the trunk is where the neck begins, if the file has that
        necks = [joint for joint, parent in enumerate(parents) if parent == anchors["chest"]]
        anchors["chest"] = next((joint for joint in necks if "neck" in names[joint].lower()), anchors["chest"])
    return {role: anchors[role] for role in ANCHOR_ROLES if role in anchors}


def _ancestors(joint: int, parents: Sequence[int]) -> list[int]:
    """Return the parent of a joint, its parent, and so on up to the root."""
    line = []
    while parents[joint] != joint:
        joint = parents[joint]
        line.append(joint)
    return line
