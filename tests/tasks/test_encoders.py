"""What `--transfer` makes of an encoder and a store."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from marrow.data.recordings import Recordings, cut_batches
from marrow.data.sampling import evaluation_batches
from marrow.data.window import InputConfig
from marrow.errors import ConfigError
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.skeleton.body import BODY
from marrow.skeleton.layout import KINECT_V1_20, KINECT_V2_25
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.memory import write_store
from marrow.tasks.encoders import encoder_for, store_for

RUN = Path("run")


def encoder_of(skeleton, alignment="none"):
    torch.manual_seed(0)
    return PatchTransformer(PatchTransformerConfig(8, 1, 2), InputConfig(8, alignment=alignment), skeleton).eval()


def test_the_same_skeleton_needs_nothing(small_store):
    encoder = encoder_of(KINECT_V1_20)
    for transfer in (False, True):
        result, notes = encoder_for(encoder, small_store, transfer, 0, RUN)
        assert result is encoder
        assert notes == []


def test_another_skeleton_is_refused_with_a_hint(small_store):
    with pytest.raises(ConfigError, match=r"run was trained on .*kinect_v2_25.*; or adapt the encoder with transfer"):
        encoder_for(encoder_of(KINECT_V2_25), small_store, False, 0, RUN)


def test_another_skeleton_is_adapted_to(small_store):
    encoder = encoder_of(KINECT_V2_25)
    result, notes = encoder_for(encoder, small_store, True, 0, RUN)
    assert result.skeleton == small_store.skeleton
    assert notes == [
        "the encoder of kinect_v2_25 was adapted to kinect_v1_20: 20 joints keep what it learned; 5 of kinect_v2_25 "
        "are missing (Neck, HandTipLeft, ThumbLeft, HandTipRight, ThumbRight)"
    ]
    assert encoder.skeleton is KINECT_V2_25
    assert np.isfinite(result.embed([small_store.sequence(0)])).all()


def test_pairs_and_seed_are_passed_on(small_store):
    encoder = encoder_of(KINECT_V2_25)
    pairs = {"Head": "Neck", "Spine": None}
    one, two, three = (encoder_for(encoder, small_store, pairs, seed, RUN)[0].joint_position for seed in (1, 1, 2))
    head, neck = KINECT_V1_20.index("Head"), KINECT_V2_25.index("Neck")
    torch.testing.assert_close(one[:, head], encoder.joint_position[:, neck])
    torch.testing.assert_close(one, two, rtol=0, atol=0)
    assert not torch.equal(one, three)
    with pytest.raises(ConfigError, match=r"'kinect_v2_25' has no joint 'Nek'. Did you mean 'Neck'"):
        encoder_for(encoder, small_store, {"Head": "Nek"}, 0, RUN)


def test_another_axis_that_points_up_is_said_where_it_matters(small_store):
    upright = replace(KINECT_V2_25, up="z")
    note = encoder_for(encoder_of(upright), small_store, True, 0, RUN)[1][1]
    assert note.endswith("learned them with z pointing up; in this store y does")
    assert len(encoder_for(encoder_of(upright, alignment="yaw"), small_store, True, 0, RUN)[1]) == 1


def test_recordings_of_three_dimensions_are_none_for_an_encoder_of_two(small_store):
    same, other = (encoder_of(replace(skeleton, dimensions=2)) for skeleton in (KINECT_V1_20, KINECT_V2_25))
    with pytest.raises(ConfigError, match=r"run reads 2 dimensions, .* have 3"):
        store_for(same, small_store, RUN)
    with pytest.raises(ConfigError, match=r"run reads 2 dimensions, .* have 3"):
        encoder_for(other, small_store, True, 0, RUN)


@pytest.mark.parametrize("layout", [KINECT_V1_20, BODY])
def test_an_encoder_of_three_dimensions_is_told_which_recordings_have_two(layout, tmp_path: Path):
    """Of a store as of a sequence, whole or cut: what has no depth is another thing than what lies in a plane."""
    joints = np.random.default_rng(0).normal(size=(1, 8, len(layout.joints), 3)).astype(np.float32)
    joints[..., 2] = 0.0
    seen = np.ones(joints.shape[:3], np.bool_)
    sequence = SkeletonSequence(joints, seen, 30.0, replace(layout, dimensions=2), Record("a"))
    size = PatchTransformerConfig(8, 1, 2, takes_flat=True)
    encoder = PatchTransformer(size, InputConfig(8, alignment="body"), BODY).eval()
    store = store_for(encoder, write_store(tmp_path / "store", [sequence], source="test"), RUN)
    [whole] = evaluation_batches(store, np.array([0]), encoder.input, 1, "cpu")
    recordings = Recordings.of(store.reopened(), np.array([0]))
    [cut] = cut_batches(recordings, np.array([[0, 0, 8]]), encoder.input, 1, "cpu")
    expected = encoder.embed([sequence])
    for batch in (whole, cut):
        assert batch.flat is not None
        assert batch.flat.tolist() == [True]
        with torch.no_grad():
            np.testing.assert_allclose(encoder(batch).pooled().numpy(), expected, atol=1e-6)
