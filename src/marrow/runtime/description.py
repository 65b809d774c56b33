"""What an exported file says of itself: what it answers, which joints it reads, and how a recording becomes its input.

It is a JSON text. An ONNX file bears it in its metadata under `marrow`, a file of torch.export as `marrow.json`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marrow.errors import CheckpointError, ConfigError
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.places import full_description

FORMAT = 1
# The key of the description in the metadata of an ONNX file, and its name in a file of torch.export.
KEY, MEMBER = "marrow", "marrow.json"
# What each kind of model answers with.
_OUTPUTS = {"recogniser": "probability", "encoder": "features", "detector": "scores"}


@dataclass(frozen=True)
class Description:
    """What an exported file says of itself.

    Args:
        kind: recogniser: it answers with the probability of each class; encoder: with a feature vector; detector: with
            scores of every class and the background, before the softmax, at every step of its time axis.
        classes: names of the classes, in the order of the answer; none of an encoder.
        skeleton: the layout that it reads.
        input: the fields of `marrow.InputConfig`.
        by_place: whether its joints are places of the body: layouts are brought to them, and any of them may be given
            (the input `place`).
        takes_flat: whether it is told which recordings have two dimensions (the input `flat`).
        made_by: version of marrow.
        temperature: that the scores of a recogniser were divided by, inside the file; 1: they are not calibrated.
        detector: of a detector, `window_seconds`, `stride_seconds` and `smoothing_frames`.
    """

    kind: str
    classes: tuple[str, ...]
    skeleton: Skeleton
    input: Mapping[str, Any]
    by_place: bool
    takes_flat: bool
    made_by: str
    temperature: float = 1.0
    detector: Mapping[str, Any] | None = None

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
        return _OUTPUTS[self.kind]

    def to_json(self) -> str:
        """Return it as a text."""
        values = vars(self) | {"input": dict(self.input), "skeleton": full_description(self.skeleton)}
        return json.dumps({"format": FORMAT} | values)

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
            skeleton = Skeleton.from_description(values["skeleton"])
            if values["kind"] not in _OUTPUTS:
                raise ValueError(f"no kind of model is called {values['kind']!r}")
            description = cls(**values | {"skeleton": skeleton, "classes": tuple(values["classes"])})
            if (description.kind == "detector") != (description.detector is not None):
                raise ValueError("a detector has windows, and nothing else has")
            return description
        except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
            raise CheckpointError(
                f"{where}: what it says of itself is damaged ({type(error).__name__}: {error}); export the model again"
            ) from error
