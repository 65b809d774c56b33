"""The last line of a command is a command that works: followed from one to the next."""

import shlex
from pathlib import Path

import pytest

from marrow.cli.main import main, parse_command


def test_every_last_line_leads_to_the_next_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> list[str]:
        """Run a command; return the one that its last line names, in words."""
        assert main([*words]) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        assert last.startswith("next: ")
        return shlex.split(last.removeprefix("next: marrow "))

    small = ["--encoder.width", "8", "--encoder.depth", "1", "--encoder.heads", "2", "--objective.decoder_width", "8"]
    small += ["--objective.decoder_heads", "2", "--batch_clips", "4", "--max_steps", "2"]
    inspect = run("prepare", "synthetic", "--out", "store", "--options.subjects", "2", "--jobs", "1")
    assert inspect == ["inspect", "store"]
    pretrain = run(*inspect)
    assert pretrain[0] == "pretrain"
    evaluate = run(*pretrain, *small)
    assert evaluate[0] == "evaluate"
    report = run(*evaluate, "--tasks", "knn", "--baselines", "none")
    assert report[0] == "report"
    page = run(*report, "--no_clips")
    assert (tmp_path / "report.html").is_file()
    assert str(tmp_path / "report.html") in page
    tune = run("evaluate", "general", "--store", "store", "--protocol", "xsub", "--tasks", "knn", "--baselines", "none")
    assert parse_command(tune[0], tune[1:]).run == Path("general")
