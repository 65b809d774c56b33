"""`marrow pretrain`: learn an encoder from a store, without labels."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace
from lightning_fabric.utilities.rank_zero import rank_zero_only

from marrow.cli.arguments import add_recipe_option, make_parser, recipe_names, recipe_path
from marrow.cli.main import EXIT_INTERRUPTED
from marrow.cli.next_step import say_what_a_run_is_for
from marrow.data.pool import StoreChoice, choices_in, parse_choice
from marrow.objectives import objective_names
from marrow.pretrain_config import LIMITS, PretrainConfig, add_settings, config_of
from marrow.pretraining import pretrain
from marrow.store.format import Store
from marrow.train.logs import read_log
from marrow.train.verdict import judge

_DEFAULT_METHOD = "mamp"


def build_parser(arguments: Sequence[str] = ()) -> ArgumentParser:
    """Return the parser of the command: a recipe, and every setting of a run with the method that is asked for.

    Args:
        arguments: of the command line, which are looked through for the method.
    """
    parser = make_parser(
        "marrow pretrain",
        "Learn an encoder from the clips of a store, without their labels. The run directory holds everything; the "
        "same command goes on where an interrupted run stopped, and with a larger limit extends one. Limits that are "
        f"given ({', '.join(f'--{name}' for name in LIMITS)}) take the place of all those of the recipe. The options "
        "--objective.* and --encoder.* are those of the method, which --method or the recipe names "
        f"({', '.join(objective_names())}; without either: {_DEFAULT_METHOD}).",
    )
    given = _given_limits(arguments)
    add_recipe_option(parser, left_out=(*LIMITS[1:], "ends_at_epochs", *given) if given else ())
    add_settings(parser, _method_in(arguments))
    parser.set_defaults(ends_at_epochs=not given or "epochs" in given)
    for action in parser._actions:
        if action.dest == "profile":  # the word alone means yes
            action.nargs, action.const = "?", True
    return parser


def rewritten(arguments: Sequence[str]) -> list[str]:
    """Return a command line with its stores as the settings have them: one --store as it is, others as --stores."""
    kept, given = split_stores(arguments)
    if not given:
        return kept
    if len(given) == 1 and _is_folder(given[0]):
        return [f"--store={given[0]}", *kept]
    return [*as_option(choices_of(given)), *kept]


def split_stores(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return a command line without its options --store, and their values."""
    kept: list[str] = []
    given: list[str] = []
    words = iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        if option == "--store":
            given.append(value if equals else next(words, ""))
        else:
            kept.append(word)
    return kept, given


def choices_of(given: Sequence[str]) -> list[StoreChoice]:
    """Return the stores that values of --store mean; a YAML file lists several.

    Raises:
        ConfigError: one cannot be read.
    """
    return [
        choice
        for text in given
        for choice in (choices_in(Path(text)) if text.endswith((".yaml", ".yml")) else [parse_choice(text)])
    ]


def as_option(choices: Sequence[StoreChoice]) -> list[str]:
    """Return stores as the option that the settings have for them."""
    return [f"--stores={json.dumps([asdict(choice) for choice in choices], default=str)}"]


def _is_folder(text: str) -> bool:
    """Tell whether an option names one store and nothing more: a folder, there or not."""
    return Path(text).is_dir() or not (text.endswith((".yaml", ".yml")) or "=" in text or ":" in text or "*" in text)


def run(arguments: Namespace) -> int:
    """Pre-train, and print where the encoder is, its loss beside that of predicting the mean, and the verdict."""
    if rank_zero_only.rank:  # of several processes one speaks
        logging.getLogger("marrow").setLevel(logging.ERROR)
    config = settings_of(arguments)
    result = pretrain(config, advice=_advice(arguments))
    if rank_zero_only.rank:
        return 0 if result.finished else EXIT_INTERRUPTED
    last = result.last
    if not last:
        print("interrupted before the first step was done: the same command begins again")
        return EXIT_INTERRUPTED
    print(f"encoder  {result.encoder}")
    print(f"steps    {last['step']} in {last['wall_seconds']:.0f} s, {last['cpu_seconds']:.0f} s of the processor")
    beside = f" (predicting the mean: {last['loss_of_mean']:.4f})" if "loss_of_mean" in last else ""
    print(f"loss     {last['loss']:.4f}{beside}")
    print(f"verdict  {judge(read_log(result.folder / 'log.jsonl'))}")
    if not result.finished:
        print("interrupted: the same command goes on from here")
        return EXIT_INTERRUPTED
    stores = [config.store] if config.store else [choice.path for choice in config.stores]
    say_what_a_run_is_for(result.folder, Store.open(stores[0]), config.protocol)
    return 0


def settings_of(arguments: Namespace) -> PretrainConfig:
    """Return the settings of a run that parsed arguments amount to."""
    return config_of(build_parser(["--method", arguments.method]), arguments)


def _advice(arguments: Namespace) -> str:
    """Return what to say to a person whose run will take hours on a CPU: which recipes are made for minutes."""
    short = [
        f"{name} ({limit:g} s of one core)"
        for name in recipe_names()
        if (limit := _setting_of_recipe(name, "max_cpu_seconds"))
        and _setting_of_recipe(name, "method") == arguments.method
    ]
    return f"For minutes on a CPU there are recipes: --recipe {', or '.join(short)}" if short else ""


def _given_limits(arguments: Sequence[str]) -> list[str]:
    """Return the limits that a command line itself gives; one that is set to null is none."""
    given: dict[str, str] = {}
    for place, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        name = option.removeprefix("--").replace("-", "_")
        if not equals:
            value = "".join(arguments[place + 1 : place + 2])
        if option.startswith("--") and name in LIMITS:
            given[name] = value
    return [name for name, value in given.items() if value != "null"]


def _method_in(arguments: Sequence[str]) -> str:
    """Return the method that a command line names, itself or in its recipe; the last word counts."""
    method = _DEFAULT_METHOD
    for place, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if option in ("--method", "--recipe") and not equals:
            value = "".join(arguments[place + 1 : place + 2])
        if option == "--method" and value:
            method = value
        elif option == "--recipe" and value:
            method = _setting_of_recipe(value, "method") or method
    return method


def _setting_of_recipe(name_or_file: str, name: str) -> Any:
    """Return a setting of a recipe, if that can be read; what is wrong with it is said when it is parsed."""
    try:
        values = yaml.safe_load(recipe_path(name_or_file).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return values.get(name) if isinstance(values, dict) else None
