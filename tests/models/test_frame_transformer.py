from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from marrow.data.batch import Batch
from marrow.data.window import InputConfig
from marrow.errors import ConfigError
from marrow.models.blocks import DropPath
from marrow.models.frame_transformer import FrameTransformer, FrameTransformerConfig
from marrow.skeleton.layout import KINECT_V1_20, KINECT_V2_25
from marrow.testing import check_encoder
from marrow.testing.encoders import example_batch

SMALL = FrameTransformerConfig(width=8, depth=3, heads=2)
KINDS = {
    "cls": SMALL,
    "mean": replace(SMALL, readout="mean"),
    "causal": replace(SMALL, readout="mean", causal=True),
    "joint attention": replace(SMALL, joint_attention=True),
}


def small(config: FrameTransformerConfig = SMALL) -> FrameTransformer:
    torch.manual_seed(0)
    return FrameTransformer(config, InputConfig(12), KINECT_V1_20).eval()


def padded(batch: Batch, frames: int) -> Batch:
    """Return the batch with nothing in it from a frame on, and numbers there that nobody may read."""
    present = batch.present.clone()
    present[:, :, frames:] = False
    joints = torch.where(present[..., None], batch.joints, 5.0)
    return replace(batch, joints=joints, present=present, frame_count=torch.full((len(batch),), frames))


@pytest.mark.parametrize("kind", KINDS)
def test_conformance(kind: str, tmp_path: Path) -> None:
    check_encoder(lambda: small(KINDS[kind]), tmp_path, has_joint_axis=False)


# Embedding 75 * 256 + 256 = 19,456 and its norm 512; class token 256; 8 blocks of 789,760; last norm 512.
# Among joints: 3 * 256 + 256 = 1,024, places 25 * 256 = 6,400 and a ninth block instead of the 19,456.
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 6_338_816),
        ({"readout": "mean"}, 6_338_816 - 256),
        ({"joint_attention": True}, 6_338_816 - 19_456 + 1_024 + 6_400 + 789_760),
    ],
)
def test_parameter_counts(changes: dict[str, object], expected: int) -> None:
    config = FrameTransformerConfig(**changes)  # pyright: ignore[reportArgumentType]
    encoder = FrameTransformer(config, InputConfig(64), KINECT_V2_25)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == expected


def test_layers_run_from_the_embeddings_to_the_last_norm() -> None:
    encoder = small()
    names = {parameter: name for name, parameter in encoder.named_parameters()}
    heads = [{names[parameter].split(".")[0] for parameter in layer} for layer in encoder.layers()]
    assert heads == [{"embedding", "embedding_norm", "cls"}, {"blocks"}, {"blocks"}, {"blocks"}, {"norm"}]


def test_rates_rise_linearly_over_the_blocks() -> None:
    """With 3 blocks and 0.4 the rates are 0, 0.2 and 0.4; a draw of 0.3 drops the last block alone."""
    encoder = small()
    factors = encoder.factors(DropPath(torch.full((4, 2, 6), 0.3), 0.4), torch.arange(8))
    assert factors is not None
    torch.testing.assert_close(factors[:, 0, 0, 0], torch.tensor([1.0, 1.0, 1.25, 1.25, 0.0, 0.0]))
    assert encoder.factors(None, torch.arange(8)) is None


def test_the_summary_is_the_class_token_or_there_is_none() -> None:
    batch = example_batch(small())
    features = small()(batch)
    assert features.summary is not None
    assert not features.summary[-1, 1].any()  # the last clip has one body
    assert features.summary[-1, 0].any()
    torch.testing.assert_close(features.pooled()[-1], features.summary[-1, 0])
    torch.testing.assert_close(features.pooled()[0], features.summary[0].mean(0))
    assert features.readout().shape == (4, 8)
    assert small(KINDS["mean"])(batch).summary is None


def test_the_order_of_frames_matters_to_the_class_token() -> None:
    encoder, batch = small(), example_batch(small())
    backwards = replace(batch, joints=batch.joints.flip(2), present=batch.present.flip(2))
    forth, back = encoder(batch).summary, encoder(backwards).summary
    assert forth is not None
    assert not torch.allclose(forth[0], back[0], atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_without_a_joint_are_as_if_they_were_not_there(kind: str) -> None:
    """The first 7 of 12 frames say the same whether the window ends there or is padded to its length."""
    encoder = small(KINDS[kind])
    batch = padded(example_batch(encoder), 7)
    features = encoder(batch)
    assert features.present[0, 0, :, 0].tolist() == [True] * 7 + [False] * 5
    joints, present = batch.joints.flatten(0, 1)[:1, :7], batch.present.flatten(0, 1)[:1, :7]
    frames = encoder.frames(joints, present)
    encoder.position = encoder.position[:8]
    alone = encoder.encode(frames)
    torch.testing.assert_close(features.tokens[0, 0, :7, 0], alone[0, encoder.leading :], rtol=1e-4, atol=1e-5)
    if features.summary is not None:
        torch.testing.assert_close(features.summary[0, 0], alone[0, 0], rtol=1e-4, atol=1e-5)


def test_a_frame_is_usable_while_one_joint_is_there() -> None:
    encoder, batch = small(), example_batch(small())
    batch.present[0, 0, 3] = False
    batch.present[0, 0, 4, 1:] = False
    batch.present[1, 1, :5] = False  # absent at first: with causal attention these have nobody to ask
    assert encoder(batch).present[0, 0, 2:6, 0].tolist() == [True, False, True, True]
    causal = small(KINDS["causal"])(batch)
    assert torch.isfinite(causal.tokens).all()
    assert not causal.tokens[1, 1, :5].any()
    assert causal.tokens[1, 1, 5:].any()


def reach(encoder: FrameTransformer, frame: int) -> Tensor:
    """Return which frames have a part in what a frame says: size of its gradient with respect to each of them."""
    batch = example_batch(encoder)
    batch.joints.requires_grad_()
    encoder(batch).tokens[0, 0, frame, 0].square().sum().backward()
    assert batch.joints.grad is not None
    return batch.joints.grad[0, 0].abs().sum((1, 2))


def test_causal_attention_sees_no_future() -> None:
    causal = reach(small(KINDS["causal"]), 5)
    assert (causal[:6] > 0).all()
    assert not causal[6:].any()
    assert (reach(small(KINDS["mean"]), 5) > 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 0}, "encoder.depth must be at least 1, got 0"),
        ({"heads": 3}, "must divide"),
        ({"mlp_ratio": 0.0}, "mlp_ratio must be positive"),
        ({"causal": True}, "set encoder.readout to 'mean'"),
    ],
)
def test_bad_sizes_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FrameTransformerConfig(**changes)  # pyright: ignore[reportArgumentType]
