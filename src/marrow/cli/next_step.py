"""The last line of every command: what comes next, as it is typed."""

import json
import shlex
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from marrow.store.format import Store

# From so many recordings on an encoder of one's own is worth the time; below, the shipped one knows more.
_WORTH_LEARNING = 1000
# With fewer labelled recordings of a class than folds, there is nothing to score.
_FOLDS = 5


def say_next(*words: str | Path) -> None:
    """Print the marrow command that comes next; words in capital letters are for a person to fill in."""
    print(f"next: marrow {shlex.join(map(str, words))}")


def say_open(page: Path) -> None:
    """Print where a page can be looked at."""
    print(f"next: open {page.resolve()} in a browser")


def same_command(
    parser: "ArgumentParser", arguments: "Namespace", without: Collection[str] = (), **instead: Any
) -> list[str]:
    """Return the words of a command that was given, for `say_next`, with some of its arguments changed.

    Args:
        parser: of the command.
        arguments: as they were parsed; those at their default need no word.
        without: names of arguments to leave out.
        instead: values of arguments by name.
    """
    words: list[str] = []
    for action in parser._actions:
        if action.dest in without or not (action.dest in instead or action.dest in arguments):
            continue
        value = instead.get(action.dest, arguments.get(action.dest))
        if not action.option_strings:
            words += map(str, value if isinstance(value, list) else [value])
        elif value is not None and value != action.default:
            option, text = action.option_strings[0], _as_typed(value)
            if action.nargs == 0:
                words.append(option)
            else:
                words += [f"{option}={text}"] if text.startswith("-") else [option, text]
    return [*parser.prog.split()[1:], *words]


def _as_typed(value: Any) -> str:
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def protocol_for(store: "Store") -> str:
    """Return a protocol that a store can be scored by: one of its own, or folds, of people where they are known."""
    own = next(iter((*store.splits, *store.folds)), None)
    if own is not None:
        return own
    people = store.subjects()
    names = set[Any]() if people is None else set(people.tolist())
    return f"k-fold:{_FOLDS}" + (":subject" if None not in names and len(names) >= _FOLDS else "")


def say_what_a_store_is_for(store: "Store", name: Path) -> None:
    """Print the command that uses recordings: scores where there are labels enough, else answers by examples.

    Args:
        store: of the recordings.
        name: as a person calls it.
    """
    from marrow.skeleton.places import places_of

    pretrain = ["pretrain", "--recipe", "own", "--store", name, "--out", Path("runs", name.resolve().name)]
    of_classes = Counter(store.label.tolist())
    is_labelled = len(of_classes) > 1 and -1 not in of_classes
    if not places_of(store.skeleton):  # the shipped encoder cannot read them
        say_next(*pretrain)
    elif is_labelled and (store.splits or min(of_classes.values()) >= _FOLDS):
        if len(store) >= _WORTH_LEARNING:
            print(f"an encoder of these recordings alone: marrow {shlex.join(map(str, pretrain))}")
        scored = ["--protocol", protocol_for(store), "--tasks", "linear_probe,few_shot"]
        say_next("evaluate", "general", "--store", name, *scored)
    elif is_labelled:
        say_next("predict", "general", "FILE_OR_FOLDER", "--examples", name)
    elif len(store) >= _WORTH_LEARNING:
        say_next(*pretrain)
    else:
        print("FOLDER: a few recordings of each action, in folders that are named after the actions")
        say_next("predict", "general", name, "--examples", "FOLDER")


def say_what_a_run_is_for(run: Path, store: "Store", protocol: str | None) -> None:
    """Print the command that uses a new encoder: its scores where there are labels, else its features."""
    if len(set(store.label[store.label >= 0].tolist())) > 1:
        say_next("evaluate", run, "--store", store.path, "--protocol", protocol or protocol_for(store))
    else:
        say_next("embed", run, store.path, "--out", "features.parquet")


def say_where_reports_are_shown(runs: Sequence[Path]) -> None:
    """Print the command that shows runs on a page."""
    say_next("report", *runs, "--out", "report.html")
