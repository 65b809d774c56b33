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
