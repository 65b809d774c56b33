"""The tool that damages files (`make fuzz`): every format has good files for it, and a moment of it finds nothing."""

import os
import time
from random import Random

import fuzz
import pytest
from mutations import damaged
from samples import FORMAT_SAMPLES, READER_SAMPLES

from marrow.importing.detect import FORMATS
from marrow.readers import READERS

KINDS = {kind.name: kind for kind in fuzz.kinds()}
OTHERS = [content for kind in KINDS.values() for case in kind.cases for content in case.values()]


def test_every_format_and_reader_has_good_files():
    assert set(FORMATS) <= set(FORMAT_SAMPLES), "put good files of a new format into tests/importing/samples.py"
    assert set(READERS) - {"synthetic"} == set(READER_SAMPLES)


@pytest.mark.parametrize("name", KINDS)
def test_good_files_are_read(name, tmp_path):
    for number, case in enumerate(KINDS[name].cases):
        folder = tmp_path / str(number)
        fuzz.write_files(folder, case)
        for told in (False, True):
            assert fuzz.read_files(KINDS[name], folder, told)


@pytest.mark.parametrize("name", KINDS)
def test_damaged_files_are_read_or_refused(name, tmp_path):
    for number in range(60):
        files, told = fuzz.make_input(KINDS[name], OTHERS, seed=1, number=number)
        folder = tmp_path / str(number)
        fuzz.write_files(folder, files)
        fuzz.try_to_read(KINDS[name], folder, told)


def test_inputs_follow_from_their_number():
    kind = KINDS["bvh"]
    again = [fuzz.make_input(kind, OTHERS, 0, number) for number in range(50)]
    assert again == [fuzz.make_input(kind, OTHERS, 0, number) for number in range(50)]
    assert len({str(made) for made in again}) > 40
    assert damaged({"a": b""}, OTHERS, Random(0)).keys()


class Faulty:
    """A stand-in for reading that has every kind of fault, by the number of the input."""

    def __call__(self, kind, folder, told):
        if not folder.name.isdigit():
            return True
        number = int(folder.name)
        if number == 1:
            raise IndexError("a fault")
        if number == 2:
            os._exit(3)
        if number == 3:
            time.sleep(60)
        if number == 4:
            bytearray(1 << 33)
        return number % 2 == 0


def test_findings_are_counted_and_kept(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(fuzz, "read_files", Faulty())
    monkeypatch.setattr(fuzz, "_LIMIT_SECONDS", 5.0)
    out = tmp_path / "findings"
    code = fuzz.main(["--only", "bvh", "--inputs", "8", "--seconds", "600", "--out", str(out)])
    said = capfd.readouterr().out
    assert code == 1
    table = next(line for line in said.splitlines() if line.startswith("bvh")).split()
    assert table[:5] == ["bvh", "8", "2", "2", "4"]
    texts = {path.name: (path / "finding.txt").read_text() for path in out.iterdir()}
    for number, word in ((1, "IndexError"), (2, "ended"), (3, "longer"), (4, "MemoryError")):
        assert word in texts[f"bvh-0-{number}"]
    assert "--only 'bvh' --seed 0 --first 1 --inputs 1" in texts["bvh-0-1"]
    assert list((out / "bvh-0-1" / "input").iterdir())


def test_a_moment_without_findings(tmp_path, capfd):
    assert fuzz.main(["--only", "bvh", "--seconds", "0.5", "--out", str(tmp_path / "findings")]) == 0
    assert not (tmp_path / "findings").exists()
    assert "findings" in capfd.readouterr().out
