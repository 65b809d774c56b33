"""A layout of one's own, written down in a YAML file.

    name: my_suit                       # how stores refer to it; the file's name if left out
    up: z                               # the axis that points up; y if left out
    dimensions: 3                       # coordinates of a position, 3 or 2; 3 if left out
    joints:                             # in the order in which the files have them
      Root:   {place: pelvis}           # a joint without a parent is the root, of which there is one
      LHip:   {parent: Root, place: left hip, mirror: RHip}
      RHip:   {parent: Root, place: right hip}
      Probe:  {parent: Root}            # of no place: it is the layout's own
    derived:                            # joints that nobody measured; they come after the others
      Middle: {of: [LHip, RHip], parent: Root, place: hip centre}
      Low:    {of: {Root: 0.25, Middle: 0.75}}
    anchors: {centre: Middle}           # for alignment; where they are left out, places tell, else names

Where no joint says its mirror, names tell who is left and right, and where no joint says a place, names tell places.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from marrow.errors import ConfigError
from marrow.files import did_you_mean_path
from marrow.skeleton.body import BODY, anchors_by_place
from marrow.skeleton.known import get_skeleton
from marrow.skeleton.layout import ANCHOR_ROLES, Skeleton, mirror_by_name
from marrow.skeleton.names import anchors_by_name
from marrow.skeleton.places import places_of
from marrow.yaml_file import Mapping as YamlMapping
from marrow.yaml_file import Section, load, nearest

_FILE = ("name", "up", "dimensions", "joints", "derived", "anchors")
_JOINT = ("parent", "place", "mirror")
_SUFFIXES = (".yaml", ".yml")


def get_layout(name: str) -> Skeleton:
    """Return a built-in layout by its name, or one of a YAML file by its path.

    Raises:
        ConfigError: there is none, or the file describes none.
    """
    return load_layout(name) if Path(name).suffix.lower() in _SUFFIXES else get_skeleton(name)


def load_layout(path: str | Path) -> Skeleton:
    """Read a layout from a YAML file; how it is written: `marrow/skeleton/layout_file.py`.

    Raises:
        ConfigError: the file is missing, or describes no layout; says in which line.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"expected a YAML file with a layout; there is no {path}{did_you_mean_path(path)}")
    file = Section(load(path), str(path), path, _FILE)
    joints = _sections(file, "joints", _JOINT)
    derived = _sections(file, "derived", ("of", *_JOINT))
    if not joints:
        raise file.error("joints", "expected joints, each by its name: `Head: {parent: Neck, place: head}`")
    for name in derived:
        if name in joints:
            raise file.error("derived", f"{name!r} is a joint of the files already; a derived one has its own name")
    said = {**joints, **derived}
    names = tuple(said)
    up = file.text("up") or "y"
    if up not in ("x", "y", "z"):
        raise file.error("up", f"expected x, y or z for up, got {up!r}")
    dimensions = file.values.get("dimensions", 3)
    if dimensions not in (2, 3):
        raise file.error("dimensions", f"expected 2 or 3 for dimensions, got {dimensions!r}")
    if dimensions == 2 and up == "z":
        raise file.error("up", "expected x or y for up, got 'z', which does not exist in two dimensions")
    layout = Skeleton(
        name=file.text("name") or path.stem,
        joints=names,
        parents=_parents(file, joints, derived),
        mirror=_mirror(said),
        anchors={},
        up=up,
        derived=_derived(derived, names),
        places=_places(said, names),
        dimensions=int(dimensions),
    )
    return replace(layout, anchors=_anchors(file, layout))


def _sections(file: Section, name: str, known: Sequence[str]) -> dict[str, Section]:
    """Return what is said of each joint, by its name."""
    listed = file.values.get(name)
    if listed is None:
        return {}
    if not isinstance(listed, YamlMapping):
        raise file.error(name, f"expected `name: {{parent: name}}` for each of {name}, got {str(listed)[:60]!r}")
    sections: dict[str, Section] = {}
    for joint, values in listed.items():
        line = listed.lines[joint]
        if values is None:
            values = YamlMapping()
            values.line, values.lines = line, {}
        if not isinstance(values, YamlMapping):
            raise ConfigError(f"{file.path}:{line}: expected `{joint}: {{parent: name}}`, got {str(values)[:60]!r}")
        sections[joint] = Section(values, joint, file.path, known)
    return sections


def _index(section: Section, field: str, name: str, names: Sequence[str]) -> int:
    if name not in names:
        raise section.error(field, f"there is no joint {name!r}.{nearest(name, names)} Joints: {', '.join(names)}")
    return list(names).index(name)


def _parents(file: Section, joints: Mapping[str, Section], derived: Mapping[str, Section]) -> tuple[int, ...]:
    """Return parents; a derived joint without one hangs from the root."""
    names = (*joints, *derived)
    roots = [name for name, section in joints.items() if section.text("parent") in (None, name)]
    if len(roots) > 1:
        raise joints[roots[1]].error("parent", f"expected one joint without a parent, got two: {', '.join(roots[:2])}")
    if not roots:
        raise file.error("joints", "expected one joint without a parent, the root; every joint has one")
    parents = [
        _index(section, "parent", section.text("parent") or (name if name in joints else roots[0]), names)
        for name, section in (*joints.items(), *derived.items())
    ]
    for name in names:
        line = [name]
        while line[-1] != roots[0]:
            line.append(names[parents[names.index(line[-1])]])
            if line[-1] in line[:-1]:
                where = {**joints, **derived}[name]
                raise where.error("parent", f"expected parents that lead to {roots[0]}, got {' - '.join(line)}")
    return tuple(parents)


def _mirror(said: Mapping[str, Section]) -> tuple[int, ...]:
    """Return partners as joints say them, each for both; where none does, as names tell."""
    names = tuple(said)
    partner: dict[int, int] = {}
    for joint, (name, section) in enumerate(said.items()):
        wanted = section.text("mirror")
        if wanted is None:
            continue
        other = _index(section, "mirror", wanted, names)
        for one, two in ((joint, other), (other, joint)):
            if partner.setdefault(one, two) != two:
                raise section.error(
                    "mirror",
                    f"expected a mirror that is its own inverse; {name} and {wanted}, but {names[one]} and "
                    f"{names[partner[one]]}",
                )
    if not partner:
        return mirror_by_name(names)
    return tuple(partner.get(joint, joint) for joint in range(len(names)))


def _places(said: Mapping[str, Section], names: Sequence[str]) -> dict[str, int]:
    places: dict[str, int] = {}
    for name, section in said.items():
        place = section.text("place")
        if place is None:
            continue
        if place not in BODY.joints:
            hint = nearest(place, BODY.joints)
            raise section.error("place", f"unknown place {place!r}.{hint} Places: {', '.join(BODY.joints)}")
        if place in places:
            raise section.error("place", f"two joints are at the place {place!r}: {names[places[place]]} and {name}")
        places[place] = names.index(name)
    return places


def _derived(derived: Mapping[str, Section], names: Sequence[str]) -> dict[int, tuple[tuple[int, float], ...]]:
    """Return what derived joints are made of; one that is made of another one is made of what that is made of."""
    result: dict[int, tuple[tuple[int, float], ...]] = {}
    for name, section in derived.items():
        sources: Any = section.values.get("of")
        if isinstance(sources, list) and all(isinstance(source, str) for source in sources):
            sources = {source: 1 / len(sources) for source in sources}
        if not isinstance(sources, dict) or not sources:
            raise section.error("of", "expected joints that it is made of: `of: [LHip, RHip]`, or with their weights")
        made_of: dict[int, float] = {}
        for source, weight in sources.items():
            if not isinstance(weight, int | float) or isinstance(weight, bool) or not 0 < weight <= 1:
                raise section.error("of", f"expected weights between 0 and 1, got {weight!r} for {source}")
            joint = _index(section, "of", str(source), names)
            if joint == names.index(name) or (names[joint] in derived and joint not in result):
                raise section.error("of", f"expected joints that are there before {name}, got {source}")
            for inner, share in result.get(joint, ((joint, 1.0),)):
                made_of[inner] = made_of.get(inner, 0.0) + share * weight
        if abs(sum(made_of.values()) - 1) > 1e-6:
            raise section.error("of", f"expected weights that add up to 1, got {sum(made_of.values()):g}")
        result[names.index(name)] = tuple(made_of.items())
    return result


def _anchors(file: Section, layout: Skeleton) -> dict[str, int]:
    """Return anchors as the file says them, else as places do, else as names do."""
    said: Any = file.values.get("anchors")
    if said is not None and not isinstance(said, YamlMapping):
        raise file.error("anchors", f"expected `centre: joint` and the like for anchors, got {str(said)[:60]!r}")
    anchors = anchors_by_place(places_of(layout))
    if not layout.places:
        anchors = anchors_by_name(layout.joints, layout.parents, layout.mirror, layout.sides) | anchors
    section = Section(said or YamlMapping(), "anchors", file.path, ANCHOR_ROLES) if said else None
    for role in said or ():
        assert section is not None
        anchors[role] = _index(section, role, section.text(role) or "", layout.joints)
    return anchors
