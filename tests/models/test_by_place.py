"""Encoders whose joints are places of the body: any layout goes in, and what is absent is not computed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from marrow.data.batch import Batch, Shapes
from marrow.data.sampling import batch_from_sequences
from marrow.data.window import InputConfig
from marrow.errors import ConfigError, DataError
from marrow.models.blocks import seeded_weights
from marrow.models.encoder import Features
from marrow.models.export import load_encoder, save_encoder
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig, average_and_extremes
from marrow.skeleton.body import BODY, STANDING
from marrow.skeleton.known import get_skeleton
from marrow.skeleton.places import places_of
from marrow.skeleton.retarget import retarget
from marrow.skeleton.sequence import Record, SkeletonSequence

INPUT = InputConfig(window_frames=16, alignment="body", test_crop=1.0)
CONFIG = PatchTransformerConfig(width=16, depth=2, heads=2, patch_frames=4)


def encoder(**changes) -> PatchTransformer:
    with seeded_weights(3):
        return PatchTransformer(replace(CONFIG, **changes), INPUT, BODY).eval()  # type: ignore[return-value]


def dance(layout: str, frames: int = 20, seed: int = 0, only: set[str] | None = None) -> SkeletonSequence:
    """Return a standing body of a layout whose places move alike in every layout."""
    skeleton = get_skeleton(layout)
    time = np.arange(frames) / 10
    joints = np.zeros((1, frames, len(skeleton.joints), 3), np.float32)
    present = np.zeros(joints.shape[:3], np.bool_)
    for place, joint in places_of(skeleton).items():
        if only is None or place in only:
            phase = np.random.default_rng([seed, *place.encode()]).random(3) * 6
            joints[0, :, joint] = np.array(STANDING[place]) + 0.1 * np.sin(time[:, None] + phase)
            present[0, :, joint] = True
    return SkeletonSequence(joints, present, 30.0, skeleton, Record(f"{layout}{seed}"))


def of(network: PatchTransformer, *sequences: SkeletonSequence) -> Features:
    batch = batch_from_sequences(network.readable(sequences), INPUT, skeleton=network.skeleton)
    with torch.inference_mode():
        return network(batch)


def masked(network: PatchTransformer, batch: Batch) -> Features:
    """Compute every token, and keep the absent ones from being attended to: what gathering must agree with."""
    with torch.inference_mode():
        usable = network.grid.all_of_patch(batch.present.flatten(0, 1))
        tokens = network.embedding(network.grid.patchify(batch.joints.flatten(0, 1))) + network.position()
        encoded = torch.where(usable[..., None], network.encode(tokens, may_attend=usable), 0.0)
    axes = (network.grid.times, network.grid.joint_patches)
    return Features(encoded.unflatten(1, axes)[:, None], usable.unflatten(1, axes)[:, None])


@pytest.mark.parametrize("layout", ["penn_13", "coco_17", "kinect_v1_20", "kinect_v2_25", "mediapipe_33", "cmu_31"])
def test_what_is_absent_is_gathered_away_and_the_features_are_those_of_masking(layout: str) -> None:
    network, sequences = encoder(), [dance(layout, seed=seed) for seed in (0, 1)]
    batch = batch_from_sequences(network.readable(sequences), INPUT, skeleton=BODY)
    batch.present[1, 0, :5, ::3] = False  # and some joints of one clip for a while
    batch.joints[~batch.present] = 0.0
    gathered, expected = network(batch), masked(network, batch)
    assert torch.equal(gathered.present, expected.present)
    torch.testing.assert_close(gathered.tokens, expected.tokens, atol=1e-5, rtol=1e-5)


def test_as_many_tokens_are_computed_as_there_are_joints(monkeypatch: pytest.MonkeyPatch) -> None:
    network = encoder()
    computed: list[int] = []
    block = network.blocks[0].forward
    monkeypatch.setattr(network.blocks[0], "forward", lambda x, **more: computed.append(x.shape[1]) or block(x, **more))
    for layout in ("penn_13", "kinect_v1_20"):
        of(network, dance(layout))
    measured = [len(set(places_of(get_skeleton(layout))) & set(BODY.joints)) for layout in ("penn_13", "kinect_v1_20")]
    # Penn's 13 joints are all measured; so are the 20 of Kinect. Four times of four frames each.
    assert measured[0] >= 13
    assert computed == [13 * 4, 20 * 4]


def test_shapes_that_the_host_knows_give_the_same_features() -> None:
    network = encoder()
    batch = batch_from_sequences(network.readable([dance("coco_17"), dance("coco_17", seed=1)]), INPUT, skeleton=BODY)
    with torch.inference_mode():
        exact = network(batch)
        fixed = network(replace(batch, shapes=Shapes(bodies=5, whole=False, joints=17)))
    torch.testing.assert_close(fixed.tokens, exact.tokens, atol=1e-5, rtol=1e-5)
    assert torch.equal(fixed.present, exact.present)


def test_one_recording_in_two_layouts_has_the_same_features_where_joints_are_shared() -> None:
    network = encoder()
    shared = set(places_of(get_skeleton("coco_17"))) & set(places_of(get_skeleton("kinect_v2_25")))
    one, other = (of(network, dance(layout, only=shared)) for layout in ("coco_17", "kinect_v2_25"))
    assert len(shared) == 12  # shoulders, elbows, wrists, hips, knees, ankles
    torch.testing.assert_close(one.tokens, other.tokens, atol=1e-5, rtol=1e-5)
    # With all that each layout has, they are near, not the same: the others look on.
    more = [of(network, dance(layout)).pooled()[0] for layout in ("coco_17", "kinect_v2_25")]
    assert 0.0 < float((more[0] - more[1]).norm() / more[0].norm()) < 0.5


def test_recordings_are_brought_to_the_body_by_themselves() -> None:
    network = encoder()
    mixed = [dance("coco_17"), dance("kinect_v1_20"), retarget(dance("penn_13"), BODY)]
    together, alone = network.embed(mixed), [network.embed([one])[0] for one in mixed]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-5)


def test_other_encoders_still_want_their_own_layout() -> None:
    with seeded_weights(0):
        network = PatchTransformer(CONFIG, INPUT, get_skeleton("kinect_v2_25"))
    with pytest.raises(DataError, match="kinect_v2_25"):
        network.embed([dance("kinect_v1_20")])


def test_weights_from_before_load_unchanged(tmp_path: Path) -> None:
    network = encoder()
    save_encoder(network, tmp_path)
    description = (tmp_path / "encoder.json").read_text()
    (tmp_path / "encoder.json").write_text(
        description.replace('"takes_flat": false,', "")
        .replace('"patch_frames": 4,', '"patch_frames": 4')
        .replace('"summary_blocks": [],', "")
        .replace('"summary_mirrored": false', "")
    )
    again = load_encoder(tmp_path)
    assert np.array_equal(again.embed([dance("coco_17")]), network.embed([dance("coco_17")]))


def test_extremes_of_some_blocks_stand_for_a_body_beside_their_average() -> None:
    tokens = torch.tensor([[[1.0, -2.0], [3.0, 0.0]], [[7.0, 7.0], [9.0, 9.0]], [[5.0, 5.0], [0.0, 0.0]]])
    exists = torch.tensor([[True, True], [False, False], [True, False]])
    # First body: average (2, -1), highest (3, 0), lowest (1, -2); third: 5 throughout. The second is not there.
    expected = [[2.0, -1.0, 3.0, 0.0, 1.0, -2.0], [0.0] * 6, [5.0] * 6]
    assert average_and_extremes(tokens, exists).tolist() == expected


def test_a_summary_is_of_the_blocks_that_are_named() -> None:
    network, recording = encoder(depth=2, summary_blocks=(1, 2)), dance("coco_17")
    assert network.pooled_dim == 96  # average, highest, lowest; of two blocks; 16 numbers
    said: list[torch.Tensor] = []
    for block in network.blocks:
        block.register_forward_hook(lambda _, __, output: said.append(output))
    features = of(network, recording)
    first, second = (tokens[0, : int(features.present.sum())] for tokens in said)
    both = torch.cat((first, second), 1)
    expected = torch.cat((both.mean(0), both.amax(0), both.amin(0)))
    torch.testing.assert_close(features.pooled()[0], expected)
    assert np.array_equal(network.embed([recording])[0], features.pooled()[0].numpy())


@pytest.mark.parametrize("blocks", [(0,), (3,), (1, 4)])
def test_a_block_that_is_not_there_cannot_be_named(blocks: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="1 to 2"):
        PatchTransformerConfig(depth=2, summary_blocks=blocks)


def flattened(sequence: SkeletonSequence) -> SkeletonSequence:
    joints = sequence.joints.copy()
    joints[..., 2] = 0.0
    return replace(sequence, joints=joints, skeleton=replace(sequence.skeleton, dimensions=2))


def test_two_dimensions_enter_an_encoder_that_takes_them() -> None:
    network = encoder(takes_flat=True)
    flat, deep = flattened(dance("coco_17")), dance("coco_17")
    together = network.embed([flat, deep])
    np.testing.assert_allclose(together, np.stack([network.embed([one])[0] for one in (flat, deep)]), atol=1e-5)
    # What tells them apart is learned: without it, features are others.
    with torch.no_grad():
        assert network.flat is not None
        network.flat.zero_()
    assert not np.allclose(network.embed([flat]), together[0])
    zero = replace(flat, skeleton=replace(flat.skeleton, dimensions=3))
    # Nothing is turned in an image. Of three dimensions, a body that is seen from behind has its hips along x already.
    flat, zero = (replace(one, joints=one.joints * np.float32([-1, 1, 1])) for one in (flat, zero))
    np.testing.assert_allclose(network.embed([flat]), network.embed([zero]), atol=2e-2)


def test_a_body_in_an_image_keeps_the_side_that_it_shows() -> None:
    """Who faces the camera has the left hip at the right of the image; with depth, alignment would turn him around."""
    network, hip = encoder(takes_flat=True), BODY.index("left hip")
    flat, deep = flattened(dance("coco_17")), dance("coco_17")
    batch = batch_from_sequences(network.readable([flat, deep]), INPUT, skeleton=BODY)
    assert float(batch.joints[0, 0, :, hip, 0].min()) > 0
    assert float(batch.joints[1, 0, :, hip, 0].max()) < 0
    assert batch.flat is not None
    assert batch.flat.tolist() == [True, False]


def test_two_dimensions_are_refused_where_nothing_tells_them_apart() -> None:
    with pytest.raises(DataError, match="2"):
        encoder().embed([flattened(dance("coco_17"))])
    batch = batch_from_sequences([retarget(flattened(dance("coco_17")), BODY)], INPUT, skeleton=BODY)
    with pytest.raises(ConfigError, match="takes_flat"):
        encoder()(batch)
