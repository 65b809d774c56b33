"""Checks that every encoder must pass: `check_encoder`."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from marrow.data.batch import Batch
from marrow.models.blocks import DropPath
from marrow.models.encoder import Encoder, Features, FeatureShape
from marrow.models.export import load_encoder, save_encoder
from marrow.train.device import network_context
from marrow.use.plain import PlainModel, describe, trace


def example_batch(encoder: Encoder, clips: int = 4, bodies: int = 2, seed: int = 0) -> Batch:
    """Make a batch that fits an encoder: smooth walks, with an absent body and a few absent joints.

    The last clip has one body, the one before it a joint that is absent for some frames.
    """
    generator = torch.Generator().manual_seed(seed)
    frames, joints = encoder.input.window_frames, len(encoder.skeleton.joints)
    start = torch.randn(clips, bodies, 1, joints, 3, generator=generator) * 0.4
    walk = torch.randn(clips, bodies, frames, joints, 3, generator=generator).cumsum(2) * 0.02
    present = torch.ones(clips, bodies, frames, joints, dtype=torch.bool)
    present[-1, 1:] = False
    present[-2, 0, frames // 4 : frames // 2, 1] = False
    positions = torch.where(present[..., None], start + walk, 0.0)
    return Batch(positions, present, torch.full((clips,), -1), torch.arange(clips))


def with_noise_where_absent(batch: Batch, seed: int = 1) -> Batch:
    """Return the batch with other coordinates wherever nothing is present."""
    noise = torch.randn(batch.joints.shape, generator=torch.Generator().manual_seed(seed))
    joints = torch.where(batch.present[..., None], batch.joints, 7.0 * noise)
    return replace(batch, joints=joints)


def moved(batch: Batch, metres: float) -> Batch:
    """Return the batch with everybody elsewhere along the last axis, as seen by a sensor from farther away."""
    away = torch.tensor([0.0, 0.0, metres])
    return replace(batch, joints=torch.where(batch.present[..., None], batch.joints + away, 0.0))


def check_reads_exactly(encoder: Encoder) -> None:
    """Check that the first layer tells neighbouring tokens apart as well under bf16 autocast as it does in fp32.

    Three metres from the origin bf16 rounds coordinates to 16 mm. What the first layer with weights of its own says of
    a token and of its neighbour in time must differ as in fp32, to 1 %.

    Raises:
        AssertionError: it does not.
    """
    batch = moved(example_batch(encoder).take(slice(2)), 3.0)  # of which nothing is absent
    step = encoder.frames_per_token
    later = batch.joints[:, :, step:], batch.joints[:, :, -1:].expand(-1, -1, step, -1, -1)
    neighbours = replace(batch, joints=torch.cat(later, dim=2))
    low, high = (_first_layer(encoder, neighbours, bf16) - _first_layer(encoder, batch, bf16) for bf16 in (True, False))
    error = float((low - high).norm() / high.norm())
    assert error <= 0.01, (
        f"the first layer of {type(encoder).__name__} rounds what it reads: under bf16 autocast differences between "
        f"neighbouring tokens are off by {100 * error:.0f} %; read coordinates by marrow.models.blocks.ExactLinear"
    )


def _first_layer(encoder: Encoder, batch: Batch, bf16: bool) -> Tensor:
    """Return what the first of the modules that have weights themselves says of a batch."""
    outputs: list[Any] = []
    handles = [
        module.register_forward_hook(lambda _, __, output: outputs.append(output))
        for module in encoder.modules()
        if next(module.parameters(recurse=False), None) is not None and next(module.children(), None) is None
    ]
    try:
        with torch.no_grad(), network_context(bf16, "cpu"):
            encoder(batch)
    finally:
        for handle in handles:
            handle.remove()
    return outputs[0].float()


def check_encoder(build: Callable[[], Encoder], folder: Path, *, has_joint_axis: bool = True) -> None:
    """Check the contract of `Encoder`.

    Args:
        build: makes the encoder, small.
        folder: an empty folder to export into.
        has_joint_axis: whether its features keep the joints apart.

    Raises:
        AssertionError: with what is not as promised.
    """
    encoder = build().eval()
    batch = example_batch(encoder)
    with torch.inference_mode():
        features = encoder(batch)
        _check_shape(encoder, batch, features, has_joint_axis)

        alone = encoder(batch.take(slice(1)))
        torch.testing.assert_close(alone.tokens[0], features.tokens[0], rtol=1e-4, atol=1e-5, msg="batch independence")

        elsewhere = encoder(with_noise_where_absent(batch))
        assert torch.equal(elsewhere.tokens, features.tokens), "coordinates of absent joints or bodies leak"
        assert not features.present[-1, 1:].any(), "an absent body has present features"

        save_encoder(encoder, folder, {"made by": "check_encoder"})
        again = load_encoder(folder)(batch)
        assert torch.equal(again.tokens, features.tokens), "exported and loaded again, the encoder says something else"

        _check_drop(encoder, batch, features.tokens)
        check_reads_exactly(encoder)

        other = encoder.fresh(seed=1)(batch)
        assert not torch.equal(other.tokens, features.tokens), "fresh() returns the same weights"
        assert torch.equal(other.tokens, encoder.fresh(seed=1)(batch).tokens), "fresh() depends on more than its seed"

    layers = [parameter for layer in encoder.layers() for parameter in layer]
    everything = {name: sum(parameter is listed for listed in layers) for name, parameter in encoder.named_parameters()}
    assert all(count == 1 for count in everything.values()), f"layers() must hold every parameter once: {everything}"
    assert len(layers) == len(everything), "layers() holds tensors that are no parameters of the encoder"


def check_export(
    build: Callable[[], Encoder], *, clips: Sequence[int] = (1, 3), bodies: Sequence[int] = (1, 2)
) -> None:
    """Check that an encoder can be traced by `torch.export`, and its graph says what the encoder says.

    For several numbers of clips and bodies, with joints and bodies that are absent. `marrow export` does the same once
    more with the file that it writes. Not where shapes are checked by jaxtyping: torch cannot trace the checks.

    Args:
        build: makes the encoder, small.
        clips: numbers of clips that are tried.
        bodies: numbers of bodies that are tried.

    Raises:
        ConfigError: it cannot be traced.
        AssertionError: the graph says something else.
    """
    encoder = build().eval()
    description = describe(encoder)
    module = trace(PlainModel(encoder), description).module()
    for count, people in itertools.product(clips, bodies):
        batch = example_batch(encoder, clips=max(2, count), bodies=people)
        batch = batch.take(slice(len(batch) - count, None))
        arrays: dict[str, Tensor] = {"joints": batch.joints, "present": batch.present}
        if encoder.is_by_place:
            # All but the last: which is absent from the batch as well.
            places = len(encoder.skeleton.joints) - 1
            batch.present[..., places:] = False
            arrays = {name: value[:, :, :, :places] for name, value in arrays.items()}
            arrays["place"] = torch.arange(places)
        if encoder.takes_flat:
            arrays["flat"] = torch.zeros(count, dtype=torch.bool)
        if encoder.input.pace == "recorded":
            arrays["frame_count"] = batch.frames()
        with torch.no_grad():
            expected, traced = encoder(batch).pooled(), module(**arrays)
        message = f"traced, the encoder says something else of {count} clips with {people} bodies"
        torch.testing.assert_close(traced, expected, rtol=1e-4, atol=1e-4, msg=message)


def _check_drop(encoder: Encoder, batch: Batch, tokens: Tensor) -> None:
    """Check what leaving residual branches out does: nothing at rate 0 or without branches, and to each clip alone."""
    clips, bodies = batch.joints.shape[:2]
    uniform = torch.rand(clips, bodies, encoder.branches, generator=torch.Generator().manual_seed(2))
    assert torch.equal(encoder(batch, DropPath(uniform, 0.0)).tokens, tokens), "dropping at rate 0 changes the features"
    if encoder.branches == 0:
        return
    dropped = encoder(batch, DropPath(torch.zeros_like(uniform), 0.5)).tokens
    assert not torch.equal(dropped, tokens), f"the encoder has {encoder.branches} branches, but leaves none out"

    drop = DropPath(uniform, 0.5)
    together = encoder(batch, drop).tokens
    alone = encoder(batch.take(slice(1)), DropPath(uniform[:1], 0.5)).tokens
    torch.testing.assert_close(alone[0], together[0], rtol=1e-4, atol=1e-5, msg="dropped branches of other clips count")
    uniform = uniform.clone()
    uniform[-1, 1:] = 1.0 - uniform[-1, 1:]
    absent = encoder(batch, DropPath(uniform, 0.5)).tokens
    assert torch.equal(absent, together), "the draws of an absent body change the features"


def _check_shape(encoder: Encoder, batch: Batch, features: Features, has_joint_axis: bool) -> None:
    clips, bodies, frames, joints = batch.present.shape
    times, tokens, present = frames // encoder.frames_per_token, features.tokens, features.present
    summary_dim = None if features.summary is None else features.summary.shape[-1]
    shape = FeatureShape(times, joints if has_joint_axis else 1, encoder.dim, summary_dim)
    assert encoder.feature_shape == shape, f"feature_shape must be {shape}, got {encoder.feature_shape}"
    expected = (clips, bodies, shape.times, shape.joints, shape.dim)
    assert tuple(tokens.shape) == expected, f"features must be {expected}, got {tuple(tokens.shape)}"
    assert tuple(present.shape) == expected[:-1], f"flags must be {expected[:-1]}, got {tuple(present.shape)}"
    assert torch.isfinite(tokens).all(), "features must be finite"
    assert not tokens[~present].any(), "features must be zero where nothing is present"
