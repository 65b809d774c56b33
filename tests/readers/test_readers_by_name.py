"""Readers are found by name, their own or that of an installed package."""

import dataclasses
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest

import marrow.extensions
from marrow.errors import ConfigError
from marrow.readers import READERS, Reader, get_reader, get_reader_class, reader_names


@pytest.mark.parametrize("name", sorted(READERS))
def test_every_reader_is_a_frozen_dataclass_with_defaults(name):
    kind = get_reader_class(name)
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    reader = get_reader(name)
    assert isinstance(reader, Reader)
    assert reader.name == name


def test_unknown_name_gets_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown reader 'nwucla'. Did you mean 'nw_ucla'\? Known readers: .*ntu"):
        get_reader("nwucla")
    with pytest.raises(ConfigError, match=r"unknown reader 'zzz'\. Known readers"):
        get_reader("zzz")


def test_options_are_those_of_the_reader():
    assert get_reader("synthetic", subjects=3).subjects == 3
    with pytest.raises(ConfigError, match=r"reader 'synthetic' has no option 'subject'\. It has subjects, repetitions"):
        get_reader("synthetic", subject=3)


def test_out_of_tree_readers(monkeypatch):
    group = "marrow.readers"
    points = EntryPoints(
        (EntryPoint("mine", "marrow.readers.nw_ucla:NWUCLA", group), EntryPoint("gone", "not_there:X", group))
    )
    monkeypatch.setattr(marrow.extensions, "entry_points", lambda **wanted: points.select(**wanted))
    assert {"mine", "gone", "ntu"} <= set(reader_names())
    assert get_reader("mine").name == "nw_ucla"
    with pytest.raises(ConfigError, match=r"'gone' .* cannot be imported"):
        get_reader("gone")


def test_classes_come_without_numba_and_torch():
    code = (
        "import sys; from marrow.readers import get_reader; get_reader('ntu'), get_reader('nw_ucla');"
        "print(sorted({'numba', 'torch'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_an_unknown_name_leads_to_import_and_to_readers_of_ones_own():
    with pytest.raises(ConfigError, match=r"marrow import.*add-a-reader.md.*write_store"):
        get_reader("csv")


READER_FILE = '''
from dataclasses import dataclass
from marrow.readers.nw_ucla import NWUCLA

@dataclass(frozen=True)
class Mine(NWUCLA):
    """A reader in a file.

    Args:
        scale: of a test.
    """
    scale: float = 1.0
'''


def test_a_reader_in_a_file_needs_no_package(tmp_path):
    file = tmp_path / "my_reader_of_a_test.py"
    file.write_text(READER_FILE)
    assert get_reader(f"{file}:Mine", scale=2.0).scale == 2.0
    with pytest.raises(ConfigError, match="Its dataclasses: Mine"):
        get_reader(f"{file}:Yours")
    with pytest.raises(ConfigError, match="there is no file"):
        get_reader(f"{tmp_path}/other.py:Mine")
    named_as_another = tmp_path / "json.py"
    named_as_another.write_text(READER_FILE)
    with pytest.raises(ConfigError, match="another name"):
        get_reader(f"{named_as_another}:Mine")
    broken = tmp_path / "broken_reader_of_a_test.py"
    broken.write_text("raise RuntimeError('no')")
    with pytest.raises(ConfigError, match="RuntimeError: no"):
        get_reader(f"{broken}:Mine")
