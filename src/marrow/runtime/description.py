"""What an exported file says of itself: what it answers, which joints it reads, and how a recording becomes its input.

It is a JSON text. An ONNX file bears it in its metadata under `marrow`, a file of torch.export as `marrow.json`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from marrow.errors import CheckpointError

FORMAT = 1
# The key of the description in the metadata of an ONNX file, and its name in a file of torch.export.
KEY, MEMBER = "marrow", "marrow.json"


@dataclass(frozen=True)
class Layout:
    """What preparing a recording needs to know of its joints; fields as those of `marrow.Skeleton`."""

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    anchors: Mapping[str, int]
    up: str = "y"
    derived: tuple[int, ...] = ()
    dimensions: int = 3

    @classmethod
    def of(cls, skeleton: Any) -> "Layout":
        """Return the layout of whatever has the fields of a `marrow.Skeleton`."""
        return cls(
            *(skeleton.name, tuple(skeleton.joints), tuple(skeleton.parents), dict(skeleton.anchors)),
            *(skeleton.up, tuple(skeleton.derived), skeleton.dimensions),
        )


@dataclass(frozen=True)
class JointMap:
    """How recordings of one layout are brought to the joints of a model.

    Args:
        joints: of the recordings.
        sources: for each joint of the model that a recording has, the recording's.
        made_of: joints of the model that are made of its others, and their weights.
        derived: joints of the model that nobody measured: alignment knows of them, and nothing else.
        axis_steps: by how many places the axes are rolled, so that up is up.
    """

    joints: tuple[str, ...]
    sources: Mapping[int, int]
    made_of: Mapping[int, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    derived: tuple[int, ...] = ()
    axis_steps: int = 0

    @classmethod
    def of(cls, joints: tuple[str, ...], mapped: Any) -> "JointMap":
        """Return what `marrow.skeleton.retarget.layout_map` says of recordings with these joints."""
        return cls(
            *(joints, dict(mapped.sources), {joint: made_of for joint, made_of in mapped.derived.items() if made_of}),
            *(tuple(mapped.skeleton.derived), mapped.axis_steps),
        )


@dataclass(frozen=True)
class Description:
    """What an exported file says of itself.

    Args:
        kind: recogniser: it answers with the probability of each class; encoder: with a feature vector.
        classes: names of the classes, in the order of the answer; none of an encoder.
        layout: the joints that it reads.
        input: the fields of `marrow.InputConfig`.
        by_place: whether its joints are places of the body, of which any may be given (the input `place`).
        takes_flat: whether it is told which recordings have two dimensions (the input `flat`).
        maps: layouts that can be brought to its own, by name; none where it is not `by_place`.
        made_by: version of marrow.
    """

    kind: str
    classes: tuple[str, ...]
    layout: Layout
    input: Mapping[str, Any]
    by_place: bool
    takes_flat: bool
    maps: Mapping[str, JointMap]
    made_by: str

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the arrays that it is given."""
        return (
            *("joints", "present"),
            *(("place",) if self.by_place else ()),
            *(("flat",) if self.takes_flat else ()),
            *(("frame_count",) if self.input["pace"] == "recorded" else ()),
        )

    @property
    def output(self) -> str:
        """Name of the array that it answers with."""
        return "probability" if self.kind == "recogniser" else "features"

    def to_json(self) -> str:
        """Return it as a text."""
        return json.dumps({"format": FORMAT} | asdict(self))

    @classmethod
    def from_json(cls, text: str | None, where: str) -> "Description":
        """Read it.

        Args:
            text: from the file; None: it bears none.
            where: the file's name.

        Raises:
            CheckpointError: there is none, or it is damaged or of another version.
        """
        if not text:
            raise CheckpointError(
                f"{where}: expected a file of `marrow export`; this one does not say what it answers or which joints "
                f"it reads (no {KEY!r} in its metadata). Export the model again"
            )
        try:
            values = json.loads(text)
            version = values.pop("format")
            if version != FORMAT:
                raise CheckpointError(
                    f"{where}: its format has version {version}, this marrow reads {FORMAT}; use the marrow that made "
                    f"it ({values.get('made_by', 'unknown')}), or export the model again"
                )
            layout = Layout(**{name: _tuple(value) for name, value in values.pop("layout").items()})
            maps = {name: _joint_map(value) for name, value in values.pop("maps").items()}
            return cls(**values | {"layout": layout, "maps": maps, "classes": tuple(values["classes"])})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"{where}: what it says of itself is damaged ({type(error).__name__}: {error}); export the model again"
            ) from error


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _joint_map(values: Mapping[str, Any]) -> JointMap:
    numbered = {
        "sources": {int(joint): source for joint, source in values["sources"].items()},
        "made_of": {
            int(joint): tuple((source, weight) for source, weight in made_of)
            for joint, made_of in values["made_of"].items()
        },
    }
    return JointMap(**{name: _tuple(value) for name, value in values.items()} | numbered)
