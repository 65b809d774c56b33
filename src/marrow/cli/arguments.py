"""What all commands share in parsing: jsonargparse, used directly, and messages that name the nearest valid option.

Parsers raise `argparse.ArgumentError` instead of exiting; `marrow.cli.main` turns that into one message and status 2.
No option, and no field of a dataclass that becomes options, may be called `config`: jsonargparse would take
`--config.lr 5` for a file to load and drop the value without a word.
"""

import difflib
import re
from argparse import ArgumentError
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ActionConfigFile, ArgumentParser, DefaultHelpFormatter, Namespace

from marrow.cli.examples import example_text
from marrow.errors import ConfigError, MarrowError, did_you_mean
from marrow.files import check_writable


def make_parser(prog: str, description: str) -> ArgumentParser:
    """Return an empty parser for one command, whose help ends with the command's worked example.

    Args:
        prog: how the command is called, for example "marrow prepare".
        description: what it does, in a sentence or two.
    """
    return ArgumentParser(
        prog=prog,
        description=description,
        epilog=example_text(prog.removeprefix("marrow ")),
        exit_on_error=False,
        allow_abbrev=False,
        print_config="--print_config",
        default_env=False,
        formatter_class=_HelpFormatter,
    )


def add_recipe_option(parser: ArgumentParser, option: str = "--recipe", left_out: Sequence[str] = ()) -> None:
    """Add an option that takes a recipe's name or a YAML file, and with it `--print_config`.

    Settings on the command line after it win over those in it.

    Args:
        parser: of the command.
        option: how it is called.
        left_out: settings that are not taken from a recipe, because a person has given them or others in their place.
    """
    action = parser.add_argument(
        option,
        action=_RecipeAction,
        help=f"settings to start from: a YAML file, or one of {', '.join(recipe_names())}",
    )
    assert isinstance(action, _RecipeAction)
    action.left_out = tuple(left_out)


def recipe_names() -> list[str]:
    """Return the names of the recipes that marrow ships."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _recipes() if entry.name.endswith(".yaml"))


def recipe_path(name_or_file: str) -> Path:
    """Return the file of a shipped recipe, or the given file itself.

    Raises:
        ConfigError: it is neither.
    """
    path = Path(name_or_file)
    if path.is_file():
        return path
    for entry in _recipes():
        if entry.name == f"{name_or_file.removesuffix('.yaml')}.yaml":
            return Path(str(entry))
    hint = did_you_mean(name_or_file, recipe_names())
    raise ConfigError(f"no recipe and no file is called {name_or_file!r}.{hint} Recipes: {', '.join(recipe_names())}")


def parse(parser: ArgumentParser, argv: Sequence[str]) -> Namespace:
    """Parse a command line.

    Args:
        parser: of one command.
        argv: what follows the command's name. Hyphens in option names count as underscores.

    Raises:
        ArgumentError: with the nearest valid name where an option or a setting is unknown.
    """
    try:
        return parser.parse_args(_underscored(argv, parser))
    except ArgumentError as error:
        hint = f"\nmarrow: `{parser.prog} --help` lists the options"
        raise ArgumentError(None, _plainly(str(error), parser) + hint) from error


def check_page(path: Path, option: str = "--out") -> None:
    """Raise a ConfigError where an HTML page cannot go: said before an hour's work, and no other file is lost to it."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{option} is an HTML page and must end in .html, got {str(path)!r}")
    if path.is_dir():
        raise ConfigError(f"{option} must be a file, {path} is a folder")
    check_writable(path)


def instantiated(parser: ArgumentParser, arguments: Namespace) -> dict[str, Any]:
    """Return parsed arguments with the dataclasses among them made.

    Raises:
        ConfigError: a setting is out of range, or at odds with another.
    """
    try:
        return parser.instantiate(arguments).as_dict()
    except MarrowError:
        raise
    except ValueError as error:  # where a setting may also be null, jsonargparse lists what each type has against it
        first = _ERROR_IN_SEVERAL.search(str(error))
        raise ConfigError(first["first"] if first else str(error)) from error


class _HelpFormatter(DefaultHelpFormatter):
    """Says of an option what it means and its default; its type only where that tells a person something."""

    def _expand_help(self, action: Any) -> str:
        text = super()._expand_help(action)
        for pattern, plain in _PLAINER_HELP:
            text = pattern.sub(plain, text)
        return text

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Fold a description; an example stays in its lines, so that it can be copied."""
        return text if "\n" in text else super()._fill_text(text, width, indent)


# In the help of jsonargparse: types that default, choices or words tell already, and defaults that are no value.
_PLAINER_HELP = (
    (re.compile(r"type: Union\[(?:int, )?Literal\[[^\]]*\](?:, bool)?\], "), ""),
    (re.compile(r"type: (?:<class '(?:\w+\.)*\w+'>|\w+|Literal\[[^\]]*\])(?: \| null)?(?:, |(?=\)))"), ""),
    (re.compile(r"default: None(?=\))"), "default: null"),
    (re.compile(r"\bNone\b"), "null"),
    (re.compile(r"(?:, |(?<=\())default: null(?=\))"), ""),
    (re.compile(r"\(required, \)"), "(required)"),
    (re.compile(r" ?\(\)"), ""),
)


class _RecipeAction(ActionConfigFile):
    """A configuration file that may be given by a recipe's name."""

    left_out: tuple[str, ...] = ()

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        from marrow.train.run_directory import without_removed  # numpy, which a list of options does without

        path = recipe_path(str(values))
        settings = _settings_in(path)
        # The file of an older run may hold settings that are no more.
        still_there = without_removed(settings, path)
        before = {name: cfg.get(name) for name in self.left_out}
        try:
            given = str(path) if still_there == settings else yaml.safe_dump(still_there)
            super().__call__(parser, cfg, given, option_string)
        except (ArgumentError, TypeError) as error:
            raise ArgumentError(None, f"{path}: {str(error).splitlines()[0]}") from error
        for name, value in before.items():
            cfg[name] = value


def _settings_in(path: Path) -> dict[str, Any]:
    """Read settings by name; raise an ArgumentError where a file does not hold any."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ArgumentError(None, f"{path}: expected a YAML file with settings, this is no text") from error
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = f"{path}:{place.line + 1}" if place else str(path)
        problem = getattr(error, "problem", None) or error
        raise ArgumentError(None, f"{where}: cannot be read as YAML: {problem}") from error
    if not isinstance(values, dict):
        raise ArgumentError(None, f"{path}: expected settings, one `name: value` in a line; got {str(values)[:60]!r}")
    return values


def _recipes() -> list[Any]:
    return list(files("marrow.recipes").iterdir())


def _options(parser: ArgumentParser) -> list[str]:
    return [option for action in parser._actions for option in action.option_strings if option.startswith("--")]


def _underscored(argv: Sequence[str], parser: ArgumentParser) -> list[str]:
    """Spell option names as the parser has them; values stay as they are."""
    known = {option[2:].replace("-", "_"): option for option in _options(parser)}
    result: list[str] = []
    for place, argument in enumerate(argv):
        if argument == "--":
            return result + list(argv[place:])
        if argument.startswith("--"):
            name, equals, value = argument[2:].partition("=")
            name = name.replace("-", "_")
            argument = known.get(name, f"--{name}") + equals + value
        result.append(argument)
    return result


# The complaints of jsonargparse that hold a name which the parser does not know.
_UNKNOWN_NAMES = re.compile(
    r"unrecognized arguments: (?P<option>--[\w.\-]+)"
    r"|Group '(?P<group>[\w.]+)' does not accept option '(?P<field>[\w.\-]+)'"
    r"|Option '(?P<key>[\w.\-]+)' is not accepted"
)
# And that hold a value of the wrong kind.
_WRONG_VALUE = re.compile(
    r"Parser key \"(?P<key>[\w.]+)\":\s+Expected an? (?P<kind>.+?)\. Got value: (?P<value>.*)", re.S
)


_WRONG_FOR_SEVERAL = re.compile(
    r'Parser key "(?P<key>[\w.]+)":.*?Errors:\n\s+- (?P<first>Expected [^\n]*).*Given value: (?P<value>.*)', re.S
)
_MISSING = re.compile(r"the following arguments are required: (?P<names>.*)")
_ERROR_IN_SEVERAL = re.compile(r"Errors:\n  - (?P<first>.*)")


def _as_typed(name: str, parser: ArgumentParser) -> str:
    """Return how a person gives an argument: `--out`, or the capital letters of one without a name."""
    for action in parser._actions:
        if action.dest == name:
            metavar = action.metavar if isinstance(action.metavar, str) else name.upper()
            return action.option_strings[0] if action.option_strings else metavar
    return name


def _plainly(message: str, parser: ArgumentParser) -> str:
    """Say a complaint of jsonargparse in the words of the command line, with the nearest valid name."""
    several = _WRONG_FOR_SEVERAL.match(message)
    if several:
        message = f'Parser key "{several["key"]}":\n  {several["first"]}. Got value: {several["value"]}'
    wrong = _WRONG_VALUE.fullmatch(message)
    if wrong:
        kind = re.sub(r"<class '([\w.]+)'>|typing\.", r"\1", wrong["kind"])
        kind = re.sub(r"Literal\[(.*?)\]", lambda choices: f"one of {choices[1].replace(chr(39), '')}", kind)
        return f"--{wrong['key']}: expected {kind}, got {wrong['value']!r}"
    missing = _MISSING.fullmatch(message)
    if missing:
        return f"missing: {', '.join(_as_typed(name, parser) for name in missing['names'].split(', '))}"
    unknown = _UNKNOWN_NAMES.search(message)
    if unknown:
        name = unknown["option"] or "--" + ".".join(filter(None, (unknown["group"], unknown["field"], unknown["key"])))
        near = _nearest(name, _options(parser))
        if near:
            message += f"\nmarrow: did you mean {near}?"
    return message


def _nearest(name: str, options: Sequence[str]) -> str | None:
    """Return the option that is spelt most like a name, or whose last part is ("--lr" for "--optim.lr")."""
    near = difflib.get_close_matches(name, options, n=1, cutoff=0.7)
    if near:
        return near[0]
    last_parts = {option.removeprefix("--").rpartition(".")[2]: option for option in reversed(options)}
    near = difflib.get_close_matches(name.removeprefix("--"), last_parts, n=1, cutoff=0.7)
    return last_parts[near[0]] if near else None


def add_transfer_options(parser: ArgumentParser) -> None:
    """Add `--transfer` and `--joints`: for a store of another skeleton than the encoder's."""
    parser.add_argument(
        "--transfer",
        action="store_true",
        help="where the store has another skeleton, adapt the encoder to it: joints are matched by name, those that it "
        "has never seen begin untrained",
    )
    parser.add_argument(
        "--joints",
        type=dict[str, str | None] | None,
        default=None,
        help="which joint of the encoder is which of the store, where names do not tell: "
        """'{"joint of the store": "joint of the encoder", ...}'""",
    )


def transfer_of(arguments: Namespace) -> bool | dict[str, str | None]:
    """Return what `--transfer` and `--joints` ask for."""
    return arguments.transfer if arguments.joints is None else arguments.joints
