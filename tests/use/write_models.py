"""Models of every kind, small; run as a script, each is written as files: `python write_models.py FOLDER`.

A script, because torch cannot trace functions whose shapes are checked, as those of marrow are under pytest.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import marrow
from marrow.models.encoder import Encoder
from marrow.models.frame_transformer import FrameTransformer, FrameTransformerConfig
from marrow.models.heads import JointsHead, Recogniser
from marrow.models.hierarchical_transformer import HierarchicalTransformer, HierarchicalTransformerConfig
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.skeleton.body import BODY
from marrow.skeleton.layout import KINECT_V1_20, KINECT_V2_25
from marrow.tasks.base import TaskContext
from marrow.tasks.detection.config import DetectionConfig
from marrow.tasks.detection.training import Detector, StepHead
from marrow.tasks.recognition.readouts import LogisticHead
from marrow.use.known import Known
from marrow.use.labeller import Labeller
from marrow.use.plain import Exportable
from marrow.use.segments import SegmentFinder

TINY = HierarchicalTransformerConfig((8, 8, 16), (1, 1, 1), heads=2, head_width=8, clip_frames=3, clip_stride=3)
SMALL = {"width": 16, "depth": 1, "heads": 2}
CLASSES = ("wave", "sit", "kick")
KNOWN = Known(None, None, 0.25, 40, (9.0, 4.0), "a quarter of the clips", 3.0)


def recogniser(encoder: Encoder) -> Recogniser:
    shape = encoder.feature_shape
    head = JointsHead(shape.joints if shape.summary_dim is None else 1, encoder.pooled_dim, 3, 8)
    return Recogniser(encoder.eval(), head.eval(), CLASSES)


def _detector(encoder: Encoder, smoothing_frames: int) -> SegmentFinder:
    config = DetectionConfig(window_seconds=1.0, stride_seconds=0.4, smoothing_frames=smoothing_frames, hidden_width=8)
    head = StepHead(encoder.feature_shape.joints, encoder.dim, 4, 8)
    torch.nn.init.normal_(head.classify.weight)  # so that frames differ
    detector = Detector(encoder.eval(), head.eval(), config, 0.8, 30, 5, 1.0, 1.0)
    return SegmentFinder(detector, CLASSES, TaskContext(device="cpu", precision="fp32"))


def build(kind: str) -> Exportable:
    """Return a model; each kind of network, alignment, stream and pace is in one of them, and each kind of head."""
    torch.manual_seed(0)
    flat = PatchTransformerConfig(**SMALL, takes_flat=True, summary_blocks=(1,))
    both_sides = replace(flat, width=64, summary_mirrored=True)  # so wide that torch leaves matrices as they are
    recorded = marrow.InputConfig(window_frames=20, pace="recorded", fps=20.0)
    if kind == "places":
        return PatchTransformer(flat, marrow.InputConfig(window_frames=8, alignment="body"), BODY).eval()
    if kind == "examples":
        encoder = PatchTransformer(both_sides, marrow.InputConfig(window_frames=8, alignment="body"), BODY).eval()
        features = np.random.default_rng(0).normal(size=(30, encoder.pooled_dim)).astype(np.float32)
        return Labeller(encoder, CLASSES, LogisticHead.fitted(features, np.arange(30) % 3), KNOWN)
    if kind == "patches":
        reads = marrow.InputConfig(window_frames=8, alignment="yaw", stream="bone")
        made = recogniser(PatchTransformer(PatchTransformerConfig(**SMALL), reads, KINECT_V1_20))
        return Labeller.of(made, KNOWN)
    if kind == "frames":
        reads = marrow.InputConfig(window_frames=8, alignment="pair", stream="motion")
        made = recogniser(FrameTransformer(FrameTransformerConfig(**SMALL), reads, KINECT_V2_25))
        return Labeller.of(made, None)
    if kind == "recorded frames":
        size = FrameTransformerConfig(**SMALL, readout="mean", causal=True, joint_attention=True)
        return FrameTransformer(size, recorded, KINECT_V1_20).eval()
    if kind == "detector":
        return _detector(PatchTransformer(flat, marrow.InputConfig(window_frames=8, alignment="body"), BODY), 3)
    if kind == "detector at recorded pace":
        return _detector(FrameTransformer(FrameTransformerConfig(**SMALL), recorded, KINECT_V1_20), 0)
    assert kind == "levels"
    reads = marrow.InputConfig(window_frames=30, alignment="body", stream="bone_motion", pace="recorded", min_frames=5)
    return Labeller.of(recogniser(HierarchicalTransformer(TINY, reads, KINECT_V1_20)), None)


BY_PLACE = ("places", "examples", "detector")
KINDS = (*BY_PLACE, "patches", "frames", "recorded frames", "levels", "detector at recorded pace")

if __name__ == "__main__":
    from marrow.testing.encoders import check_export
    from marrow.use.export import export

    folder = Path(sys.argv[1])
    for kind in KINDS:
        export(build(kind), folder / f"{kind}.onnx", int8=kind == "patches")
    for kind in ("places", "patches", "detector"):
        export(build(kind), folder / f"{kind}.pt2", to="torch")
    export(build("patches"), folder / "18.onnx", opset=18)
    check_export(lambda: build("recorded frames"))  # type: ignore[arg-type,return-value]
