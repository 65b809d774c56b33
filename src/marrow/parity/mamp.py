"""MAMP's released weights, and comparison with numbers recorded from the authors' code.

A released file is what `torch.save` makes of a dictionary: the weights under "model", and beside them the optimizer,
the epoch and the command line. It is read with `weights_only=True`, so that nothing in it is executed. Only names and
numbers are taken.

`marrow parity mamp FILE.npz` takes a recording: the weights of a model of any size, an input, the one random draw, and
what the released code made of them (loss, hidden tokens, prediction, gradient norm, pooled feature). See
`docs/parity.md` for what each quantity is.
"""

import argparse
import ast
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from marrow.data.batch import Batch
from marrow.data.window import InputConfig
from marrow.errors import CheckpointError, ConfigError, DataError
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.objectives.mamp import MAMP, MAMPConfig
from marrow.parity.recording import Quantity, gradient_norm, open_recording, relative_error, weights_in
from marrow.skeleton.layout import KINECT_V2_25, Skeleton

_QUANTITIES = ("loss", "hidden", "prediction", "grad_norm", "pooled_feature", "loss_uniform", "hidden_uniform")

# Released key -> ours. Block keys keep their endings (norm1, attn.qkv, attn.proj, norm2, mlp.fc1, mlp.fc2).
_NAMES = {
    "joints_embed.proj.weight": "encoder.embedding.weight",
    "joints_embed.proj.bias": "encoder.embedding.bias",
    "temp_embed": "encoder.time_position",
    "pos_embed": "encoder.joint_position",
    "norm.weight": "encoder.norm.weight",
    "norm.bias": "encoder.norm.bias",
    "decoder_embed.weight": "bridge.weight",
    "decoder_embed.bias": "bridge.bias",
    "mask_token": "hidden_token",
    "decoder_temp_embed": "time_position",
    "decoder_pos_embed": "joint_position",
    "decoder_norm.weight": "norm.weight",
    "decoder_norm.bias": "norm.bias",
    "decoder_pred.weight": "predict.weight",
    "decoder_pred.bias": "predict.bias",
}
_BLOCKS = ((re.compile(r"^blocks\."), "encoder.blocks."), (re.compile(r"^decoder_blocks\."), "blocks."))
_ENCODER = "encoder."


@dataclass(frozen=True)
class ReleasedEncoder:
    """What was made of a released file.

    Args:
        encoder: with the released weights.
        left_out: keys that are no part of the encoder (decoder, head of a fine-tuned or linear checkpoint).
        provenance: where it comes from, for the exported encoder.
    """

    encoder: PatchTransformer
    left_out: tuple[str, ...]
    provenance: dict[str, Any]


def released_to_ours(released: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename and reshape weights of the authors' pre-training model.

    Args:
        released: tensors by the released key names.

    Raises:
        CheckpointError: a key that the released pre-training model does not have.
    """
    ours = {}
    for key, value in released.items():
        name = _our_name(key)
        if name is None:
            raise CheckpointError(f"{key!r} is not a weight of the released MAMP model; expected {sorted(_NAMES)}")
        if key == "joints_embed.proj.weight":
            # Convolution kernel [width, xyz, frame, joint] -> linear over (frame, joint, xyz).
            value = value.permute(0, 2, 3, 1).flatten(1)
        elif key.endswith("temp_embed"):
            value = value.squeeze(0)  # [1, time, 1, width] -> [time, 1, width]
        elif key.endswith("pos_embed"):
            value = value.squeeze(0)  # [1, 1, joint, width] -> [1, joint, width]
        ours[name] = value
    return ours


def read_released(path: Path | str, *, heads: int = 8) -> ReleasedEncoder:
    """Read the encoder out of a released checkpoint: of pre-training, of fine-tuning, or of a linear probe.

    Width, depth, MLP, window and patches are those of the tensors' shapes. The number of attention heads leaves no
    trace in them.

    Args:
        path: the file.
        heads: attention heads.

    Raises:
        CheckpointError: the file is missing or damaged, holds something else than tensors and plain values, or no MAMP.
        ConfigError: `heads` does not fit its width.
    """
    path = Path(path)
    content = _load(path)
    weights = content.get("model", content) if isinstance(content, dict) else None
    if not (isinstance(weights, Mapping) and weights and all(isinstance(value, Tensor) for value in weights.values())):
        raise CheckpointError(f"{path}: expected a dictionary with tensors under 'model', {_shown(content)}")
    # Saved out of a data-parallel wrapper, every key has a prefix.
    released = {str(key).removeprefix("module."): value for key, value in weights.items()}
    of_encoder = {key: value for key, value in released.items() if (_our_name(key) or "").startswith(_ENCODER)}
    left_out = tuple(key for key in released if key not in of_encoder)
    config, input = _sizes(path, of_encoder, heads)
    encoder = PatchTransformer(config, input, KINECT_V2_25)
    ours = {name.removeprefix(_ENCODER): value.float() for name, value in released_to_ours(of_encoder).items()}
    try:
        encoder.load_state_dict(ours)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: its tensors do not make up one MAMP encoder: {error}") from error
    epoch = content.get("epoch") if isinstance(content, dict) else None
    provenance = {
        "method": "MAMP",
        "weights": "released by the authors",
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "epoch": epoch if isinstance(epoch, int) else None,
        "left_out": sorted({key.split(".")[0] for key in left_out}),
    }
    return ReleasedEncoder(encoder.eval(), left_out, provenance)


def _our_name(key: str) -> str | None:
    """Return our name of a released key; None where the released pre-training model has none such."""
    for pattern, prefix in _BLOCKS:
        if pattern.match(key):
            return pattern.sub(prefix, key)
    return _NAMES.get(key)


def _load(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file")
    try:
        # The command line lies beside the weights as an argparse.Namespace, which is data and nothing else.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever a damaged or foreign file makes it meet
        other = re.search(r"Unsupported (?:global: GLOBAL|class) (\S+)", str(error))
        what = (
            f"it holds a {other[1]}, and only tensors and plain values are read, for anything else could run code"
            if other
            else f"it is damaged or of another kind ({type(error).__name__})"  # its text may advise to read it unsafely
        )
        raise CheckpointError(
            f"{path}: expected a checkpoint of the released MAMP code (a .pth file); it cannot be read: {what}"
        ) from error


def _sizes(path: Path, weights: Mapping[str, Tensor], heads: int) -> tuple[PatchTransformerConfig, InputConfig]:
    """Return the size of the network and its input, from the shapes of its tensors."""
    needed = ("joints_embed.proj.weight", "temp_embed", "pos_embed", "norm.weight", "blocks.0.mlp.fc1.weight")
    missing = [key for key in needed if key not in weights]
    if missing:
        raise CheckpointError(f"{path}: not a MAMP model: it has no {missing[0]!r} (found {len(weights)} known keys)")
    kernel, time, joint = weights["joints_embed.proj.weight"], weights["temp_embed"], weights["pos_embed"]
    if kernel.ndim != 4 or time.ndim != 4 or joint.ndim != 4 or kernel.shape[1] != 3 or kernel.shape[3] != 1:
        raise CheckpointError(
            f"{path}: expected patches of 3 coordinates, some frames and 1 joint, and embeddings with 4 axes; got "
            f"{tuple(kernel.shape)}, {tuple(time.shape)}, {tuple(joint.shape)}"
        )
    if joint.shape[2] != len(KINECT_V2_25.joints):
        raise CheckpointError(
            f"{path}: expected the {len(KINECT_V2_25.joints)} joints of {KINECT_V2_25.name}, got {joint.shape[2]}"
        )
    width, patch_frames = kernel.shape[0], kernel.shape[2]
    if heads < 1 or width % heads:
        raise ConfigError(f"--heads must divide the width of the network, got {heads} heads for {width}")
    config = PatchTransformerConfig(
        width=width,
        depth=1 + max(int(key.split(".")[1]) for key in weights if key.startswith("blocks.")),
        heads=heads,
        mlp_ratio=weights["blocks.0.mlp.fc1.weight"].shape[0] / width,
        patch_frames=patch_frames,
    )
    return config, InputConfig(window_frames=time.shape[1] * patch_frames)


def _shown(content: Any) -> str:
    if isinstance(content, Mapping):
        return f"got one with the keys {', '.join(map(str, list(content)[:6]))}"
    return f"got a {type(content).__name__}"


def build_from_recording(recording: Mapping[str, np.ndarray]) -> MAMP:
    """Build the recorded model in parity mode and load its weights."""
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
    mamp.load_state_dict(released_to_ours(weights_in(recording)))
    return mamp


def compare_mamp(path: Path, tolerance: float = 1e-5) -> list[Quantity]:
    """Compare loss, hidden tokens, prediction, gradient norm and pooled feature with recorded ones.

    Args:
        path: an `.npz` in the format of the module's docstring.
        tolerance: largest relative error by norm; the hidden tokens must agree exactly.

    Raises:
        DataError: the file is missing or lacks a quantity.
    """
    with open_recording(path, "MAMP", _QUANTITIES) as recording:
        mamp = build_from_recording(recording)
        joints = torch.from_numpy(recording["joints_NCTVM"]).permute(0, 4, 2, 3, 1).contiguous()
        noise = torch.from_numpy(recording["uniform_noise"]).unflatten(0, joints.shape[:2])
    ours = {**_measure(mamp, joints, noise), **_measure_uniform(mamp, joints, noise)}
    return [
        Quantity(name, relative_error(ours[name], recording[name]), 0.0 if name.startswith("hidden") else tolerance)
        for name in _QUANTITIES
    ]


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
    explained = mamp.predictions(batch, draw)
    with torch.no_grad():
        pooled = mamp.encoder(batch.absent_as_zeros()).pooled()
    return {
        "loss": loss.detach().numpy(),
        "hidden": explained["hidden"].numpy(),
        "prediction": explained["prediction"].numpy(),
        "grad_norm": gradient_norm(mamp),
        "pooled_feature": pooled.numpy(),
    }


def _measure_uniform(mamp: MAMP, joints: Tensor, noise: Tensor) -> dict[str, np.ndarray]:
    """Measure the same model with uniform hiding (recorded with tau = 0)."""
    uniform = MAMP(replace(mamp.config, masking="uniform"), mamp.encoder)
    uniform.load_state_dict(mamp.state_dict())
    measured = _measure(uniform, joints, noise)
    return {"loss_uniform": measured["loss"], "hidden_uniform": measured["hidden"]}
