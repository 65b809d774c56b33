"""Which known layout the joints of an array are in: as a user says it, else by their number, with a doubt."""

from marrow.errors import ConfigError
from marrow.importing.recording import Doubt
from marrow.skeleton.estimators import COCO_17
from marrow.skeleton.layout import KINECT_V1_20, KINECT_V2_25, Skeleton
from marrow.skeleton.layout_file import get_layout

_OPTION = "--layout NAME"


def layout_of(
    given: str | None, joint_count: int, dimensions: int, *, guess: bool = True
) -> tuple[Skeleton | None, tuple[Doubt, ...]]:
    """Return the layout of joints without names, and the doubt that goes with a guess.

    Args:
        given: its name, where the user says it.
        joint_count: number of joints.
        dimensions: numbers per position.
        guess: whether it may be told by their number.

    Raises:
        ConfigError: there is no such layout, or it has another number of joints.
    """
    if given is not None:
        layout = get_layout(given)
        if layout.measured_count != joint_count:
            raise ConfigError(f"layout {given!r} has {layout.measured_count} joints, the files have {joint_count}")
        return layout, ()
    if not guess:
        return None, ()
    by_count = {(25, 3): KINECT_V2_25, (20, 3): KINECT_V1_20, (17, 2): COCO_17}
    layout = by_count.get((joint_count, dimensions))
    if layout is None:
        return None, ()
    text = f"joints without names: {joint_count} in {dimensions} dimensions were taken for {layout.name}"
    return layout, (Doubt(text, _OPTION),)
