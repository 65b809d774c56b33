"""A summary that holds the mirror image, too: the other hand counts alike, and is still told apart."""

from dataclasses import replace

import pytest
import torch

from marrow.data.batch import Batch, Shapes
from marrow.data.window import InputConfig
from marrow.errors import ConfigError
from marrow.models.blocks import seeded_weights
from marrow.models.encoder import Features
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig, of_both_sides
from marrow.skeleton.body import BODY
from marrow.skeleton.layout import KINECT_V2_25, Skeleton

INPUT = InputConfig(window_frames=16)
CONFIG = PatchTransformerConfig(
    width=16, depth=2, heads=2, patch_frames=4, takes_flat=True, summary_blocks=(1, 2), summary_mirrored=True
)


def encoder(skeleton: Skeleton = BODY, config: PatchTransformerConfig = CONFIG) -> PatchTransformer:
    with seeded_weights(3):
        return PatchTransformer(config, INPUT, skeleton).eval()  # type: ignore[return-value]


def batch_of(skeleton: Skeleton, *, whole: bool) -> Batch:
    """Return three clips of two bodies; if not whole, one body is missing, joints of one side, and some for a while."""
    joints = torch.randn((3, 2, 16, len(skeleton.joints), 3), generator=torch.Generator().manual_seed(0))
    present = torch.ones(joints.shape[:-1], dtype=torch.bool)
    if not whole:
        present[1, 1] = False
        present[0, 0, :, :6] = False
        present[2, :, :5, ::3] = False
    joints[~present] = 0.0
    return Batch(joints, present, torch.zeros(3, dtype=torch.int64), torch.arange(3))


def mirrored(batch: Batch, skeleton: Skeleton) -> Batch:
    """Return the same clips as a mirror shows them: x turned around, and every joint called by its partner's name."""
    other = list(skeleton.mirror)
    turned = batch.joints[:, :, :, other] * torch.tensor([-1.0, 1.0, 1.0])
    return replace(batch, joints=turned, present=batch.present[:, :, :, other])


def encoded(network: PatchTransformer, batch: Batch) -> Features:
    with torch.inference_mode():
        return network(batch)


def summary_of(network: PatchTransformer, batch: Batch) -> torch.Tensor:
    summary = encoded(network, batch).summary
    assert summary is not None
    return summary


def test_average_highest_and_lowest_of_both_come_behind_the_summary() -> None:
    summary, image = torch.tensor([[1.0, 4.0], [0.0, 0.0]]), torch.tensor([[3.0, -2.0], [0.0, 0.0]])
    assert of_both_sides(summary, image).tolist() == [[1, 4, 2, 1, 3, 4, 1, -2], [0] * 8]


@pytest.mark.parametrize("skeleton", [BODY, KINECT_V2_25], ids=lambda skeleton: skeleton.name)
@pytest.mark.parametrize("whole", [True, False])
def test_the_mirror_image_differs_in_the_summary_and_agrees_in_what_is_of_both(skeleton: Skeleton, whole: bool) -> None:
    network, clips = encoder(skeleton), batch_of(skeleton, whole=whole)
    alone = encoder(skeleton, replace(CONFIG, summary_mirrored=False))
    ahead, image = (summary_of(network, batch) for batch in (clips, mirrored(clips, skeleton)))

    dim = alone.pooled_dim
    assert (dim, network.pooled_dim) == (96, 384)  # average and extremes; two blocks; 16 numbers; four of each
    assert torch.equal(ahead[..., :dim], summary_of(alone, clips))
    torch.testing.assert_close(image[..., :dim], summary_of(alone, mirrored(clips, skeleton)))
    assert float((image[..., :dim] - ahead[..., :dim]).abs().max()) > 0.1
    torch.testing.assert_close(image[..., dim:], ahead[..., dim:], atol=1e-5, rtol=1e-5)
    # The tokens, which the other tasks read, are those of the recording alone.
    assert torch.equal(encoded(network, clips).tokens, encoded(alone, clips).tokens)


def test_recordings_in_two_dimensions_are_mirrored_in_the_image() -> None:
    clips = batch_of(BODY, whole=True)
    clips = replace(clips, joints=clips.joints * torch.tensor([1.0, 1.0, 0.0]), flat=torch.ones(3, dtype=torch.bool))
    network, dim = encoder(), 96
    ahead, image = (summary_of(network, batch) for batch in (clips, mirrored(clips, BODY)))
    torch.testing.assert_close(image[..., dim:], ahead[..., dim:], atol=1e-5, rtol=1e-5)


def test_shapes_that_the_host_knows_give_the_same_summary() -> None:
    network, clips = encoder(), batch_of(BODY, whole=False)
    fixed = replace(clips, shapes=Shapes(bodies=8, whole=False, joints=len(BODY.joints)))
    torch.testing.assert_close(summary_of(network, fixed), summary_of(network, clips), atol=1e-5, rtol=1e-5)


def test_a_layout_without_sides_has_no_mirror_image() -> None:
    one_sided = replace(KINECT_V2_25, mirror=tuple(range(25)))
    network, alone = (encoder(one_sided, replace(CONFIG, summary_mirrored=both)) for both in (True, False))
    clips = batch_of(one_sided, whole=True)
    assert network.pooled_dim == 96
    assert torch.equal(summary_of(network, clips), summary_of(alone, clips))


def test_without_the_mirror_image_the_summary_alone_is_left() -> None:
    network, clips = encoder(), batch_of(BODY, whole=False)
    alone = network.one_sided()
    assert alone.pooled_dim == 96
    assert torch.equal(summary_of(alone, clips), summary_of(network, clips)[..., :96])  # type: ignore[arg-type]
    assert not alone.training
    assert alone.one_sided() is alone


def test_a_mirror_image_of_no_summary_is_refused() -> None:
    with pytest.raises(ConfigError, match="summary_blocks names no block"):
        PatchTransformerConfig(summary_mirrored=True)
