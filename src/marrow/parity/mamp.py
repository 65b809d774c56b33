"""Comparison of MAMP with numbers recorded from the authors' code: `marrow parity mamp FILE.npz`.

The file holds the weights of a model of any size under the released key names, an input, the one random draw, and what
the released code made of them (loss, hidden tokens, prediction, gradient norm, pooled feature). Only names and numbers
are read; see `docs/parity.md` for what each quantity is.
"""

import ast
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from marrow.data.batch import Batch
from marrow.data.window import InputConfig
from marrow.errors import DataError
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.objectives.mamp import MAMP, MAMPConfig
from marrow.parity.mamp_released import released_to_ours
from marrow.parity.quantity import Quantity, relative_error
from marrow.skeleton.layout import KINECT_V2_25, Skeleton


def build_from_recording(recording: Mapping[str, np.ndarray]) -> tuple[MAMP, dict[str, Any]]:
    """Build the recorded model in parity mode and load its weights; also return the recorded settings."""
    settings = ast.literal_eval(str(recording["config"]))
    model = settings["model"]
    skeleton = KINECT_V2_25
    if model["num_joints"] != len(skeleton.joints):
        # Only the number of joints matters here.
        names = tuple(f"joint{n}" for n in range(model["num_joints"]))
        skeleton = Skeleton("recorded", names, (0,) * len(names), tuple(range(len(names))), {})
    if model["patch_size"] != 1 or model["dim_in"] != 3:
        raise DataError(f"expected patches of 1 joint and 3 coordinates, got {model['patch_size']}, {model['dim_in']}")
    encoder = PatchTransformer(
        PatchTransformerConfig(
            width=model["dim_feat"],
            depth=model["depth"],
            heads=model["num_heads"],
            mlp_ratio=float(model["mlp_ratio"]),
            patch_frames=model["t_patch_size"],
        ),
        InputConfig(window_frames=model["num_frames"]),
        skeleton,
    )
    config = MAMPConfig(
        mask_ratio=settings["mask_ratio"],
        tau=settings["tau"],
        normalise_target=model["norm_skes_loss"],
        decoder_depth=model["decoder_depth"],
        decoder_width=model["decoder_dim_feat"],
        decoder_heads=model["num_heads"],
        decoder_mlp_ratio=float(model["mlp_ratio"]),
        parity=True,
    )
    mamp = MAMP(config, encoder)
    prefix = "weights/"
    released = {k[len(prefix) :]: torch.from_numpy(recording[k]) for k in recording if k.startswith(prefix)}
    mamp.load_state_dict(released_to_ours(released))
    return mamp, settings


def compare_mamp(path: Path, tolerance: float = 1e-5) -> list[Quantity]:
    """Compare loss, hidden tokens, prediction, gradient norm and pooled feature with recorded ones.

    Args:
        path: an `.npz` in the format of the module's docstring.
        tolerance: largest relative error by norm; the hidden tokens must agree exactly.

    Raises:
        DataError: the file is missing or lacks a quantity.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            recording = {key: archive[key] for key in archive.files}
        mamp, _ = build_from_recording(recording)
        joints = torch.from_numpy(recording["joints_NCTVM"]).permute(0, 4, 2, 3, 1).contiguous()
        noise = torch.from_numpy(recording["uniform_noise"]).unflatten(0, joints.shape[:2])
        reference = {name: recording[name] for name in _QUANTITIES}
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: not a MAMP recording (an .npz with weights/*, {', '.join(_QUANTITIES)}): {error}"
        ) from error
    ours = {**_measure(mamp, joints, noise), **_measure_uniform(mamp, joints, noise)}
    return [
        Quantity(name, relative_error(ours[name], reference[name]), 0.0 if name.startswith("hidden") else tolerance)
        for name in _QUANTITIES
    ]


_QUANTITIES = ("loss", "hidden", "prediction", "grad_norm", "pooled_feature", "loss_uniform", "hidden_uniform")


def _batch(joints: Tensor) -> Batch:
    """Recorded input as a batch: a body that is zero throughout is absent."""
    present = joints.flatten(2).any(2)[:, :, None, None].expand(joints.shape[:-1])
    clips = torch.arange(len(joints))
    return Batch(joints, present, torch.full_like(clips, -1), clips)


def _measure(mamp: MAMP, joints: Tensor, noise: Tensor) -> dict[str, np.ndarray]:
    batch = _batch(joints)
    draw = mamp.hide(batch, noise)
    output = mamp(batch, draw)
    loss = output.loss_sum / output.weight
    mamp.zero_grad()
    loss.backward()
    squares = sum(float(p.grad.double().square().sum()) for p in mamp.parameters() if p.grad is not None)
    explained = mamp.predictions(batch, draw)
    with torch.no_grad():
        pooled = mamp.encoder(batch.absent_as_zeros()).pooled()
    return {
        "loss": loss.detach().numpy(),
        "hidden": explained["hidden"].numpy(),
        "prediction": explained["prediction"].numpy(),
        "grad_norm": np.array(squares**0.5),
        "pooled_feature": pooled.numpy(),
    }


def _measure_uniform(mamp: MAMP, joints: Tensor, noise: Tensor) -> dict[str, np.ndarray]:
    """Measure the same model with uniform hiding (recorded with tau = 0)."""
    uniform = MAMP(replace(mamp.config, masking="uniform"), mamp.encoder)
    uniform.load_state_dict(mamp.state_dict())
    measured = _measure(uniform, joints, noise)
    return {"loss_uniform": measured["loss"], "hidden_uniform": measured["hidden"]}
