"""What tasks give to networks that multiply in bf16: coordinates as recorded, in training and in evaluation."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from marrow.data.subsets import protocol_rows
from marrow.data.window import InputConfig
from marrow.models.blocks import ExactLinear
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.skeleton.layout import KINECT_V1_20
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.memory import write_store
from marrow.tasks.base import TaskContext, TaskData
from marrow.tasks.detection.config import DetectionConfig
from marrow.tasks.detection.task import ActionDetection
from marrow.tasks.prediction.config import PredictionConfig
from marrow.tasks.prediction.task import MotionPrediction
from marrow.tasks.recognition.few_shot import FewShot
from marrow.tasks.recognition.finetune import Finetune
from marrow.tasks.recognition.linear_probe import LinearProbe
from marrow.tasks.recognition.retrieval import Knn
from marrow.tasks.recognition.semi_supervised import SemiSupervised
from marrow.testing.detection import detection_data

CONTEXT = TaskContext(device="cpu", precision="bf16", max_steps=2)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Return what layers that read coordinates are given."""
    given: list[torch.Tensor] = []
    multiply = ExactLinear.forward

    def note(layer: ExactLinear, values: torch.Tensor) -> torch.Tensor:
        # The others say metres, and are given what a network says.
        if layer.in_features < layer.out_features:
            given.append(values.detach())
        said = multiply(layer, values)
        assert said.dtype == torch.float32
        return said

    monkeypatch.setattr(ExactLinear, "forward", note)
    return given


def check(given: list[torch.Tensor]) -> None:
    assert given
    for values in given:
        assert values.dtype == torch.float32
        rounded = values.bfloat16().float() == values
        assert float(rounded.float().mean()) < 0.5, "what is read was rounded to bf16 before"


def small_encoder(input: InputConfig, skeleton=KINECT_V1_20) -> PatchTransformer:
    return PatchTransformer(PatchTransformerConfig(width=64, depth=1, heads=2), input, skeleton).fresh(0)


RECOGNITION = (Knn(), LinearProbe(), FewShot(), SemiSupervised(), Finetune())


@pytest.mark.parametrize("task", RECOGNITION, ids=lambda task: task.name)
def test_recognition(small_store, read, task) -> None:
    data = TaskData(small_store, *protocol_rows(small_store, "xview"), protocol="xview")
    quick = task.quick() if hasattr(task, "quick") else task
    quick.run(small_encoder(InputConfig(16), small_store.skeleton), data, CONTEXT)
    check(read)


def test_detection(tmp_path, read) -> None:
    config = DetectionConfig(window_seconds=2.0, stride_seconds=0.5, hidden_width=16, shuffle_control=False)
    data = detection_data(tmp_path / "store")
    ActionDetection(config).quick().run(small_encoder(InputConfig(16), data.store.skeleton), data, CONTEXT)
    check(read)


def test_prediction(tmp_path, read) -> None:
    rng = np.random.default_rng(0)
    sequences = [
        SkeletonSequence(
            np.cumsum(rng.normal(0, 0.01, (1, 40, 20, 3)), axis=1).astype(np.float32) + np.float32(3.0),
            np.ones((1, 40, 20), np.bool_),
            25.0,
            KINECT_V1_20,
            Record(f"clip{number}"),
        )
        for number in range(4)
    ]
    data = TaskData(write_store(tmp_path / "store", sequences, source="walks"), np.arange(3), np.array([3]), "halves")
    config = PredictionConfig(
        observed_frames=8, predicted_frames=8, step_frames=4, recent_frames=4, train_stride=4, steps=2, warmup_steps=1
    )
    config = replace(config, hidden_width=256)
    MotionPrediction(config).run(small_encoder(InputConfig(8, alignment="none")), data, CONTEXT)
    check(read)
