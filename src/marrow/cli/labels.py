"""`marrow labels`: publish which training clips keep their labels."""

from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser, Namespace

from marrow.cli.arguments import make_parser
from marrow.cli.next_step import say_next
from marrow.errors import ConfigError


def build_parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        "marrow labels",
        "Draw the training clips that keep their labels in experiments with few, and write their names to a JSON file, "
        "so that others learn from the same clips. A draw follows from the data and its seed; a smaller one is part of "
        "a larger one with the same seed. `marrow evaluate` reads it (--semi_supervised.lists, --few_shot.lists).",
    )
    parser.add_argument("--store", type=Path, required=True, help="the data, as made by `marrow prepare`")
    parser.add_argument(
        "--protocol",
        type=str,
        required=True,
        help="whose training half is drawn from: a split of the store; leave-one-out:ATTRIBUTE, k-fold:K, "
        "k-fold:K:ATTRIBUTE or a name that the store has for one of these, for all folds; or "
        "leave-one-out:ATTRIBUTE=VALUE or k-fold:K#0 for one",
    )
    parser.add_argument("--out", type=Path, required=True, help="file to write; it ends in .json")
    parser.add_argument(
        "--scheme",
        type=Literal["stratified", "uniform", "per_class"],
        default="stratified",
        help="stratified: a share of every class, at least one clip each; uniform: a share of all clips, rounded down, "
        "as most papers draw; per_class: so many clips of every class",
    )
    parser.add_argument(
        "--fractions",
        type=str | None,
        default=None,
        help="shares of the labels, separated by commas (default: 0.01,0.05,0.1,0.2)",
    )
    parser.add_argument(
        "--shots",
        type=str | None,
        default=None,
        help="with --scheme per_class: clips per class, separated by commas (default: 1,2,5,10)",
    )
    parser.add_argument("--draws", type=int, default=5, help="draws of each amount")
    parser.add_argument("--seed", type=int, default=0, help="of the first draw; each further one has the next")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is already there")
    return parser


def run(arguments: Namespace) -> int:
    """Write the lists, and say what was written."""
    from marrow.data.label_draws import FRACTIONS, SHOTS, LabelLists
    from marrow.store.format import Store

    per_class = arguments.scheme == "per_class"
    unused = "--fractions" if per_class else "--shots"
    if getattr(arguments, unused.removeprefix("--")) is not None:
        raise ConfigError(f"{unused} does not go with --scheme {arguments.scheme}")
    if arguments.draws < 1 or arguments.seed < 0:
        raise ConfigError(f"expected --draws from 1 and --seed from 0 on, got {arguments.draws} and {arguments.seed}")
    out: Path = arguments.out
    if out.suffix != ".json":
        raise ConfigError(f"--out is a JSON file and must end in .json, got {str(out)!r}")
    if out.exists() and not arguments.overwrite:
        raise ConfigError(f"{out} exists; choose another --out, or give --overwrite to replace it")
    option, listed, default = (
        ("--shots", arguments.shots, SHOTS) if per_class else ("--fractions", arguments.fractions, FRACTIONS)
    )
    try:
        amounts = tuple(map(float, default if listed is None else listed.split(",")))
    except ValueError as error:
        raise ConfigError(f"{option} is a list of numbers separated by commas, got {listed!r}") from error
    seeds = tuple(range(arguments.seed, arguments.seed + arguments.draws))
    lists = LabelLists.drawn(Store.open(arguments.store), arguments.protocol, arguments.scheme, amounts, seeds)
    lists.save(out)
    for amount in amounts:
        counts = [len(draw.names) for draw in lists.draws if draw.amount == amount]
        what = f"{amount:g} per class" if per_class else f"{100 * amount:g} %"
        fewest, most = min(counts), max(counts)
        labels = f"{most}" if fewest == most else f"{fewest} to {most}"
        print(f"{what}: {labels} label{'s'[: most > 1]} in each of {len(counts)} draw{'s'[: len(counts) > 1]}")
    print(f"{out}: {len(lists.draws)} lists")
    task = "few_shot" if per_class else "semi_supervised"
    how = ["--store", arguments.store, "--protocol", arguments.protocol, "--tasks", task, f"--{task}.lists", out]
    say_next("evaluate", "RUN", *how)
    return 0
