import subprocess
import sys

import pytest
from toy_source import Toy, write_files

from marrow.cli import prepare as command
from marrow.cli.arguments import parse
from marrow.errors import ConfigError, ParseError
from marrow.store import Store


@pytest.fixture
def with_toy(monkeypatch):
    monkeypatch.setattr(command, "reader_names", lambda: ["nw_ucla", "ntu", "toy"])
    original = command.get_reader_class
    monkeypatch.setattr(command, "get_reader_class", lambda name: Toy if name == "toy" else original(name))


def prepare(*arguments):
    return command.run(parse(command.build_parser(), [str(argument) for argument in arguments]))


@pytest.mark.usefixtures("with_toy")
def test_it_prepares_and_says_what_came_of_it(tmp_path, capsys):
    write_files(tmp_path / "raw", 5)
    (tmp_path / "raw" / "003.toy").write_text("empty")
    out = tmp_path / "store"
    assert prepare("toy", tmp_path / "raw", "--out", out, "--jobs", "1", "--options.scale", "2") == 0
    output = capsys.readouterr().out
    assert f"{out}: 4 clips (1 shard made in" in output
    assert "1 recording dropped" in output
    assert "1  nobody is seen" in output
    assert output.splitlines()[-1] == f"next: marrow inspect {out}"
    assert Store.open(out).options == {"seconds_per_clip": 0.0, "scale": 2.0}


@pytest.mark.usefixtures("with_toy")
def test_a_malformed_file_stops_it_or_is_dropped(tmp_path, capsys):
    write_files(tmp_path / "raw", 3)
    (tmp_path / "raw" / "001.toy").write_text("gibberish")
    with pytest.raises(ParseError, match=r"expected a seed, got 'gibberish'.*--on_error drop"):
        prepare("toy", tmp_path / "raw", "--out", tmp_path / "store", "--jobs", "1")
    assert prepare("toy", tmp_path / "raw", "--out", tmp_path / "store", "--jobs", "1", "--on-error", "drop") == 0
    assert "1  expected a seed, got 'gibberish'" in capsys.readouterr().out


@pytest.mark.usefixtures("with_toy")
def test_an_interruption_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    def interrupted(*_arguments, **_settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "convert_recordings", interrupted)
    assert prepare("toy", tmp_path, "--out", tmp_path / "store") == 130
    assert "run the same command to go on" in capsys.readouterr().err


@pytest.mark.usefixtures("with_toy")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["toy", "--out", "x"], "the reader 'toy' needs the folder of the recordings: marrow prepare toy ROOT --out x"),
        (
            ["toy", "raw", "--out", "x", "--options.version", "60"],
            "'toy' has no option --options.version. It has --opt",
        ),
        (["nw-ucla", "raw", "--out", "x"], "unknown reader 'nw-ucla'. Did you mean 'nw_ucla'?"),
    ],
)
def test_wrong_usage_is_explained(arguments, message):
    with pytest.raises(ConfigError) as caught:
        prepare(*arguments)
    assert message in str(caught.value)


def test_help_shows_the_options_of_the_named_reader_alone():
    everything = command.build_parser().format_help()
    assert "--options.unit_metres" in everything
    of_ntu = command.build_parser(["ntu", "--help"]).format_help()
    assert "--options.version" in of_ntu
    assert "--options.unit_metres" not in of_ntu


TOY_FILE = """
from toy_source import Toy as Mine
"""


def test_a_reader_in_a_file_is_given_as_reader_or_by_an_option(tmp_path):
    write_files(tmp_path / "raw", 3)
    file = tmp_path / "toy_reader_of_a_test.py"
    file.write_text(TOY_FILE)
    for number, reader in enumerate(([f"{file}:Mine"], ["--reader", f"{file}:Mine"])):
        out = tmp_path / f"store{number}"
        words = [str(argument) for argument in [*reader, tmp_path / "raw", "--out", out, "--options.scale", "2"]]
        assert command.run(parse(command.build_parser(words), words)) == 0
        assert len(Store.open(out)) == 3


@pytest.mark.parametrize("module", ["marrow.store.summary", "marrow.cli.prepare", "marrow.cli.inspect"])
def test_data_commands_start_without_heavy_imports(module):
    program = (
        f"import sys, {module} as m\n"
        "m.build_parser() if hasattr(m, 'build_parser') else None\n"
        "print([name for name in ('torch', 'sklearn', 'pyarrow', 'joblib', 'plotly') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"
