"""Checks that every pretext objective must pass: `check_objective`."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from marrow.data.batch import Batch, Shapes
from marrow.data.draws import Draws
from marrow.models.trainable import StepOutput
from marrow.objectives.base import Objective, Picture
from marrow.testing.encoders import check_reads_exactly, example_batch, moved, with_noise_where_absent
from marrow.train.device import make_fabric
from marrow.train.non_finite import tensors_in


def check_objective(
    build: Callable[[], Objective],
    *,
    absent_matters: bool = False,
    noise_by_place: bool = False,
    overfit_steps: int = 150,
) -> None:
    """Check the contract of `Objective`.

    Args:
        build: makes the objective, small, the same every time.
        absent_matters: a parity setting that computes absent bodies as zeros (then nothing is promised about them).
        noise_by_place: what is drawn for a body depends on its place among those that are computed (dropout): then
            padding moves it, and losses with and without padding are not compared.
        overfit_steps: steps of AdamW in which the loss on one batch must halve; 0 leaves that out.

    Raises:
        AssertionError: with what is not as promised.
    """
    objective = build()
    batch = example_batch(objective.encoder)
    draws = Draws(seed=3, step=5, index=torch.arange(len(batch)))
    draw = objective.sample(batch, draws)
    output = objective(batch, draw)

    loss = _loss(objective, batch, draws)
    assert loss.ndim == 0, f"the loss must be a number, got shape {tuple(loss.shape)}"
    assert torch.isfinite(loss), "the loss must be finite"
    assert output.weight > 0, "a batch with bodies must have weight"
    assert torch.equal(loss, _loss(objective, batch, draws)), "the same draw must give the same loss, bit by bit"
    other = _loss(objective, batch, Draws(seed=4, step=5, index=draws.index))
    assert not torch.equal(loss, other), "another seed must give another draw"
    assert not any(metric.requires_grad for metric in output.metrics.values()), "metrics must be detached"
    _check_draw(objective, batch, draws)

    _check_picture(objective.explain(batch, draw), batch)

    loss.backward()
    without = [name for name, parameter in objective.named_parameters() if parameter.grad is None]
    assert not without, f"parameters without a gradient (data-parallel training dies on them): {without}"

    if not absent_matters:
        same = _loss(objective, with_noise_where_absent(batch), draws)
        assert torch.equal(same, loss), "coordinates of absent joints or bodies change the loss"

    twin = build()
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1.0)
    twin.load_state_dict(objective.state_dict())
    assert torch.equal(_loss(twin, batch, draws), loss), "state_dict does not hold all that the loss depends on"

    if not objective.couples_samples:
        _check_cuts(build(), batch, draws)

    _check_exact(build(), batch, draws)
    _check_padding(build(), batch, draws, noise_by_place=noise_by_place)

    if overfit_steps:
        _check_overfits(build(), batch, draws, overfit_steps)


def _loss(objective: Objective, batch: Batch, draws: Draws) -> Tensor:
    output = objective(batch, objective.sample(batch, draws))
    return output.loss_sum / output.weight


def _check_draw(objective: Objective, batch: Batch, draws: Draws) -> None:
    """Check that a draw holds random numbers and choices, and that `forward` takes none from anywhere else."""
    draw, elsewhere = objective.sample(batch, draws), objective.sample(moved(batch, 1.0), draws)
    same = all(torch.equal(*pair) for pair in zip(_floats(draw), _floats(elsewhere), strict=True))
    assert same, "a draw holds coordinates: moved by a metre, the same clips give another one; compute them in forward"
    before = torch.get_rng_state()
    objective(batch, draw)
    assert torch.equal(torch.get_rng_state(), before), "forward draws from PyTorch's generator; draw it in sample"


def _check_padding(objective: Objective, batch: Batch, draws: Draws, *, noise_by_place: bool) -> None:
    """Check that shapes which the host has fixed change nothing, nor what stands in their padding."""
    if objective.encoder.input.pace == "recorded":
        batch = _of_unequal_length(batch, objective.encoder.input.min_frames)
    # The absent body is seen for two frames, which are no token of a patch: it is padding with something in it.
    glimpsed = batch.present.clone()
    glimpsed[-1, -1, :2, 0] = True
    bodies, times = glimpsed[..., 0, 0].numel(), batch.joints.shape[2]
    frames = int((batch.frames() * batch.present.flatten(2).any(2).sum(1)).sum())
    # All rows full; no frame more than there are; many more, though fewer than all rows have.
    cases = (
        (replace(batch, present=glimpsed), Shapes(bodies, whole=False)),
        (batch, Shapes(bodies, whole=False, frames=frames)),
        (batch, Shapes(bodies, whole=False, frames=frames + times)),
        (batch, Shapes(bodies, whole=False, frames=bodies * times)),
    )
    for given, shapes in cases:
        fixed = replace(given, shapes=shapes)
        loss, gradient = _loss_and_gradient(objective, fixed, draws)
        noisy = replace(with_noise_where_absent(given), shapes=shapes)
        of_noisy = _loss_and_gradient(objective, noisy, draws)
        same = torch.equal(loss, of_noisy[0]) and torch.equal(gradient, of_noisy[1])
        assert same, f"what stands in the padding of {shapes} changes loss or gradient"

    if noise_by_place:
        return
    objective.double()
    for given, shapes in cases:
        doubled = replace(given, joints=given.joints.double())
        exact = _loss_and_gradient(objective, doubled, draws)
        padded = _loss_and_gradient(objective, replace(doubled, shapes=shapes), draws)
        for name, without, with_padding in zip(("loss", "gradient"), exact, padded, strict=True):
            difference = float((without - with_padding).abs().max() / without.abs().max())
            assert difference <= 1e-12, (
                f"with the padding of {shapes}, the {name} differs by {difference:.1e} of its largest part: padding "
                "must have no weight"
            )


def _of_unequal_length(batch: Batch, shortest: int) -> Batch:
    """Return the batch as it would be at recorded pace: each clip ends a frame before the one in front of it."""
    times = batch.joints.shape[2]
    frame_count = (times - torch.arange(len(batch))).clamp(min=shortest)
    present = batch.present & (torch.arange(times) < frame_count[:, None])[:, None, :, None]
    return replace(
        batch,
        joints=torch.where(present[..., None], batch.joints, 0.0),
        present=present,
        frame_count=frame_count,
    )


def _loss_and_gradient(objective: Objective, batch: Batch, draws: Draws) -> tuple[Tensor, Tensor]:
    objective.zero_grad()
    output = objective(batch, objective.sample(batch, draws))
    output.loss_sum.backward()
    return output.loss_sum.detach(), _gradient(objective)


def _gradient(objective: Objective) -> Tensor:
    return torch.cat([weight.grad.flatten() for weight in objective.parameters() if weight.grad is not None])


def _floats(draw: Any) -> list[Tensor]:
    """Return the floating tensors of a draw."""
    return [tensor for tensor in tensors_in(draw) if tensor.is_floating_point()]


def _check_exact(objective: Objective, batch: Batch, draws: Draws) -> None:
    """Check that geometry stays in fp32 in a run that multiplies in bf16, with the bodies 3 m from the origin."""
    batch = moved(batch, 3.0)
    draw = objective.sample(batch, draws)
    given: list[Tensor] = []
    handle = objective.register_forward_pre_hook(lambda _, arguments: given.append(arguments[0].joints))
    low, high = (_in_a_run(objective, batch, draw, precision) for precision in ("bf16", "fp32"))
    handle.remove()
    assert torch.isfinite(low.loss_sum), "the loss must be finite where matrices are multiplied in bf16"
    assert all(joints.dtype == torch.float32 and torch.equal(joints, batch.joints) for joints in given), (
        "coordinates are rounded before they reach forward"
    )
    assert "loss_of_mean" in high.metrics, (
        "metrics must hold 'loss_of_mean', the loss of a prediction that looks at nothing (the mean target): runs are "
        "judged by it, and it shows whether targets are exact"
    )
    for name, of_low, of_high in (
        ("the weight", low.weight, high.weight),
        ("loss_of_mean", low.metrics["loss_of_mean"], high.metrics["loss_of_mean"]),
    ):
        assert torch.equal(of_low, of_high), (
            f"{name} is a function of the input alone, and must not depend on the precision of the network: "
            f"{float(of_low)} in bf16, {float(of_high)} in fp32; compute targets and losses in fp32"
        )
    check_reads_exactly(objective.encoder)


def _in_a_run(objective: Objective, batch: Batch, draw: Any, precision: Literal["bf16", "fp32"]) -> StepOutput:
    """Compute a loss as the engine does in a run."""
    fabric, _ = make_fabric("cpu", precision)
    with torch.no_grad():
        return fabric.setup_module(objective)(batch, draw)


def _check_picture(picture: Picture, batch: Batch) -> None:
    """Check what `explain` shows: the batch itself, and finite predictions of what is there and was hidden."""
    assert torch.equal(picture.present, batch.present), "a picture must be of the joints that are present in the batch"
    shown = picture.joints[batch.present]
    assert torch.equal(shown, batch.joints[batch.present]), "a picture must show the true joints as in the batch"
    assert picture.hidden.shape == batch.present.shape, f"hidden must be a flag per joint, got {picture.hidden.shape}"
    assert not ((picture.hidden | picture.visible) & ~batch.present).any(), "a picture shows or hides absent joints"
    assert not (picture.hidden & picture.visible).any(), "a joint cannot be both visible and hidden"
    assert picture.predicted.shape == batch.joints.shape, f"a position per joint, got {picture.predicted.shape}"
    assert picture.predicted[picture.hidden].isfinite().all(), "predicted positions must be finite"
    assert not picture.predicted.requires_grad, "a picture must be detached"


def _check_cuts(objective: Objective, batch: Batch, draws: Draws) -> None:
    """Check that a batch in one piece gives the loss and the gradient that it gives clip by clip."""
    gradients, losses = [], []
    for size in (len(batch), 1):
        objective.zero_grad()
        loss_sum, weight = torch.zeros(()), torch.zeros(())
        for places in torch.arange(len(batch)).split(size):
            piece = batch.take(places)
            output = objective(piece, objective.sample(piece, replace(draws, index=draws.index[places])))
            output.loss_sum.backward()
            loss_sum, weight = loss_sum + output.loss_sum.detach(), weight + output.weight.detach()
        losses.append(float(loss_sum / weight))
        gradients.append(_gradient(objective) / weight)
    advice = "clips of a batch influence each other; if they are meant to, declare it: couples_samples = True"
    assert abs(losses[0] - losses[1]) <= 1e-5 * abs(losses[0]), (
        f"the loss is {losses[0]} in one piece and {losses[1]} clip by clip: {advice}"
    )
    difference = float((gradients[0] - gradients[1]).abs().max() / gradients[0].abs().max())
    assert difference <= 1e-5, f"cut into clips, the gradient differs by {difference:.1e} of its largest part: {advice}"


def _check_overfits(objective: Objective, batch: Batch, draws: Draws, steps: int) -> None:
    optimizer = torch.optim.AdamW(objective.parameters(), lr=3e-3)
    first = float(_loss(objective, batch, draws).detach())
    last = first
    for _ in range(steps):
        loss = _loss(objective, batch, draws)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        last = float(loss.detach())
    assert last < 0.5 * first, f"one batch was not overfitted: loss {first:.3f} -> {last:.3f} in {steps} steps"
