"""`marrow evaluate --keep`, and the commands that its last lines name."""

import json
from pathlib import Path

import pytest

from marrow.cli.main import main
from marrow.data.window import InputConfig
from marrow.models.export import save_encoder
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.store.memory import write_store
from marrow.testing.detection import detection_data


def test_what_was_kept_finds_segments_and_continues(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = detection_data(tmp_path / "store")
    config = PatchTransformerConfig(width=8, depth=1, heads=2, patch_frames=4)
    encoder = PatchTransformer(config, InputConfig(window_frames=8, test_crop=1.0), data.store.skeleton).fresh(0)
    save_encoder(encoder, tmp_path / "run" / "encoder", {"steps": 1})
    where = [str(tmp_path / "run"), "--store", str(data.store.path), "--protocol", "k-fold:2#0"]
    words = ["evaluate", *where, "--baselines", "none", "--quick", "--device", "cpu", "--keep", str(tmp_path / "kept")]
    prediction = ["--motion_prediction.observed_frames", "20"]
    assert main([*words, "--tasks", "action_detection,motion_prediction", *prediction]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("next: ")]
    assert len(lines) == 2

    segments = lines[0].removeprefix("next: marrow ").replace("FILE_OR_FOLDER", str(data.store.path)).split()
    out = tmp_path / "segments.jsonl"
    assert main([*segments, "--json", str(out)]) == 0
    said = [json.loads(line) for line in out.read_text().splitlines()]
    assert {line["recording"] for line in said} == set(data.store.ids)
    records = [data.store.sequence(row).record for row in range(len(data.store))]
    paths = {record.id: record.path or None for record in records}
    assert all(line["raw_file"] == paths[line["recording"]] for line in said)

    single = write_store(tmp_path / "single", [data.store.sequence(0)], source="test", classes=data.store.classes)
    ahead = lines[1].removeprefix("next: marrow ").replace("FILE", str(single.path)).split()
    ahead[-1] = str(tmp_path / "ahead.csv")
    capsys.readouterr()
    assert main(ahead) == 0
    assert "mm at 400 ms" in capsys.readouterr().out
    assert (tmp_path / "ahead.csv").exists()

    for arguments, message in (
        (["predict", str(tmp_path / "kept/action_detection"), str(single.path)], "--segments"),
        ([*segments, "--every", "2"], "leave out --every"),
        (["predict", str(tmp_path / "run"), str(single.path), "--segments"], "--keep"),
        ([*ahead[:-2], "--out", str(tmp_path / "a.txt")], ".npz or .csv"),
        ([*ahead], "--overwrite"),
        ([*words, "--tasks", "knn"], "--keep keeps what"),
        ([*words[:5], "k-fold:2", *words[6:], "--tasks", "action_detection"], "one fold"),
    ):
        assert main(arguments) in (1, 2)
        error = capsys.readouterr().err
        assert message in error, arguments
        assert "fault of marrow" not in error
