"""BVH: motion capture of any skeleton, one body per file. The format: `readers/bvh_file.py`.

The skeleton is that of the files below a folder, which `for_root` reads: the one that most of them have. A file that
has another, that cannot be read, or whose path the pattern does not fit, is listed with that fault, and reading it
raises it. Nodes that are no joints, be it in a single file, are left out (`readers/bvh_joints.py`: ends without a
length, joints that stay on their parent, the origin of the scene), and ends that a single file lacks; each recording
notes them. What moves them still moves the rest. `joints` names those to keep instead. Left-right partners are told by
name, hips and shoulders too; the centre is where the hips join, the chest where the neck leaves the joint that the
shoulders share. `sides` and `anchors` override that.

Labels and attributes come from a file's path below the folder, without `.bvh`, by `pattern`: a regular expression with
named groups that is searched for in it. The group `label` is the class, the others are attributes, as numbers where
they are digits in every file. So

    dataset-(?P<dataset>.)_(?P<label>[^_]+)_(?P<style>[^_]+)_(?P<take>[0-9]+)

makes of `dataset-2_walk_old_001.bvh` a clip of the class "walk" with dataset 2, style "old" and take 1, and
`marrow evaluate` can train on some styles and test on others by `style!=old -> style=old`. BVH has no protocols of
its own.
"""

import copy
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from marrow.errors import ConfigError, ParseError, setting
from marrow.readers.base import SkipRecording, Split, some_files
from marrow.readers.bvh_file import read_file, read_hierarchy
from marrow.readers.bvh_joints import (
    frames_per_second,
    joint_tree,
    left_out_note,
    no_joints,
    rest_pose,
    root_may_be_scene,
    what_root_of_file_is,
)
from marrow.readers.bvh_tree import Node
from marrow.readers.name_pattern import check_pattern, find_groups
from marrow.readers.rates import doubt_rate
from marrow.readers.upright import turned_up
from marrow.skeleton.layout import ANCHOR_ROLES, Skeleton
from marrow.skeleton.names import anchors_by_name, mirror_by_name
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.skeleton.symmetry import anchors_by_shape, mirror_by_rest_pose

_UNKNOWN = Skeleton("bvh", (), (), (), {})
_Tree = tuple[tuple[str, ...], tuple[int, ...]]


@dataclass(frozen=True)
class BVH:
    """Reader of BVH files of one skeleton.

    Args:
        pattern: regular expression with named groups, for labels and attributes from the files' paths.
        unit_metres: length of the files' unit; 0.01 for centimetres.
        up: the axis that points up; "-y" where y points down, and bodies are turned so that it points up.
        joints: names of the joints to keep; the parent of one is then the nearest above it that is kept.
        anchors: joint by role, where names do not tell: centre, chest, left_hip, right_hip, left_shoulder,
            right_shoulder.
        fps: frames per second, where the files say it wrongly.
        sides: right joint by its left partner, where names do not tell, for example {"b12": "b17"}.
    """

    pattern: str | None = None
    unit_metres: float = 0.01
    up: Literal["x", "y", "z", "-x", "-y", "-z"] = "y"
    joints: list[str] | None = field(default=None, hash=False)
    anchors: dict[str, str] | None = field(default=None, hash=False)
    fps: float | None = None
    sides: dict[str, str] | None = field(default=None, hash=False)

    # What stands in the files: known after `for_root`.
    skeleton: Skeleton = field(default=_UNKNOWN, init=False)
    classes: tuple[str, ...] = field(default=(), init=False)
    # By path below the folder: what is wrong with a file, as far as that was seen before it is read.
    faults: Mapping[str, ParseError] = field(default_factory=dict, init=False, hash=False, compare=False)
    # What is to be known of every recording.
    notes: tuple[str, ...] = field(default=(), init=False, compare=False)

    name: ClassVar[str] = "bvh"
    splits: ClassVar[Mapping[str, Split]] = {}

    def __post_init__(self) -> None:
        if not 0 < self.unit_metres < np.inf:
            raise ConfigError(f"bvh unit_metres must be above 0, got {self.unit_metres}")
        if self.fps is not None and not 0 < self.fps < np.inf:
            raise ConfigError(f"bvh fps must be above 0, got {self.fps}")
        if self.up.removeprefix("-") not in ("x", "y", "z"):
            raise ConfigError(f"bvh up must be 'x', 'y' or 'z', or one of them with a minus; got {self.up!r}")
        for role in self.anchors or ():
            if role not in ANCHOR_ROLES:
                raise ConfigError(f"bvh anchors are {', '.join(ANCHOR_ROLES)}; got {role!r}")
        check_pattern(self.pattern)

    def for_root(self, root: Path) -> "BVH":
        """Return this reader with the skeleton and the classes of the files below a folder.

        What is wrong with some of the files is in `faults`, not raised.

        Raises:
            DataError: the folder is missing or holds no such file.
            ParseError: something is wrong with every file.
            ConfigError: an option names a joint that the skeleton does not have.
        """
        files = _files(root)
        faults: dict[Path, ParseError] = {}
        trees: dict[Path, list[Node]] = {}
        label_of: dict[Path, str | None] = {}
        for file in files:
            try:
                label_of[file] = self._groups(root, file).get("label")
                trees[file] = read_hierarchy(file)
            except ParseError as error:
                faults[file] = error
        if not trees:
            raise faults[files[0]]
        left_out = _left_out(trees)
        model = self._most_frequent(trees, left_out)
        alike = {file: nodes for file, nodes in trees.items() if self._tree(nodes, left_out) == model}
        if len(alike) < len(trees):  # what another skeleton leaves out is no reason to
            left_out = _left_out(alike)
        first = next(iter(alike))
        skeleton = self._skeleton(trees[first], left_out)
        for file, nodes in trees.items():
            try:
                _check(nodes, self._kept(nodes, left_out), skeleton, file, first)
            except ParseError as error:
                faults[file] = error
        labels = {label for file, label in label_of.items() if label is not None and file not in faults}
        known = copy.copy(self)
        object.__setattr__(known, "skeleton", skeleton)
        object.__setattr__(known, "notes", self._notes(skeleton))
        object.__setattr__(known, "classes", tuple(sorted(labels)))
        object.__setattr__(
            known, "faults", {file.relative_to(root).as_posix(): faults[file] for file in sorted(faults)}
        )
        return known

    def records(self, root: Path) -> Iterator[Record]:
        """List the `.bvh` files at any depth below a folder, by path, hidden ones left out.

        A path that does not fit the pattern is a fault of its record, as are those that `for_root` saw.

        Raises:
            DataError: the folder is missing or holds no such file.
        """
        files = _files(root)
        groups: dict[Path, dict[str, str]] = {}
        faults = {root / path: fault for path, fault in self.faults.items()}
        for file in files:
            try:
                groups[file] = self._groups(root, file)
            except ParseError as error:
                groups[file] = {}
                faults.setdefault(file, error)
        names = sorted({name for found in groups.values() for name in found} - {"label"})
        are_numbers = {name: all(one[name].isdecimal() for one in groups.values() if name in one) for name in names}
        ids = Counter(file.with_suffix("") for file in files)
        for file, found in groups.items():
            own = file.with_suffix("") if ids[file.with_suffix("")] == 1 else file  # a.bvh beside a.BVH
            yield Record(
                id=own.relative_to(root).as_posix(),
                path=file.relative_to(root).as_posix(),
                label=self.classes.index(found["label"]) if found.get("label") in self.classes else -1,
                attributes={
                    name: int(found[name]) if are_numbers[name] else found[name] for name in names if name in found
                },
                fault=faults.get(file),
            )

    def read(self, root: Path, record: Record) -> SkeletonSequence:
        """Read one recording; `for_root` comes first.

        Raises:
            ParseError: the file does not follow the format, or has another skeleton.
            SkipRecording: it has no frame.
        """
        if record.fault is not None:
            raise record.fault
        if self.skeleton == _UNKNOWN:
            raise ConfigError("a bvh reader learns its skeleton from the files: use BVH(...).for_root(root)")
        file = root / record.path
        motion = read_file(file, needs_rate=self.fps is None)
        if not len(motion.values):
            raise SkipRecording("there is no frame")
        _check(motion.nodes, self.skeleton.joints, self.skeleton, file, root)
        kept = [place for place, node in enumerate(motion.nodes) if node.name in self.skeleton.joints]
        joints = (self.unit_metres * turned_up(motion.places()[:, kept], self.up)).astype(np.float32)[None]
        notes = list(motion.notes)
        odd = doubt_rate(frames_per_second(motion.frame_seconds)) if motion.frame_seconds is not None else None
        if self.fps is None and odd is not None:
            notes.append(f"{odd} --options.fps says the rate")
        if self.joints is None:
            notes += left_out_note([node.name for node in motion.nodes if node.name not in self.skeleton.joints])
        notes += self.notes
        return SkeletonSequence(
            joints=joints,
            present=np.ones(joints.shape[:3], np.bool_),
            fps=self.fps or frames_per_second(motion.frame_seconds or 1.0),
            skeleton=self.skeleton,
            record=record,
            notes=tuple(notes),
        )

    def _groups(self, root: Path, file: Path) -> dict[str, str]:
        """Return what the pattern finds in the path of a file."""
        path = file.relative_to(root).with_suffix("").as_posix()
        groups = find_groups(self.pattern, path)
        if groups is None:
            raise ParseError(file, 0, f"expected a path that fits the pattern {self.pattern!r}, got {path!r}")
        return groups

    def _kept(self, nodes: Sequence[Node], left_out: Collection[str]) -> Collection[str]:
        return self.joints or {node.name for node in nodes}.difference(left_out)

    def _tree(self, nodes: Sequence[Node], left_out: Collection[str]) -> _Tree:
        return joint_tree(nodes, self._kept(nodes, left_out))

    def _most_frequent(self, trees: Mapping[Path, list[Node]], left_out: Collection[str]) -> _Tree:
        """Return the tree that most files have, of those that have all the joints that were asked for."""
        counts = Counter(self._tree(nodes, left_out) for nodes in trees.values())
        whole = [tree for tree in counts if set(self.joints or ()) <= set(tree[0])]
        return max(whole or counts, key=lambda tree: counts[tree])

    def _notes(self, skeleton: Skeleton) -> tuple[str, ...]:
        """Return what is to be known of a skeleton: that its sides were guessed."""
        pairs = [(one, other) for one, other in enumerate(skeleton.mirror) if one < other]
        if self.sides or not pairs or mirror_by_name(skeleton.joints, skeleton.parents) == skeleton.mirror:
            return ()
        shown = ", ".join(f"{skeleton.joints[one]} and {skeleton.joints[other]}" for one, other in pairs[:3])
        more = ", ..." if len(pairs) > 3 else ""
        how = "left and right were told by the shape of the body, not by names"
        return (f"{how}: {shown}{more}; --options.sides names them",)

    def _skeleton(self, nodes: Sequence[Node], left_out: Collection[str]) -> Skeleton:
        everything = [node.name for node in nodes]
        names, parents = self._tree(nodes, left_out)
        partners = [joint for pair in (self.sides or {}).items() for joint in pair]
        for asked, known in (
            (self.joints or (), everything),
            ((self.anchors or {}).values(), names),
            (partners, names),
        ):
            unknown = [joint for joint in asked if joint not in known]
            if unknown:
                raise ConfigError(f"the skeleton has no joint {unknown[0]!r}. Its joints: {', '.join(known)}")
        if len(set(partners)) < len(partners):
            twice = next(joint for joint in partners if partners.count(joint) > 1)
            raise ConfigError(f"bvh sides give {twice!r} more than one partner")
        mirror, of_shape = mirror_by_name(names, parents), dict[str, int]()
        if all(joint == partner for joint, partner in enumerate(mirror)):
            places = rest_pose(nodes)[[place for place, node in enumerate(nodes) if node.name in names]]
            mirror = mirror_by_rest_pose(places, parents)
            of_shape = anchors_by_shape(np.linalg.norm(places - places[list(parents)], axis=-1), parents, mirror)
        mirror = _with_partners(names, mirror, self.sides or {})
        chosen = {role: names.index(joint) for role, joint in (self.anchors or {}).items()}
        sides = list(Skeleton("", names, parents, mirror, chosen).sides)
        for left, right in (self.sides or {}).items():
            sides[names.index(left)], sides[names.index(right)] = "left", "right"
        anchors = {**(anchors_by_name(names, parents, mirror, sides) or of_shape), **chosen}
        # Two sources with as many joints are two layouts.
        code = zlib.crc32(repr((names, parents)).encode())
        return Skeleton(
            name=f"bvh_{len(names)}_{code:08x}",
            joints=names,
            parents=parents,
            mirror=mirror,
            anchors={role: anchors[role] for role in ANCHOR_ROLES if role in anchors},
            up=self.up.removeprefix("-"),
        )


def _with_partners(names: Sequence[str], mirror: Sequence[int], sides: Mapping[str, str]) -> tuple[int, ...]:
    """Return a mirror in which some pairs are as given, whatever they or their partners were before."""
    partners = list(mirror)
    for left, right in ((names.index(left), names.index(right)) for left, right in sides.items()):
        for joint in (left, right):
            partners[partners[joint]] = partners[joint]
        partners[left], partners[right] = right, left
    return tuple(partners)


def _left_out(trees: Mapping[Path, list[Node]]) -> set[str]:
    """Return the nodes that are no joints in one of the files at least, and ends of chains that are not in all."""
    may_be_scene = [file for file, nodes in trees.items() if root_may_be_scene(nodes)]
    scenes = set(may_be_scene) if _is_scene(may_be_scene) else set[Path]()
    ends = {node.name for nodes in trees.values() for node in nodes if node.is_end}
    in_all = ends.intersection(*({node.name for node in nodes} for nodes in trees.values()))
    return (ends - in_all).union(*(no_joints(nodes, file in scenes) for file, nodes in trees.items()))


def _is_scene(files: Sequence[Path]) -> bool:
    """Tell whether the root is the origin of the scene: mostly the first of the files shows it."""
    kinds: set[str] = set()
    for file in files:
        try:
            kinds.add(what_root_of_file_is(file))
        except ParseError:  # which reading the recording will say
            continue
        if "scene" in kinds:
            return True
    return "joint" not in kinds


def _check(nodes: Sequence[Node], kept: Collection[str], skeleton: Skeleton, file: Path, model: Path) -> None:
    """Refuse a file with another skeleton than the model has."""
    names, parents = joint_tree(nodes, kept)
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
        f"Keep those that all files share with {setting('joints', typed='options.joints')}, or prepare the files apart",
    )


def _files(root: Path) -> list[Path]:
    files = (file for file in root.rglob("*") if file.suffix.lower() == ".bvh")
    return some_files(root, files, "BVH files", "*.bvh")
