"""Comparison of Hi-TRS with numbers recorded from the authors' code: `marrow parity hi_trs FILE.npz`.

The file holds the weights of a model of any size under the released key names, sequences of one length, what was hidden
and exchanged in them, and what the released code made of that without dropout. Only names and numbers are read; see
`docs/parity.md` for what each quantity is.
"""

import ast
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from marrow.data.batch import Batch
from marrow.data.window import InputConfig
from marrow.models.hierarchical_transformer import HierarchicalTransformer, HierarchicalTransformerConfig
from marrow.models.packing import Rows
from marrow.objectives.hi_trs import HiTRS, HiTRSConfig, HiTRSDraw
from marrow.parity.recording import Quantity, gradient_norm, open_recording, relative_error, weights_in
from marrow.skeleton.layout import KINECT_V2_25

_QUANTITIES = (
    *("loss_pose", "loss_clip_order", "loss_video_order", "loss_future", "clip_logits", "video_logits"),
    *("future_prediction", "future_target", "grad_norm", "downstream_clip_embedding", "downstream_video_embedding"),
)
_CLIP_DILATION, _CLIP_STRIDE = 2, 7

# Released names of what is no layer, and ours.
_NAMES = {
    "s_input_map.0": "encoder.embedding.0",
    "s_input_map.2": "encoder.embedding.2",
    "s_pe.pe": "encoder.joint_position",
    "s_pose_reg": "pose",
    "c_input_map": "encoder.to_clip",
    "c_pe.pe": "encoder.clip_position",
    "clip_fuse_token": "encoder.clip_fusion",
    "c_motion_cls": "clip_order",
    "v_input_map": "encoder.to_sequence",
    "v_pe.pe": "encoder.sequence_position",
    "video_fuse_token": "encoder.sequence_fusion",
    "v_motion_cls": "sequence_order",
    "v_ft_reg": "future",
}
_LEVELS = {"s": "frame", "c": "clip", "v": "sequence"}
_PARTS = {
    "self_attn_norm": "norm1",
    "slf_attn.fc": "proj",
    "pff_norm": "norm2",
    "pos_ffn.w_1": "mlp.fc1",
    "pos_ffn.w_2": "mlp.fc2",
}
_LAYER = re.compile(r"([scv])_enc\.layer_stack\.(\d+)\.(.+)\.(weight|bias)")


def released_to_ours(released: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of a released model; queries, keys and values of a layer become one matrix.

    Raises:
        KeyError: a name is not known.
    """
    ours: dict[str, Tensor] = {}
    for name, value in released.items():
        if (layer_name := _LAYER.fullmatch(name)) is None:
            stem, _, last = name.rpartition(".")
            ours[_NAMES[name] if name in _NAMES else f"{_NAMES[stem]}.{last}"] = value
            continue
        level, number, part, last = layer_name.groups()
        layer = f"encoder.{_LEVELS[level]}_layers.{number}"
        if part == "slf_attn.w_qs":
            thirds = [released[name.replace("w_qs", third)] for third in ("w_qs", "w_ks", "w_vs")]
            ours[f"{layer}.qkv.weight"] = torch.cat(thirds)
        elif part not in ("slf_attn.w_ks", "slf_attn.w_vs"):
            ours[f"{layer}.{_PARTS[part]}.{last}"] = value
    return ours


def build_from_recording(recording: Mapping[str, np.ndarray]) -> HiTRS:
    """Build the recorded model and load its weights."""
    settings = ast.literal_eval(str(recording["config"]))
    model = settings["model"]
    released = weights_in(recording)
    shapes = [released[f"{level}_enc.layer_stack.0.pos_ffn.w_1.weight"].shape for level in _LEVELS]
    (frame_hidden, frame), (clip_hidden, clip), (sequence_hidden, sequence) = shapes
    config = HierarchicalTransformerConfig(
        widths=(frame, clip, sequence),
        depths=(model["layer_num"],) * 3,
        mlp_ratios=(frame_hidden / frame, clip_hidden / clip, sequence_hidden / sequence),
        heads=model["nhead"],
        head_width=model["d_att"],
        clip_frames=model["w_size"],
        clip_dilation=_CLIP_DILATION,
        clip_stride=_CLIP_STRIDE,
        max_clips=released["v_pe.pe"].shape[0],
        dropout=0.0,
    )
    objective = HiTRS(HiTRSConfig(), HierarchicalTransformer(config, InputConfig(settings["F"]), KINECT_V2_25))
    objective.load_state_dict(released_to_ours(released))
    return objective


def compare_hi_trs(path: Path, tolerance: float = 1e-5) -> list[Quantity]:
    """Compare losses, logits, predictions, gradient norm and embeddings with recorded ones.

    Args:
        path: an `.npz` in the format of the module's docstring.
        tolerance: largest relative error by norm.

    Raises:
        DataError: the file is missing or lacks a quantity.
    """
    with open_recording(path, "Hi-TRS", _QUANTITIES) as recording:
        objective, draw = build_from_recording(recording), _draw(recording)
        joints = torch.from_numpy(recording["joints"])
    ours = _measure(objective, joints, draw)
    return [Quantity(name, relative_error(ours[name], recording[name]), tolerance) for name in _QUANTITIES]


def _draw(recording: Mapping[str, np.ndarray]) -> HiTRSDraw:
    """Return what was hidden and exchanged, in our terms.

    The file numbers frames from the 6 frames of padding on, and gives clips in their order and exchanged.
    """
    clips = len(recording["joints"])
    in_order, exchanged = torch.from_numpy(recording["clip_pair"])
    centre = in_order[len(in_order) // 2] - _CLIP_DILATION * (len(in_order) // 2)
    frame_swap = (in_order != exchanged).nonzero().flatten()
    permutation = torch.from_numpy(recording["video_permutation"])
    clip_swap = (permutation != torch.arange(len(permutation))).nonzero().flatten()
    selected = torch.from_numpy(recording["selected"])
    constant, source = _replacements(
        torch.from_numpy(recording["joints"]), torch.from_numpy(recording["masked_joints"]), selected
    )
    return HiTRSDraw(
        rows=Rows(torch.arange(clips)),
        frames=torch.full((clips,), selected.shape[1]),
        selected=selected,
        constant=constant,
        source=source,
        centre=centre.repeat(clips),
        moves=torch.ones(clips, dtype=torch.bool),
        frame_swap=frame_swap.repeat(clips, 1),
        clip_swap=clip_swap.repeat(clips, 1),
        dropout=None,
    )


def _replacements(joints: Tensor, masked: Tensor, selected: Tensor) -> tuple[Tensor, Tensor]:
    """Find out which joints became the constant point, and from which place of their sequence the others were taken."""
    constant = selected & (masked == HiTRSConfig().constant).all(-1)
    own = torch.arange(joints[0, ..., 0].numel()).expand(len(joints), -1)
    same = (masked.flatten(1, 2)[:, :, None] == joints.flatten(1, 2)[:, None]).all(-1)
    unmoved = (masked == joints).all(-1).flatten(1) | constant.flatten(1)
    return constant, torch.where(unmoved, own, same.int().argmax(2)).view_as(selected)


def _measure(objective: HiTRS, joints: Tensor, draw: HiTRSDraw) -> dict[str, np.ndarray]:
    clips = torch.arange(len(joints))
    batch = Batch(joints[:, None], torch.ones(joints[:, None].shape[:-1], dtype=torch.bool), clips, clips)
    output = objective(batch, draw)
    objective.zero_grad()
    (output.loss_sum / output.weight).backward()
    with torch.no_grad():
        answers = objective.answers(batch, draw)
        clip_embedding, summary = _downstream(objective.encoder, batch)
    losses = {name: (output.metrics[f"{ours}_loss"] / output.weight).numpy() for name, ours in _LOSSES.items()}
    return {
        **losses,
        "clip_logits": answers["clip_order"].numpy(),
        "video_logits": answers["sequence_order"].numpy(),
        "future_prediction": answers["future"].numpy(),
        "future_target": answers["future_target"].numpy(),
        "grad_norm": gradient_norm(objective),
        "downstream_clip_embedding": clip_embedding,
        "downstream_video_embedding": summary,
    }


_LOSSES = {
    "loss_pose": "pose",
    "loss_clip_order": "clip_order",
    "loss_video_order": "sequence_order",
    "loss_future": "future",
}


def _downstream(encoder: HierarchicalTransformer, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Return the clip embeddings of the batch as it is, before their context, and the summaries of the sequences."""
    seen: list[Tensor] = []
    handle = encoder.to_sequence.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    features = encoder(batch)
    handle.remove()
    assert features.summary is not None
    return seen[0].numpy(), features.summary[:, 0].numpy()
