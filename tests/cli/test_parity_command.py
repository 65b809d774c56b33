from pathlib import Path

import numpy as np
import pytest

from marrow.cli.main import main


def test_recorded_mamp_passes_and_a_changed_weight_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded = Path(__file__).parents[1] / "golden" / "mamp_parity.npz"
    assert main(["parity", "mamp", str(recorded)]) == 0
    assert capsys.readouterr().out.splitlines()[-2] == "all within tolerance"

    with np.load(recorded) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["weights/decoder_pred.bias"] = arrays["weights/decoder_pred.bias"] + np.float32(1e-3)
    np.savez(tmp_path / "changed.npz", **arrays)
    assert main(["parity", "mamp", str(tmp_path / "changed.npz")]) == 1
    output = capsys.readouterr().out
    assert "prediction" in output
    assert "TOO LARGE" in output


def test_recorded_hi_trs_passes_and_a_changed_weight_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded = Path(__file__).parents[1] / "golden" / "hi_trs_parity.npz"
    assert main(["parity", "hi_trs", str(recorded)]) == 0
    assert capsys.readouterr().out.splitlines()[-2] == "all within tolerance"

    with np.load(recorded) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["weights/v_ft_reg.bias"] = arrays["weights/v_ft_reg.bias"] + np.float32(1e-3)
    np.savez(tmp_path / "changed.npz", **arrays)
    assert main(["parity", "hi_trs", str(tmp_path / "changed.npz")]) == 1
    failed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if "TOO LARGE" in line]
    assert "future_prediction" in failed
    assert "clip_logits" not in failed


def test_what_cannot_be_compared_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "other.npz", numbers=np.zeros(3))
    for arguments, message in (
        (["mamp", str(tmp_path / "missing.npz")], "missing.npz: cannot be read"),
        (["mamp", str(tmp_path / "other.npz")], "not a MAMP recording"),
        (["hi_trs", str(tmp_path / "other.npz")], "not a Hi-TRS recording"),
        (["ntu", str(tmp_path)], "expected: marrow parity ntu FOLDER_OF_SKELETON_FILES EXPECTED.npz"),
        (["nto", str(tmp_path)], "can compare mamp, hi_trs, ntu; got 'nto'"),
    ):
        assert main(["parity", *arguments]) in (1, 2)
        error = capsys.readouterr().err
        assert message in error
        assert "Traceback" not in error
