"""What the columns of a table are, by their names: a joint's coordinates, its confidence, frame, time, person, clip.

A wide table has a row per frame and columns for each joint ("head_x", "x_head", "head.x", "headX", "x1", or two to four
header rows: joint above coordinate, DeepLabCut's "scorer", "individuals", "bodyparts", "coords"). A long table has a
row per joint, with its name or number in a column.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from marrow.errors import ConfigError, ParseError, did_you_mean, setting
from marrow.importing.tables.file import is_number

# What columns are called, by what they are, without blanks and signs; the first that is there is taken.
ROLES: dict[str, tuple[str, ...]] = {
    "frame": (
        *("frame", "frames", "frameid", "frameidx", "frameindex", "framenumber", "frameno", "framenum", "fr"),
        *("imageid", "imgid", "index", "idx", "unnamed0"),
    ),
    "time": (
        *("time", "timestamp", "times", "timems", "timeus", "timens", "timesec", "timeseconds", "seconds", "sec"),
        *("timestamps", "timestampms", "timestampus", "timestampusec", "timestampns", "milliseconds", "ms", "t"),
        *("zeit", "zeitms", "zeits", "temps", "tiempo", "tempo"),
    ),
    "person": (
        *("person", "personid", "personidx", "body", "bodyid", "bodyidx", "track", "trackid", "trackingid"),
        *("individual", "individuals", "individualid", "instance", "instanceid", "skeletonid", "actor", "actorid"),
        *("player", "playerid", "pid", "people", "human", "humanid", "id"),
    ),
    "joint": (
        *("joint", "jointname", "jointid", "jointidx", "jointindex", "jointtype", "keypoint", "keypointname"),
        *("keypointid", "marker", "markername", "landmark", "landmarkname", "landmarkid", "landmarkindex"),
        *("bodypart", "bodypartname", "part", "partname", "point", "pointname", "node", "bone", "name"),
    ),
    "x": ("x", "posx", "xpos", "positionx", "xposition", "px", "coordx", "xcoord", "xmm", "xcm", "xm", "xpx"),
    "y": ("y", "posy", "ypos", "positiony", "yposition", "py", "coordy", "ycoord", "ymm", "ycm", "ym", "ypx"),
    "z": ("z", "posz", "zpos", "positionz", "zposition", "pz", "coordz", "zcoord", "zmm", "zcm", "zm"),
    "confidence": (
        *("confidence", "conf", "score", "likelihood", "visibility", "probability", "prob", "presence", "vis", "c"),
        *("certainty", "visible", "v"),
    ),
    "clip": (
        *("clip", "clipid", "clipname", "video", "videoid", "videoname", "recording", "recordingid", "sequence"),
        *("sequenceid", "seq", "seqid", "trial", "trialid", "take", "file", "filename", "filepath", "sample"),
        "sampleid",
    ),
    "label": ("label", "class", "action", "activity", "actionlabel", "classname", "actionname", "labelname"),
}
# Roles of whole rows.
ROW_ROLES = ("frame", "time", "person", "clip", "label")
UNITS = {"mm": 0.001, "cm": 0.01, "m": 1.0, "px": 0.0, "pixels": 0.0}

_CONFIDENCE = r"conf|confidence|likelihood|score|visibility|visible|vis|c|p|prob|probability|presence|v"
_GAP = r"[\s_.:/|\-]+"
# Ways to write a joint and a coordinate in one name.
_STYLES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?P<joint>.+?){_GAP}(?P<part>(?i:[xyz]|{_CONFIDENCE}))",
        rf"(?P<part>(?i:[xyz]|{_CONFIDENCE})){_GAP}(?P<joint>.+)",
        r"(?P<joint>.*[a-z0-9])(?P<part>[XYZ]|Conf|Confidence|Likelihood|Score|Visibility|C)",
        rf"(?P<part>(?i:[xyz]|{_CONFIDENCE}))(?P<joint>\d+)",
    )
)
_UNIT = re.compile(r"\s*[(\[]\s*(mm|cm|m|px|pixels)\s*[)\]]$|(?<=[xyzXYZ])[_ ](mm|cm|m|px)$")
# What has three coordinates and is no position.
_NO_POSITION = re.compile(
    r"(?i)(^|[\s_.:\-])(rot|rotation|quat|quaternion|orient|orientation|euler|vel|velocity|acc|accel|acceleration|"
    r"angle|angles|scale|gyro|mag)$|(?<=[a-z])(Rot|Rotation|Quat|Orientation|Euler|Velocity|Acceleration)$"
)
_POSITION = re.compile(r"(?i)[\s_.:\-]+(pos|position|translation|location|loc)$")
_INDEX_NAMES = ("", "unnamed: 0")
_SCORER_ROWS = ("scorer", "individuals", "bodyparts", "coords")


@dataclass(frozen=True)
class Columns:
    """The place of each column by what it is.

    Args:
        names: of all columns, for messages.
        rows: place by role: frame, time, person, clip, label; in a long table also joint, x, y, z, confidence.
        joints: names of a wide table's joints; () of a long one.
        bodies: names of the people whose columns a wide table has beside each other; ("",) where it has one.
        coordinates: of a wide table, columns of x, y (and z) by body and joint.
        confidence: of a wide table, a column or None by body and joint.
        dimensions: numbers per position.
        unit_metres: where the names say it; 0 for pixels.
        left_out: columns and joints that were not understood, by name.
    """

    names: tuple[str, ...]
    rows: Mapping[str, int] = field(hash=False)
    joints: tuple[str, ...]
    bodies: tuple[str, ...]
    coordinates: tuple[tuple[tuple[int, ...], ...], ...]
    confidence: tuple[tuple[int | None, ...], ...]
    dimensions: int
    unit_metres: float | None
    left_out: tuple[str, ...]

    @property
    def is_long(self) -> bool:
        """Tell whether a row is one joint."""
        return "joint" in self.rows

    @property
    def numbers(self) -> frozenset[int]:
        """Return the columns that hold numbers."""
        places = {self.rows[role] for role in ("time", "x", "y", "z", "confidence") if role in self.rows}
        places |= {column for body in self.coordinates for joint in body for column in joint}
        places |= {column for body in self.confidence for column in body if column is not None}
        return frozenset(places)

    @property
    def has_confidence(self) -> bool:
        """Tell whether there is a confidence of any joint."""
        return "confidence" in self.rows or any(column is not None for body in self.confidence for column in body)


def header_count(rows: Sequence[Sequence[str]]) -> int:
    """Return how many of a table's first rows are names: those down to a row of coordinates; 0 if numbers begin it."""
    if not rows or (sum(map(is_number, rows[0])) > len(rows[0]) / 2 and not any(_is_part(cell) for cell in rows[0])):
        for place in range(1, min(3, len(rows))):  # joints may have numbers for names, above a row of coordinates
            if _is_row_of_parts(rows[place]):
                return place + 1
        return 0
    for place in range(1, min(5, len(rows))):
        if _is_row_of_parts(rows[place]):
            after = rows[place + 1] if place + 1 < len(rows) else ("1",)
            is_index_name = bool(after[0]) and not is_number(after[0]) and not any(after[1:])
            return place + 1 + is_index_name
    return 1


def _is_part(cell: str) -> bool:
    return _without_unit(cell)[0].lower() in ("x", "y", "z")


def _is_row_of_parts(row: Sequence[str]) -> bool:
    parts = {_without_unit(cell)[0].lower() for cell in row}
    named = [cell for cell in row if cell and not is_number(cell)]
    return {"x", "y"} <= parts and len(named) >= len(row) / 2 and sum(map(_is_part, row)) >= len(named) / 2


def _without_unit(name: str) -> tuple[str, float | None]:
    match = _UNIT.search(name)
    return (name, None) if match is None else (name[: match.start()], UNITS[match[1] or match[2]])


def _folded(name: str) -> str:
    return re.sub(r"[\W_]+", "", _without_unit(name)[0].lower())


def check_roles(told: Mapping[str, str] | None) -> None:
    """Check what a user says of columns.

    Raises:
        ConfigError: a role is none.
    """
    for role in told or {}:
        if role not in ROLES:
            raise ConfigError(f"columns are told by {', '.join(ROLES)}; got {role!r}.{did_you_mean(role, ROLES)}")


def columns_of(path: Path, headers: Sequence[Sequence[str]], told: Mapping[str, str] | None) -> Columns:
    """Return what columns are, by one to four rows of names.

    Args:
        path: of the file, for messages.
        headers: rows of names, all of one length.
        told: names of columns by what they are, as the user says.

    Raises:
        ParseError: there are no coordinates of joints, a column has no name, or two have the same.
        ConfigError: a role or a name that the user says is none.
    """
    check_roles(told)
    names = tuple(headers[0]) if len(headers) == 1 else _joined(headers)
    rows = _told_places(path, names, headers, told)
    if len(headers) == 1:
        long_rows = {**_by_name(names, ROLES, set(rows.values())), **rows}
        is_long = {"joint", "x", "y"} <= long_rows.keys()
        if is_long and ("joint" in rows or not _complete(_parts_of_names(names, set(long_rows.values())))):
            return _long(names, long_rows)
        parts = _parts_of_names(names, set(rows.values()))
    else:
        parts = _parts_of_rows(path, headers)
    return _wide(path, names, parts, rows)


def _told_places(
    path: Path, names: Sequence[str], headers: Sequence[Sequence[str]], told: Mapping[str, str] | None
) -> dict[str, int]:
    places = {}
    for role, name in (told or {}).items():
        found = [at for at, column in enumerate(names) if name in (column, headers[0][at], headers[-1][at])]
        found = found or [at for at, column in enumerate(names) if column.lower() == name.lower()]
        if not found:
            shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
            raise ConfigError(
                f"{path} has no column {name!r} for the role {role}.{did_you_mean(name, names)} Its columns: {shown}"
            )
        places[role] = found[0]
    return places


def _by_name(names: Sequence[str], roles: Mapping[str, Sequence[str]], taken: set[int]) -> dict[str, int]:
    folded = [_folded(name) for name in names]
    places = {}
    for role, words in roles.items():
        for word in words:
            free = [at for at, name in enumerate(folded) if name == word and at not in taken]
            if free:
                places[role] = free[0]
                break
    return places


def _long(names: tuple[str, ...], rows: dict[str, int]) -> Columns:
    units = {_without_unit(names[rows[axis]])[1] for axis in "xyz" if axis in rows}
    used = set(rows.values())
    return Columns(
        names=names,
        rows=rows,
        joints=(),
        bodies=("",),
        coordinates=(),
        confidence=(),
        dimensions=3 if "z" in rows else 2,
        unit_metres=units.pop() if len(units) == 1 else None,
        left_out=tuple(name for at, name in enumerate(names) if at not in used and name.lower() not in _INDEX_NAMES),
    )


# Of each column: (body, joint, part), where part is x, y, z or c; None for other columns.
_Parts = list[tuple[str, str, str] | None]


def _parts_of_names(names: Sequence[str], taken: set[int]) -> _Parts:
    """Tell joints and coordinates by the way of writing that fits most columns."""
    best: _Parts = [None] * len(names)
    most = 0
    for style in _STYLES:
        found: _Parts = []
        for at, name in enumerate(names):
            match = None if at in taken else style.fullmatch(_without_unit(name)[0])
            found.append(None if match is None else ("", match["joint"], _part(match["part"])))
        complete = len(_complete(found))
        if complete > most:
            best, most = found, complete
    joints = _complete(best)
    return [part if part is not None and part[:2] in joints else None for part in best]


def _complete(parts: _Parts) -> set[tuple[str, str]]:
    having: dict[tuple[str, str], set[str]] = {}
    for part in parts:
        if part is not None:
            having.setdefault(part[:2], set()).add(part[2])
    return {key for key, its in having.items() if {"x", "y"} <= its}


def _part(word: str) -> str:
    return word.lower() if word.lower() in ("x", "y", "z") else "c"


def _joined(headers: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return one name per column: that of the first column is its last that is not empty."""
    columns = list(zip(*headers, strict=True))
    return tuple(" ".join(dict.fromkeys(cell for cell in column if cell)) for column in columns)


def _parts_of_rows(path: Path, headers: Sequence[Sequence[str]]) -> _Parts:
    """Tell joints and coordinates by rows of names above each other; an empty name is that at its left."""
    places = [place for place, row in enumerate(headers) if _is_row_of_parts(row)]
    if not places:
        raise ParseError(path, 1, "expected a row with the names of coordinates (x, y, ...) below that of joints")
    coordinate = places[-1]
    named = {headers[place][0].lower(): place for place in range(len(headers))}
    joint = named.get("bodyparts", coordinate - 1)
    body = named.get("individuals") if "bodyparts" in named else (joint - 1 if joint > 0 else None)
    joints = _filled(headers[joint], headers[coordinate])
    bodies = _filled(headers[body], headers[coordinate]) if body is not None else [""] * len(joints)
    parts: _Parts = []
    for who, name, part in zip(bodies, joints, headers[coordinate], strict=True):
        word = _without_unit(part)[0].lower()
        is_part = word in ("x", "y", "z") or re.fullmatch(_CONFIDENCE, word) is not None
        parts.append((who, name, _part(word)) if is_part and name else None)
    return parts


def _filled(names: Sequence[str], parts: Sequence[str]) -> list[str]:
    """Give columns without a name that at their left, if they have a coordinate."""
    filled: list[str] = []
    last = ""
    for name, part in zip(names, parts, strict=True):
        last = name if name or not part else last
        filled.append(last)
    return filled


def _wide(path: Path, names: tuple[str, ...], parts: _Parts, told: dict[str, int]) -> Columns:
    places: dict[str, dict[str, dict[str, int]]] = {}
    left_out: list[str] = []
    for at, part in enumerate(parts):
        if part is None or at in told.values():
            continue
        who, joint, word = part
        if _NO_POSITION.search(joint):
            left_out.append(names[at])
            continue
        of_joint = places.setdefault(who, {}).setdefault(joint, {})
        if word in of_joint:
            raise ParseError(path, 1, f"expected each column once, got {word} of {joint!r} in two: {names[at]!r}")
        of_joint[word] = at
    for who in places:
        left_out += [joint for joint, its in places[who].items() if not {"x", "y"} <= its.keys()]
        places[who] = {joint: its for joint, its in places[who].items() if {"x", "y"} <= its.keys()}
    places = {who: its for who, its in places.items() if its}
    if not places:
        shown = ", ".join(name or "(no name)" for name in names[:8])
        raise ParseError(
            path,
            1,
            f"expected columns with coordinates of joints (head_x, head_y, ...), or columns joint, x and y; "
            f"got {shown}. If they are called otherwise, {setting('columns')} says what they are",
        )
    with_depth = sum("z" in its for joints in places.values() for its in joints.values())
    dimensions = 3 if 2 * with_depth > sum(map(len, places.values())) else 2
    axes = "xyz"[:dimensions]
    for who, of_body in places.items():
        left_out += [joint for joint, its in of_body.items() if not set(axes) <= its.keys()]
        places[who] = {joint: its for joint, its in of_body.items() if set(axes) <= its.keys()}
    first = max(places, key=lambda who: len(places[who]))
    joints = tuple(places[first])
    left_out += [who for who in places if set(places[who]) != set(joints)]
    bodies = tuple(who for who in places if set(places[who]) == set(joints))
    coordinates = tuple(tuple(tuple(places[who][joint][axis] for axis in axes) for joint in joints) for who in bodies)
    rows = _row_columns(path, names, parts, told)
    used = {*rows.values(), *(at for at, part in enumerate(parts) if part is not None)}
    left_out += [name for at, name in enumerate(names) if at not in used and name.lower() not in _INDEX_NAMES]
    units = {_without_unit(names[column])[1] for body in coordinates for joint in body for column in joint}
    return Columns(
        names=names,
        rows=rows,
        joints=_without_position(joints),
        bodies=bodies,
        coordinates=coordinates,
        confidence=tuple(tuple(places[who][joint].get("c") for joint in joints) for who in bodies),
        dimensions=dimensions,
        unit_metres=units.pop() if len(units) == 1 else None,
        left_out=tuple(dict.fromkeys(left_out)),
    )


def _row_columns(path: Path, names: Sequence[str], parts: _Parts, told: Mapping[str, int]) -> dict[str, int]:
    """Return frame, time, person, clip and label of a wide table; a first column without a name is its frame."""
    taken = {at for at, part in enumerate(parts) if part is not None} | set(told.values())
    words = {role: ROLES[role] for role in ROW_ROLES}
    rows = {**_by_name(names, words, taken), **{role: at for role, at in told.items() if role in ROW_ROLES}}
    unnamed = [at for at, name in enumerate(names) if not name and at not in taken]
    if names[0].lower().startswith(_SCORER_ROWS[0]):
        # DeepLabCut's index is one column, or three of which the last is the name of an image.
        index = min(taken, default=1) - 1
        rows.setdefault("frame", index)
        unnamed = [at for at in unnamed if at > index]
    at = next((at for at in unnamed if at), 0)
    if at:
        raise ParseError(path, 1, f"expected a name of each column, column {at + 1} has none. Name it in the first row")
    if names[0].lower() in _INDEX_NAMES and 0 not in taken and not {"frame", "time"} & rows.keys():
        rows["frame"] = 0
    return rows


def _without_position(joints: tuple[str, ...]) -> tuple[str, ...]:
    """Leave "position" away where names end with it."""
    short = tuple(_POSITION.sub("", joint) for joint in joints)
    return short if len(set(short)) == len(joints) else joints
