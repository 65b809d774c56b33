"""Landmarks of one frame, in the ways in which people write them: by order or by name, one person or several."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marrow.errors import ParseError

# Names are compared in lower case and without underscores.
WORLD_KEYS = ("poseworldlandmarks", "worldlandmarks", "keypoints3d", "landmarks3d", "landmarksworld")
IMAGE_KEYS = ("poselandmarks", "landmarks", "normalizedlandmarks", "keypoints", "landmark", "points")
_INNER_KEYS = ("results", "result", "pose", "poses", "people", "persons", "data")
_CONFIDENCE_KEYS = ("visibility", "score", "confidence", "presence")

# As MediaPipe calls its landmarks, in their order.
LANDMARK_NAMES = (
    *("nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye", "right_eye_outer"),
    *("left_ear", "right_ear", "mouth_left", "mouth_right", "left_shoulder", "right_shoulder", "left_elbow"),
    *("right_elbow", "left_wrist", "right_wrist", "left_pinky", "right_pinky", "left_index", "right_index"),
    *("left_thumb", "right_thumb", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
    *("left_heel", "right_heel", "left_foot_index", "right_foot_index"),
)


@dataclass
class Landmarks:
    """One frame: its people's landmarks of the world and of the image, and whether it may hold several people."""

    world: list[Any] = field(default_factory=list)
    image: list[Any] = field(default_factory=list)
    is_for_several: bool = False


def _plain(key: str) -> str:
    return key.replace("_", "").replace("-", "").replace(" ", "").lower()


def value_of(entry: dict[str, Any], keys: Sequence[str]) -> Any:
    """Return the value of the first of these names that an object has, however it is spelt; None if it has none."""
    values = {_plain(key): value for key, value in entry.items()}
    return next((values[key] for key in keys if values.get(key) is not None), None)


def has_landmarks(entry: Any) -> bool:
    """Tell an object that holds landmarks, even if they are null."""
    return isinstance(entry, dict) and any(_plain(key) in (*WORLD_KEYS, *IMAGE_KEYS) for key in entry)


def is_point(value: Any) -> bool:
    """Tell an object with x and y."""
    return isinstance(value, dict) and "x" in value and "y" in value


def landmarks_of(path: Path, where: str, entry: Any) -> Landmarks:
    """Return the people of a frame, of what may be null, one person, a list of people, or an object that holds such.

    Raises:
        ParseError: it is something else.
    """
    frame = Landmarks()
    if isinstance(entry, dict):
        frame.world, several_in_world = _people_in(path, where, value_of(entry, WORLD_KEYS))
        frame.image, several_in_image = _people_in(path, where, value_of(entry, IMAGE_KEYS))
        frame.is_for_several = several_in_world or several_in_image
        inner = value_of(entry, _INNER_KEYS)
        if not frame.world and not frame.image and isinstance(inner, dict | list):
            return landmarks_of(path, where, inner)
    elif isinstance(entry, list) and entry and all(isinstance(one, dict) and not is_point(one) for one in entry):
        frame.is_for_several = True
        for one in entry:
            of_one = landmarks_of(path, where, one)
            frame.world += of_one.world
            frame.image += of_one.image
    elif isinstance(entry, list):
        frame.image, frame.is_for_several = _people_in(path, where, entry)
    elif entry is not None:
        raise ParseError(path, 0, f"expected landmarks or null in {where}, got {str(entry)[:40]!r}")
    return frame


def _people_in(path: Path, where: str, value: Any) -> tuple[list[Any], bool]:
    """Return each person's landmarks, and whether they stand in a list of people."""
    if isinstance(value, dict) and isinstance(value.get("landmark"), list):  # a message of protobuf
        value = value["landmark"]
    if value is None or value in ([], {}):
        return [], False
    if isinstance(value, dict):
        return [value], False
    if not isinstance(value, list):
        raise ParseError(path, 0, f"expected a list of landmarks in {where}, got {str(value)[:40]!r}")
    first = next((one for one in value if one is not None), None)
    if first is None:
        return [], False
    is_person = isinstance(first, list) and (not first or isinstance(first[0], dict | list))
    is_message = isinstance(first, dict) and not is_point(first)
    if is_person or is_message:
        return [person for one in value for person in _people_in(path, where, one)[0]], True
    return [value], False


def points_of(path: Path, where: str, landmarks: Any) -> list[list[Any]]:
    """Return one person's landmarks as x, y, z, confidence each; what is missing is None.

    Raises:
        ParseError: they are no landmarks.
    """
    if isinstance(landmarks, dict):
        landmarks = _by_name(path, where, landmarks)
    if landmarks and all(type(number) in (int, float) for number in landmarks):
        size = next((size for size in (4, 3, 2) if len(landmarks) == size * len(LANDMARK_NAMES)), 0)
        if not size:
            raise ParseError(path, 0, f"expected 33 landmarks in {where}, got {len(landmarks)} numbers")
        landmarks = [landmarks[start : start + size] for start in range(0, len(landmarks), size)]
    points: list[list[Any]] = []
    for place, point in enumerate(landmarks):
        if is_point(point):
            confidence = next((point[key] for key in _CONFIDENCE_KEYS if point.get(key) is not None), None)
            points.append([point["x"], point["y"], point.get("z"), confidence])
        elif isinstance(point, list) and 2 <= len(point) <= 5:
            points.append([*point[:4], *[None] * (4 - len(point))])
        elif point is None or point == {}:
            points.append([None] * 4)
        else:
            problem = f"expected x, y, z of landmark {place + 1} in {where}, got {str(point)[:40]!r}"
            raise ParseError(path, 0, problem)
    return points


def _by_name(path: Path, where: str, landmarks: dict[str, Any]) -> list[Any]:
    """Return landmarks in their order, by names such as LEFT_SHOULDER."""
    names = [_plain(name) for name in LANDMARK_NAMES]
    points = {_plain(key): value for key, value in landmarks.items()}
    if not points.keys() & set(names):
        if all(key.isdecimal() and len(key) < 3 for key in points):
            return [points.get(str(joint)) for joint in range(len(names))]
        raise ParseError(path, 0, f"expected landmarks by their names in {where}, got {str(list(landmarks)[:3])[:60]}")
    return [points.get(name) for name in names]
