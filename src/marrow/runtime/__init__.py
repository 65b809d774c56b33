"""Exported models without torch: an ONNX file in, an answer out, with NumPy and onnxruntime and nothing else.

    from marrow.runtime import Motion, load

    model = load("wave.onnx")
    probability = model.predict([Motion(joints, fps=30.0)])  # joints: [body frame joint 3] in metres

Besides `Motion`, a `marrow.SkeletonSequence` will do: what `marrow.read` returns. On a machine without torch:
`pip install numpy onnxruntime`, then `pip install --no-deps marrow`.
"""

import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any


class _AnyShape:
    """Stands where an annotation has a shape."""

    def __class_getitem__(cls, _: Any) -> type:
        return cls


class _NoShapes(ModuleType):
    """Stands for jaxtyping, which marrow's annotations are made of and which does nothing when they are not checked."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return _AnyShape


if "jaxtyping" not in sys.modules and find_spec("jaxtyping") is None:
    sys.modules["jaxtyping"] = _NoShapes("jaxtyping")

from marrow.runtime.description import Description  # noqa: E402
from marrow.runtime.frames import Segment  # noqa: E402
from marrow.runtime.model import Model, load  # noqa: E402
from marrow.runtime.prepare import Inputs, Motion  # noqa: E402

__all__ = ["Description", "Inputs", "Model", "Motion", "Segment", "load"]
