"""Models of every kind, small; run as a script, each is written as files: `python write_models.py FOLDER`.

A script, because torch cannot trace functions whose shapes are checked, as those of marrow are under pytest.
"""

import sys
from pathlib import Path

import torch

import marrow
from marrow.models.encoder import Encoder
from marrow.models.frame_transformer import FrameTransformer, FrameTransformerConfig
from marrow.models.heads import JointsHead, Recogniser
from marrow.models.hierarchical_transformer import HierarchicalTransformer, HierarchicalTransformerConfig
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.skeleton.body import BODY
from marrow.skeleton.layout import KINECT_V1_20, KINECT_V2_25

TINY = HierarchicalTransformerConfig((8, 8, 16), (1, 1, 1), heads=2, head_width=8, clip_frames=3, clip_stride=3)
SMALL = {"width": 16, "depth": 1, "heads": 2}


def _recogniser(encoder: Encoder) -> Recogniser:
    shape = encoder.feature_shape
    head = JointsHead(shape.joints if shape.summary_dim is None else 1, encoder.pooled_dim, 3, 8)
    return Recogniser(encoder.eval(), head.eval(), ("wave", "sit", "kick"))


def build(kind: str) -> Encoder | Recogniser:
    """Return a model; each kind of network, alignment, stream and pace is in one of them."""
    torch.manual_seed(0)
    if kind == "places":
        size = PatchTransformerConfig(**SMALL, takes_flat=True, summary_blocks=(1,))
        return PatchTransformer(size, marrow.InputConfig(window_frames=8, alignment="body"), BODY).eval()
    if kind == "patches":
        reads = marrow.InputConfig(window_frames=8, alignment="yaw", stream="bone")
        return _recogniser(PatchTransformer(PatchTransformerConfig(**SMALL), reads, KINECT_V1_20))
    if kind == "frames":
        reads = marrow.InputConfig(window_frames=8, alignment="pair", stream="motion")
        return _recogniser(FrameTransformer(FrameTransformerConfig(**SMALL), reads, KINECT_V2_25))
    if kind == "recorded frames":
        size = FrameTransformerConfig(**SMALL, readout="mean", causal=True, joint_attention=True)
        reads = marrow.InputConfig(window_frames=20, pace="recorded", fps=20.0)
        return FrameTransformer(size, reads, KINECT_V1_20).eval()
    assert kind == "levels"
    reads = marrow.InputConfig(window_frames=30, alignment="body", stream="bone_motion", pace="recorded", min_frames=5)
    return _recogniser(HierarchicalTransformer(TINY, reads, KINECT_V1_20))


KINDS = ("places", "patches", "frames", "recorded frames", "levels")

if __name__ == "__main__":
    from marrow.testing.encoders import check_export
    from marrow.use.export import export

    folder = Path(sys.argv[1])
    for kind in KINDS:
        export(build(kind), folder / f"{kind}.onnx", int8=kind == "patches")
    export(build("places"), folder / "places.pt2", to="torch")
    export(build("patches"), folder / "18.onnx", opset=18)
    check_export(lambda: build("recorded frames"))  # type: ignore[arg-type,return-value]
