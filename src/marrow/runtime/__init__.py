"""Exported models without torch: an ONNX file in, an answer out, with NumPy and onnxruntime and nothing else.

    from marrow.runtime import Motion, load

    model = load("wave.onnx")
    probability = model.predict([Motion(joints, fps=30.0)])  # joints: [body frame joint 3] in metres

Besides `Motion`, whatever has `joints`, `present`, `fps` and `skeleton` will do: what `marrow.read` returns. On a
machine without torch: `pip install numpy onnxruntime`, then `pip install --no-deps marrow`.
"""

from marrow.runtime.description import Description
from marrow.runtime.model import Model, load
from marrow.runtime.prepare import Inputs, Motion

__all__ = ["Description", "Inputs", "Model", "Motion", "load"]
