"""Encoders on another skeleton: what is learned moves with its joint, what is new is new, and all of it is said."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from marrow.data.batch import Batch
from marrow.data.window import InputConfig
from marrow.errors import ConfigError
from marrow.models.adapt import adapted
from marrow.models.encoder import Encoder, JointAxis
from marrow.models.export import load_encoder, save_encoder
from marrow.models.frame_transformer import FrameTransformer, FrameTransformerConfig
from marrow.models.hierarchical_transformer import HierarchicalTransformer, HierarchicalTransformerConfig
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.skeleton.layout import KINECT_V1_20, KINECT_V2_25, Skeleton
from marrow.testing.encoders import example_batch

WINDOW = InputConfig(28)
BUILDERS: dict[str, Callable[[Skeleton], Encoder]] = {
    "patch": lambda skeleton: PatchTransformer(PatchTransformerConfig(16, 2, 2), WINDOW, skeleton),
    "frame": lambda skeleton: FrameTransformer(FrameTransformerConfig(16, 2, 2), WINDOW, skeleton),
    "frame_joints": lambda skeleton: FrameTransformer(
        FrameTransformerConfig(16, 2, 2, readout="mean", joint_attention=True), WINDOW, skeleton
    ),
    "hierarchical": lambda skeleton: HierarchicalTransformer(
        HierarchicalTransformerConfig(widths=(8, 12, 16), depths=(1, 2, 1), heads=2, head_width=4, max_clips=6),
        WINDOW,
        skeleton,
    ),
}
kinds = pytest.mark.parametrize("kind", sorted(BUILDERS))


def build(kind: str, skeleton: Skeleton = KINECT_V1_20) -> Encoder:
    """An encoder in which no parameter is as it was made, as after training."""
    torch.manual_seed(0)
    encoder = BUILDERS[kind](skeleton)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return encoder.eval()


def chosen(skeleton: Skeleton, order: list[int], more: tuple[str, ...] = ()) -> Skeleton:
    """Some joints of a layout in another order, and some more."""
    joints = (*(skeleton.joints[joint] for joint in order), *more)
    return Skeleton("other", joints, tuple(range(len(joints))), tuple(range(len(joints))), {})


def reordered(batch: Batch, order: list[int]) -> Batch:
    return replace(batch, joints=batch.joints[..., order, :], present=batch.present[..., order])


@kinds
def test_the_same_layout_changes_nothing(kind: str) -> None:
    encoder = build(kind)
    result, adaptation = adapted(encoder, KINECT_V1_20, seed=3)
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(result.state_dict()[name], value, rtol=0, atol=0)
    batch = example_batch(encoder)
    torch.testing.assert_close(result(batch).tokens, encoder(batch).tokens, rtol=0, atol=0)
    assert (len(adaptation.kept), adaptation.new, adaptation.gone) == (20, (), ())
    assert not result.training


@kinds
def test_joints_in_another_order_give_the_same_features(kind: str) -> None:
    encoder = build(kind)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1)).tolist()
    result, _ = adapted(encoder, chosen(KINECT_V1_20, order))
    batch = example_batch(encoder)
    before, after = encoder(batch), result(reordered(batch, order))
    torch.testing.assert_close(after.pooled(), before.pooled(), rtol=0, atol=1e-5)
    tokens = before.tokens[..., order, :] if kind == "patch" else before.tokens
    torch.testing.assert_close(after.tokens, tokens, rtol=0, atol=1e-5)
    # The data as they were do not do: what is learned of a joint matters.
    wrong = result(batch)
    assert (wrong.pooled() - before.pooled()).abs().max() > 1e-3


@pytest.mark.parametrize("kind", sorted({*BUILDERS} - {"hierarchical"}))
def test_a_joint_that_is_gone_is_as_one_that_is_absent(kind: str) -> None:
    """Without it an encoder says what it said where the joint was absent all the time.

    Not so in Hi-TRS, where absent joints take part as zeros, as in the released code.
    """
    encoder = build(kind)
    order = [joint for joint in range(20) if joint not in (7, 11)]
    result, adaptation = adapted(encoder, chosen(KINECT_V1_20, order))
    assert adaptation.gone == ("HandLeft", "HandRight")
    batch = example_batch(encoder)
    batch.present[..., [7, 11]] = False
    torch.testing.assert_close(result(reordered(batch, order)).pooled(), encoder(batch).pooled(), rtol=0, atol=1e-5)


@kinds
def test_new_and_missing_joints_run_and_export(kind: str, tmp_path: Path) -> None:
    encoder = build(kind).train()
    order = [joint for joint in range(19, 0, -1) if joint != 5]
    other = chosen(KINECT_V1_20, order, more=("Tail", "Nose"))
    result, adaptation = adapted(encoder, other, seed=1)
    assert (adaptation.source, adaptation.target) == ("kinect_v1_20", "other")
    assert (len(adaptation.kept), adaptation.new) == (18, ("Tail", "Nose"))
    assert adaptation.gone == ("HipCenter", "ElbowLeft")
    assert result.training
    assert result.skeleton == other
    batch = example_batch(result)
    result(batch).pooled().sum().backward()
    assert all(parameter.grad is not None for parameter in result.parameters())
    save_encoder(result, tmp_path, {})
    result.eval()
    torch.testing.assert_close(load_encoder(tmp_path)(batch).tokens, result(batch).tokens)


@kinds
def test_new_joints_follow_the_seed_and_are_no_others_twin(kind: str) -> None:
    """Sinusoids count joints: a new one must not begin where one that is kept began."""
    torch.manual_seed(0)
    encoder = BUILDERS[kind](KINECT_V1_20)  # as it was made, so that embeddings are still sinusoids
    order = [*range(5, 20)]
    joints = chosen(KINECT_V1_20, order).joints
    other = replace(chosen(KINECT_V1_20, order, ("A", "B")), joints=("A", *joints, "B"))
    one, two, three = (adapted(encoder, other, seed=seed)[0].state_dict() for seed in (1, 1, 2))
    for name, axis in (encoder.joint_axes() or {}).items():
        torch.testing.assert_close(one[name], two[name], rtol=0, atol=0)
        values = one[name].movedim(axis.axis, 0).reshape(17, -1)
        learned = encoder.state_dict()[name].movedim(axis.axis, 0).reshape(20, -1)
        torch.testing.assert_close(values[1:16], learned[5:], rtol=0, atol=0)
        assert torch.cdist(values, values).fill_diagonal_(torch.inf).min() > 1e-2
        if kind != "hierarchical":
            assert not torch.equal(values[[0, 16]], three[name].movedim(axis.axis, 0).reshape(17, -1)[[0, 16]])
        assert not torch.equal(values[0], learned[0])


def test_coordinates_go_with_their_joint() -> None:
    """Of a linear map of poses, columns 3 j to 3 j + 2 are those of joint j."""
    encoder = build("frame")
    weight = encoder.state_dict()["embedding.linear.weight"]
    result, _ = adapted(encoder, chosen(KINECT_V1_20, [4, 0], ("Tail",)))
    moved = result.state_dict()["embedding.linear.weight"]
    assert moved.shape == (16, 9)
    torch.testing.assert_close(moved[:, :6], weight[:, [12, 13, 14, 0, 1, 2]], rtol=0, atol=0)


def test_kinect_v1_to_v2_and_back() -> None:
    _, adaptation = adapted(build("patch"), KINECT_V2_25)
    assert (len(adaptation.kept), adaptation.gone) == (20, ())
    assert adaptation.new == ("Neck", "HandTipLeft", "ThumbLeft", "HandTipRight", "ThumbRight")
    for part in ("kinect_v1_20", "kinect_v2_25", "20 joints", ", ".join(adaptation.new)):
        assert part in adaptation.sentence()
    _, back = adapted(build("patch", KINECT_V2_25), KINECT_V1_20, {"Head": "Neck", "Spine": None})
    assert (len(back.kept), back.kept["Head"], back.new) == (19, "Neck", ("Spine",))
    assert set(back.gone) == {"Head", "SpineMid", "HandTipLeft", "ThumbLeft", "HandTipRight", "ThumbRight"}
    _, of_one_joint = adapted(build("patch"), chosen(KINECT_V1_20, [3]))
    assert "1 joint keeps" in of_one_joint.sentence()


def test_bones_that_lead_elsewhere() -> None:
    """Kinect's spine is rooted between the shoulders; here it hangs from the hips."""
    joints = ("HipCenter", "Spine", "ShoulderCenter", "Head")
    upwards = Skeleton("upwards", joints, (0, 0, 1, 2), (0, 1, 2, 3), {})
    encoder = build("patch")
    assert adapted(encoder, upwards)[1].other_bones == ()
    encoder.input = replace(WINDOW, stream="bone_motion")
    adaptation = adapted(encoder, upwards)[1]
    assert adaptation.other_bones == ("HipCenter", "Spine", "ShoulderCenter")
    assert "HipCenter, Spine, ShoulderCenter" in adaptation.sentence()


def test_nothing_in_common() -> None:
    with pytest.raises(ConfigError, match=r"no joint of 'other' .* say which is which"):
        adapted(build("patch"), chosen(KINECT_V1_20, [], ("Tail", "Nose")))


@pytest.mark.parametrize(
    ("axes", "says"),
    [
        (None, r"PatchTransformer cannot be adapted .* define joint_axes\(\).* number of joints: joint_position$"),
        ({}, r"'joint_position' of PatchTransformer has another size .*name it in joint_axes"),
        ({"joint_position": JointAxis(2)}, r"expects 20 joints x 1 values along axis 2 .* has the shape \[1, 20, 16\]"),
        ({"joint_position": JointAxis(1, 3)}, r"expects 20 joints x 3 values along axis 1"),
        ({"joints": JointAxis(0)}, r"of 'joints', which is no parameter"),
    ],
)
def test_what_an_encoder_must_say(
    axes: dict[str, JointAxis] | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PatchTransformer, "joint_axes", lambda self: axes)
    with pytest.raises(ConfigError, match=says):
        adapted(build("patch"), KINECT_V2_25)


@kinds
def test_every_encoder_of_this_package_says_it(kind: str) -> None:
    """What is named is what grows with the joints."""
    small, large = build(kind).state_dict(), build(kind, KINECT_V2_25).state_dict()
    assert {name for name in small if small[name].shape != large[name].shape} == set(build(kind).joint_axes() or {})
