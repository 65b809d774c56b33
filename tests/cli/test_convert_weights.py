"""A .pth file in the layout of the released checkpoints, written from the recorded model, becomes our encoder."""

import argparse
import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from marrow.cli.main import main
from marrow.data.batch import Batch
from marrow.models.export import load_encoder

RECORDED = Path(__file__).parents[1] / "golden" / "mamp_parity.npz"


def released_weights() -> "OrderedDict[str, torch.Tensor]":
    with np.load(RECORDED) as archive:
        names = [name for name in archive.files if name.startswith("weights/")]
        return OrderedDict((name.removeprefix("weights/"), torch.from_numpy(archive[name])) for name in names)


def write(path: Path, weights: dict[str, torch.Tensor], **beside: object) -> Path:
    args = argparse.Namespace(lr=1e-3, config="some.yaml", resume=None, betas=[0.9, 0.95])
    torch.save({"model": weights, "optimizer": {"state": {}}, "epoch": 399, "args": args, **beside}, path)
    return path


def pooled_error(folder: Path) -> float:
    """Return the largest difference to the recorded feature, with absent bodies as the released code has them."""
    with np.load(RECORDED) as archive:
        joints = torch.from_numpy(archive["joints_NCTVM"]).permute(0, 4, 2, 3, 1).contiguous()
        expected = torch.from_numpy(archive["pooled_feature"])
    clips = torch.arange(len(joints))
    batch = Batch(joints, torch.ones(joints.shape[:-1], dtype=torch.bool), -torch.ones_like(clips), clips)
    with torch.no_grad():
        return float((load_encoder(folder)(batch.absent_as_zeros()).pooled() - expected).abs().max())


def test_released_file_gives_the_recorded_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "pretrained.pth", released_weights())
    assert main(["convert-weights", "mamp", str(file), "--out", str(tmp_path / "e"), "--heads", "4"]) == 0
    assert pooled_error(tmp_path / "e") < 1e-5
    shown = capsys.readouterr().out
    assert "width 32, 3 blocks, 4 heads" in shown
    assert "24 frames of kinect_v2_25" in shown
    assert "left out  decoder_blocks, decoder_embed, decoder_norm, decoder_pos_embed, decoder_pred" in shown
    description = json.loads((tmp_path / "e" / "encoder.json").read_text())
    size = {"width": 32, "depth": 3, "heads": 4, "mlp_ratio": 4.0, "patch_frames": 4}
    assert description["config"] == size | {"takes_flat": False, "summary_blocks": [], "summary_mirrored": False}
    assert (description["input"]["stream"], description["input"]["alignment"]) == ("joint", "none")
    assert description["provenance"]["weights"] == "released by the authors"
    assert description["provenance"]["epoch"] == 399
    assert len(description["provenance"]["sha256"]) == 64


def test_another_number_of_heads_gives_other_features(tmp_path: Path) -> None:
    file = write(tmp_path / "pretrained.pth", released_weights())
    assert main(["convert-weights", "mamp", str(file), "--out", str(tmp_path / "e")]) == 0
    assert pooled_error(tmp_path / "e") > 1e-3


def test_finetuned_file_of_a_parallel_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No decoder, a head, and the prefix of DistributedDataParallel on every key; without "model" around it."""
    kept = {
        f"module.{name}": value
        for name, value in released_weights().items()
        if not name.startswith(("decoder", "mask_token"))
    }
    kept |= {"module.head.fc1.weight": torch.zeros(8, 800), "module.head.bn.running_mean": torch.zeros(8)}
    torch.save(kept, tmp_path / "finetuned.pth")
    arguments = ["convert-weights", "mamp", str(tmp_path / "finetuned.pth"), "--out", str(tmp_path / "e")]
    assert main([*arguments, "--heads", "4"]) == 0
    assert pooled_error(tmp_path / "e") < 1e-5
    assert "left out  head\n" in capsys.readouterr().out


class NotPlain:
    """What a checkpoint must not bring along."""


def foreign(tmp_path: Path, kind: str) -> Path:
    weights, path = released_weights(), tmp_path / f"{kind}.pth"
    if kind == "cut":
        write(path, weights)
        path.write_bytes(path.read_bytes()[:2000])
    elif kind == "text":
        path.write_text("not a checkpoint at all")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "object":
        write(path, weights, extra=NotPlain())
    elif kind == "other model":
        write(path, {"conv1.weight": torch.zeros(3, 3)})
    elif kind == "no weights":
        torch.save({"state": 3, "names": ["a"]}, path)
    elif kind == "list":
        torch.save([1, 2], path)
    elif kind == "joints":
        write(path, {**weights, "pos_embed": torch.zeros(1, 1, 17, 32)})
    elif kind == "block missing":
        write(path, {name: value for name, value in weights.items() if not name.startswith("blocks.1.")})
    elif kind == "patches of two joints":
        write(path, {**weights, "joints_embed.proj.weight": torch.zeros(32, 3, 4, 2)})
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "there is no such file"),
        ("cut", "cannot be read"),
        ("text", "it is damaged or of another kind"),
        ("empty", "cannot be read"),
        ("object", "NotPlain, and only tensors and plain values are read"),
        ("other model", "not a MAMP model: it has no 'joints_embed.proj.weight'"),
        ("no weights", "expected a dictionary with tensors under 'model', got one with the keys state, names"),
        ("list", "got a list"),
        ("joints", "expected the 25 joints of kinect_v2_25, got 17"),
        ("block missing", "do not make up one MAMP encoder"),
        ("patches of two joints", "expected patches of 3 coordinates, some frames and 1 joint"),
    ],
)
def test_what_is_no_released_file_is_named(
    tmp_path: Path, kind: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = foreign(tmp_path, kind)
    assert main(["convert-weights", "mamp", str(path), "--out", str(tmp_path / "e"), "--heads", "4"]) == 1
    error = capsys.readouterr().err
    assert str(path) in error
    assert message in error
    assert "Traceback" not in error
    assert "weights_only" not in error  # no advice to read it unsafely
    assert not (tmp_path / "e").exists()


def test_wrong_use_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "pretrained.pth", released_weights())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    for arguments, message in (
        (["amr", str(file), "--out", str(tmp_path / "e")], "released weights of mamp, got 'amr'"),
        (["mamp", str(file), "--out", str(tmp_path / "e"), "--heads", "5"], "--heads must divide the width"),
        (["mamp", str(file), "--out", str(tmp_path / "full"), "--heads", "4"], "thesis.txt"),
        (["mamp", str(file)], "missing: --out"),
    ):
        assert main(["convert-weights", *arguments]) == 2
        assert message in capsys.readouterr().err
