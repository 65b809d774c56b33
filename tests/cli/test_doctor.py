import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from marrow.cli.main import main
from marrow.doctor import Finding, Unanswered, ask, machine, packages, self_test


def _fake_package(folder: Path, name: str, code: str, *requires: str, version: str = "0.99.0") -> None:
    """Install a package that is nothing but a few lines."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(code)
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    lines = [
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        *(f"Requires-Dist: {one}\n" for one in requires),
    ]
    (info / "METADATA").write_text("".join(lines))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages that this process and those it starts can import; torch in it is a few lines as well."""
    folder = tmp_path / "site"
    _fake_package(folder, "torch", "", version="2.13.0")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


def _of(found: list[Finding], subject: str) -> Finding:
    [finding] = [each for each in found if each.subject == subject]
    return finding


def test_a_broken_torchvision_is_named_with_its_error_and_the_mend(site: Path) -> None:
    code = "raise RuntimeError('operator torchvision::nms does not exist')"
    _fake_package(site, "torchvision", code, "torch==2.13.0")
    [finding] = packages._companion("torchvision")
    assert finding.level == "WARN"
    assert "0.99.0 cannot be imported: RuntimeError: operator torchvision::nms does not exist" in finding.text
    assert "pip uninstall torchvision" in finding.mend


def test_a_companion_that_takes_python_down_takes_only_its_own_process(site: Path) -> None:
    _fake_package(site, "torchaudio", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    [finding] = packages._companion("torchaudio")
    assert (finding.level, "killed by signal 11" in finding.text) == ("WARN", True)


def test_a_companion_for_another_torch_is_a_mismatch(site: Path) -> None:
    _fake_package(site, "torchvision", "", "torch==2.5.1")
    [finding] = packages._companion("torchvision")
    assert finding.level == "WARN"
    assert "0.99.0 was made for torch==2.5.1, here is 2.13.0" in finding.text


def test_a_companion_that_fits_passes_and_an_absent_one_is_no_finding(site: Path) -> None:
    _fake_package(site, "torchvision", "", "torch==2.13.0")
    assert [finding.level for finding in packages._companion("torchvision")] == ["PASS"]
    assert packages._companion("torchaudio") == []


def test_a_torch_that_cannot_be_imported_is_a_failure(site: Path) -> None:
    (site / "torch.py").write_text("raise ImportError('libcudart.so.13: cannot open shared object file')")
    finding = _of(packages.examine_packages(), "torch")
    assert finding.level == "FAIL"
    assert "libcudart.so.13" in finding.text
    assert finding.mend


def test_versions_are_compared_with_what_marrow_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"numpy": "1.20.0", "torch": "2.13.0+cpu", "lightning": "2.6.2"}
    monkeypatch.setattr(
        packages, "requires", lambda name: ["numpy>=1.26", "torch>=2.6", "rich>=13", "pytest; extra == 'dev'"]
    )
    monkeypatch.setattr(packages, "_installed", there.get)
    found = packages._requirements()
    assert [finding.level for finding in found] == ["FAIL", "FAIL", "FAIL"]
    assert [finding.text for finding in found[:2]] == ["numpy 1.20.0, needed: >=1.26", "rich is missing, needed: >=13"]
    assert found[0].mend == 'pip install "numpy>=1.26"'
    assert "tampered" in found[2].text


def test_extras_are_listed_without_those_for_developers(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = ["ezc3d>=1; extra == 'c3d'", "viser; extra == 'viewer'", "pytest; extra == 'dev'"]
    monkeypatch.setattr(packages, "requires", lambda name: declared)
    monkeypatch.setattr(packages, "_installed", {"viser": "1.0"}.get)
    assert [(finding.subject, finding.text) for finding in packages._extras()] == [
        ("extra c3d", "ezc3d not installed"),
        ("extra viewer", "viser 1.0"),
    ]


def _facts(**changes: Any) -> dict[str, Any]:
    facts = {
        "version": "2.13.0+cpu",
        "cuda_build": None,
        "capability": "AVX512",
        "threads": 1,
        "gpus": [],
        "mps": False,
    }
    return facts | {"device": "cpu", "precision": "fp32 chosen: because"} | changes


def test_devices_precision_and_threads_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "usable_cores", lambda: 4)
    monkeypatch.setattr(packages, "_has_nvidia_device", lambda: False)
    assert {finding.level for finding in packages._torch(_facts())} == {"PASS"}
    assert _of(packages._torch(_facts()), "precision auto").text == "on cpu: fp32 chosen: because"
    assert _of(packages._torch(_facts(threads=8)), "threads").level == "WARN"
    gpu = {"name": "H200", "bytes": 140 * 2**30, "bf16": True}
    assert _of(packages._torch(_facts(gpus=[gpu])), "devices").text == "H200, 140 GiB, bf16"
    monkeypatch.setattr(packages, "_has_nvidia_device", lambda: True)
    unused = _of(packages._torch(_facts()), "devices")
    assert (unused.level, "CPU build" in unused.text) == ("WARN", True)


def test_full_disks_and_little_memory_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def free(gib: float) -> None:
        monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: SimpleNamespace(free=int(gib * 2**30)))

    for gib, level in ((50.0, "PASS"), (2.0, "WARN"), (0.1, "FAIL")):
        free(gib)
        assert machine._disk("disk", tmp_path).level == level
    free(0.06)
    shared = machine._shared_memory(tmp_path)
    assert (shared.level, "--loader resident" in shared.mend) == ("WARN", True)
    monkeypatch.setattr(machine, "_read", lambda path: "MemTotal: 8388608 kB\nMemAvailable: 1048576 kB\n")
    assert machine._memory().text == "1.0 of 8.0 GiB free"
    assert machine._memory().level == "WARN"


def test_a_container_s_limits_count(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"cpu.max": "150000 100000\n", "memory.max": str(4 * 2**30), "memory.current": str(3 * 2**30)}
    files["meminfo"] = "MemTotal: 67108864 kB\nMemAvailable: 33554432 kB\n"
    monkeypatch.setattr(machine, "_read", lambda path: files.get(path.name, ""))
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    assert machine.usable_cores() == 1
    assert machine._memory().text == "1.0 of 4.0 GiB free"


def test_a_folder_without_permission_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**about: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(machine.tempfile, "NamedTemporaryFile", refuse)
    assert machine._writable("this folder", tmp_path, "WARN").level == "WARN"
    temporary = machine._writable("temporary folder", tmp_path, "FAIL")
    assert (temporary.level, "TMPDIR" in temporary.mend) == ("FAIL", True)


def test_a_folder_that_is_gone_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    [finding] = machine.examine_machine()
    assert (finding.level, finding.subject, finding.mend) == ("FAIL", "this folder", "go to another folder")


def test_another_encoding_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.locale, "getpreferredencoding", lambda set_it: "cp1252")
    finding = machine._names(tmp_path)
    assert (finding.level, "PYTHONUTF8=1" in finding.mend) == ("WARN", True)


def test_questions_to_other_processes_have_answers_or_say_why_not() -> None:
    assert ask("import json, sys; print('noise'); print(json.dumps(sys.argv[1:]))", "ä") == ["ä"]
    with pytest.raises(Unanswered, match="ZeroDivisionError"):
        ask("1 / 0")
    with pytest.raises(Unanswered, match="exit status 3"):
        ask("raise SystemExit(3)")
    with pytest.raises(Unanswered, match="expected JSON, got 'hello"):
        ask("print('hello')")
    with pytest.raises(Unanswered, match="no answer within"):
        ask("import time; time.sleep(30)", timeout_seconds=0.2)


def test_a_file_beside_the_user_cannot_pass_for_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError('not me')")
    monkeypatch.chdir(tmp_path)
    assert ask("import json; print(json.dumps(1))") == 1


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Finding]]:
    """What the three examinations find, to be changed by a test."""
    found = {"machine": [Finding("PASS", "memory", "enough")], "packages": list[Finding](), "trial": list[Finding]()}
    monkeypatch.setattr(machine, "examine_machine", lambda: found["machine"])
    monkeypatch.setattr(packages, "examine_packages", lambda: found["packages"])
    monkeypatch.setattr(self_test, "examine_by_trying", lambda: found["trial"])
    return found


def test_the_command_prints_findings_with_their_mends(
    examined: dict[str, list[Finding]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "PASS  memory           enough",
        "",
        "marrow works here, and nothing is in the way",
        "next: marrow demo",
    ]
    examined["packages"].append(Finding("WARN", "torchvision", "is [broken]", "pip uninstall torchvision"))
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "WARN  torchvision      is [broken]",
        "                       to do: pip uninstall torchvision",
        "",
        "marrow works here; 1 to look at",
        "next: marrow demo",
    ]
    examined["trial"].append(Finding("FAIL", "self-test", "broke off", "mend it"))
    assert main(["doctor"]) == 1
    assert "1 failed, 1 to look at" in capsys.readouterr().out
    assert main(["doctor", "--no-self-test"]) == 0


def test_json_is_all_that_is_printed(examined: dict[str, list[Finding]], capsys: pytest.CaptureFixture[str]) -> None:
    examined["machine"].append(Finding("FAIL", "disk", "full", "free some"))
    assert main(["doctor", "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed["ok"] is False
    assert printed["findings"][1] == {"level": "FAIL", "subject": "disk", "text": "full", "mend": "free some"}


def test_a_self_test_that_breaks_off_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **named: Any) -> Any:
        raise Unanswered("killed by signal 9")

    monkeypatch.setattr(self_test, "ask", fail)
    [finding] = self_test.examine_by_trying()
    assert (finding.level, finding.text) == ("FAIL", "broke off: killed by signal 9")


def test_the_first_stage_that_fails_is_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path, results: dict[str, Any]) -> str:
        raise OSError("no space left")

    def never(folder: Path, results: dict[str, Any]) -> str:
        raise AssertionError

    stages = {"prepare": lambda folder, results: "fine", "pretrain": fail, "evaluate": never}
    monkeypatch.setattr(self_test, "_STAGES", stages)
    passed, failed = self_test.stages(str(tmp_path))
    assert (passed[0], passed[1][:13]) == ("PASS", "prepare: fine")
    assert failed == ("FAIL", "pretrain: OSError: no space left")


@pytest.mark.slow
def test_the_whole_examination_on_this_machine(tmp_path: Path) -> None:
    code = "raise RuntimeError('operator torchvision::nms does not exist')"
    _fake_package(tmp_path / "site", "torchvision", code)
    done = subprocess.run(
        [sys.executable, "-m", "marrow", "doctor", "--json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
    )
    printed = json.loads(done.stdout)
    levels = {finding["subject"]: finding["level"] for finding in printed["findings"]}
    assert levels["torchvision"] == "WARN"
    trial = [finding for finding in printed["findings"] if finding["subject"] == "self-test"]
    assert [finding["level"] for finding in trial] == ["PASS"] * 4, trial
    assert "bit for bit" in trial[-1]["text"]
    # What else this machine lacks is not for a test to say; but the status must follow from it.
    assert done.returncode == (0 if printed["ok"] else 1)
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
