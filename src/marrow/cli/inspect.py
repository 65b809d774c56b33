"""`marrow inspect`: what a store holds, what looks wrong in it, and a picture of a dozen clips."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import ArgumentParser, Namespace

from marrow.cli.arguments import make_parser, recipe_names
from marrow.cli.next_step import say_next, say_what_a_store_is_for
from marrow.errors import ConfigError, OutputError, StoreError
from marrow.files import write_text_whole
from marrow.store.format import Store
from marrow.store.summary import SplitSummary, Summary, summarise

_PICTURE_CLIPS = 12
_VALUES_SHOWN = 12


def build_parser() -> ArgumentParser:
    """Return the parser of `marrow inspect`."""
    parser = make_parser(
        "marrow inspect", "Show what a store holds, what looks wrong in it, and a picture of its clips."
    )
    parser.add_argument("store", type=Path, metavar="STORE", help="folder made by `marrow prepare` or `marrow import`")
    parser.add_argument(
        "--picture",
        type=Path,
        default=None,
        help="where to write the picture (SVG); STORE.svg beside the store if not given",
    )
    parser.add_argument(
        "--near",
        action="store_true",
        help="look for test clips that are nearly the same as a training clip (noise, resampling, cut frames, a rigid "
        "move) in a store of any size; without this, where it takes seconds",
    )
    parser.add_argument(
        "--verify", action="store_true", help="only compare every byte with the check sums of when it was written"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, and write a picture only where --picture says")
    return parser


def run(arguments: Namespace) -> int:
    """Print a store's summary and write its picture."""
    if arguments.picture is not None and arguments.picture.suffix.lower() != ".svg":
        raise ConfigError(f"--picture must end in .svg, got {str(arguments.picture)!r}")
    store = Store.open(arguments.store)
    store.verify()
    if arguments.verify:
        print(f"{store.path}: {store.shard_count} shards of {len(store)} clips are as they were written")
        say_next("inspect", arguments.store)
        return 0
    summary = summarise(store, near=arguments.near or None)
    picture = arguments.picture
    if picture is None and not arguments.json:
        folder = arguments.store.resolve()
        picture = folder.with_name(f"{folder.name}.svg")
    if picture is not None:
        _draw(store, picture)
    if arguments.json:
        described = {"store": str(store.path), "source": store.source, "skeleton": store.skeleton.name}
        described |= {"fingerprint": store.fingerprint, "folds": store.folds, **asdict(summary)}
        print(json.dumps(described | ({"picture": str(picture)} if picture else {}), indent=1))
    else:
        _print(store, summary, picture)
    return 0


def picture_rows(store: Store) -> list[int]:
    """Choose clips to look at: of as many classes as there is room for, of middling length."""
    middle = np.abs(store.frame_count - np.median(store.frame_count))
    by_class = [np.flatnonzero(store.label == label) for label in np.unique(store.label)]
    queues = [rows[np.argsort(middle[rows], kind="stable")] for rows in by_class]
    spread = np.unique(np.linspace(0, len(queues) - 1, min(len(queues), _PICTURE_CLIPS)).round().astype(int))
    queues = [queues[place] for place in spread]
    turns = [int(queue[turn]) for turn in range(_PICTURE_CLIPS) for queue in queues if turn < len(queue)]
    return sorted(turns[:_PICTURE_CLIPS], key=lambda row: (store.label[row], row))


def _draw(store: Store, picture: Path) -> None:
    from marrow.viewer.figure import contact_sheet

    rows = picture_rows(store)
    sheet = contact_sheet([store.sequence(row) for row in rows], [_title(store, row) for row in rows])
    try:
        write_text_whole(picture, sheet)
    except OutputError as error:
        raise StoreError(
            f"cannot write the picture to {picture} ({error.strerror}). Say where with --picture FILE.svg"
        ) from error


def _title(store: Store, row: int) -> str:
    label = int(store.label[row])
    name = store.classes[label] if 0 <= label < len(store.classes) else f"class {label}" if label >= 0 else "no label"
    return f"{name} · {store.ids[row]}"


def _print(store: Store, summary: Summary, picture: Path | None) -> None:
    from rich.table import Table
    from rich.text import Text

    from marrow.cli.console import output

    console = output()
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _lines(store, summary):
        # Text, so that a bracket in a name is not taken for markup.
        table.add_row(name, Text(text))
    console.print(table)
    console.print()
    print_checks(summary)
    if picture is not None:
        console.print(Text(f"picture: {picture}"), soft_wrap=True)
    recipe = f"mamp_{store.source}"
    if recipe not in recipe_names():
        say_what_a_store_is_for(store, store.path)
        return
    protocol = ["--protocol", next(iter(summary.splits))] if summary.splits else []
    say_next("pretrain", "--recipe", recipe, *protocol, "--store", store.path, "--out", "runs/first")


def print_checks(summary: Summary) -> None:
    """Say what looks wrong in a store, and what could not be checked."""
    from rich.text import Text

    from marrow.cli.console import output

    console = output()
    for warning in summary.warnings:
        console.print(Text(f"! {warning}", "yellow"))
    for reason in summary.not_checked:
        console.print(Text(f"? not checked, {reason}", "yellow"))
    if not summary.warnings and not summary.not_checked:
        left = f" in the {_counted(summary.clips)} that are there" if summary.dropped else ""
        console.print(f"nothing looks wrong{left}", style="green")


def _counted(clips: int) -> str:
    return f"{clips:,} recording{'' if clips == 1 else 's'}"


def _lines(store: Store, summary: Summary) -> list[tuple[str, str]]:
    shortest, low, quarter, middle, three_quarters, high, longest = summary.length_frames
    layout = store.skeleton
    padded = summary.clips * 300 * 2 * len(layout.joints) * 12
    labels = list(summary.labels.items())
    bodies = ", ".join(
        f"{count:,} with {bodies} bod{'y' if bodies == 1 else 'ies'}" for bodies, count in summary.bodies.items()
    )
    if any(count for name, count in labels if name != "-"):
        shown = ", ".join(f"{name} {count}" for name, count in labels[:20])
    else:
        names = [name for name, _ in labels if name != "-"]
        shown = ("no clip has a label of its own: " if names else "none") + ", ".join(names[:20])
    most_missing = sorted(summary.missing.items(), key=lambda item: -item[1])[:5]
    loosest = sorted(summary.bone_variation.items(), key=lambda item: -item[1])[:5]
    lines = [
        ("store", f"{store.path} (version {store.version}, fingerprint {store.fingerprint[:16]})"),
        ("source", f"{store.source} {_options(store)}".rstrip()),
        ("skeleton", f"{layout.name}, {len(layout.joints)} joints in {layout.dimensions}D, {layout.up} up"),
        ("clips", f"{summary.clips:,} ({bodies})"),
        ("frames", f"{summary.frames:,}"),
        (
            "length in frames",
            f"{shortest} / {low} / {quarter} / {middle} / {three_quarters} / {high} / {longest} "
            "(shortest, 5 %, 25 %, median, 75 %, 95 %, longest)",
        ),
        (
            "frames per second",
            ", ".join(f"{rate:g} ({count:,} clips)" for rate, count in list(summary.fps.items())[:5]),
        ),
        (
            "size",
            f"{summary.stored_bytes / 1e6:,.1f} MB"
            + (f", {padded / summary.stored_bytes:.1f} times smaller than padded" if longest <= 300 else ""),
        ),
        (
            "classes",
            f"{len(store.classes) or len(summary.labels.keys() - {'-'})}: {shown}{', …' if len(labels) > 20 else ''}",
        ),
    ]
    if summary.segments:
        counts = ", ".join(f"{name} {count}" for name, count in list(summary.segments.items())[:20])
        lines.append(
            ("segments", f"{sum(summary.segments.values()):,}: {counts}{', …' if len(summary.segments) > 20 else ''}")
        )
    for name, split in summary.splits.items():
        lines.append((f"split {name}", f"{split.train:,} train, {split.test:,} test, {_copies(split)}"))
    lines += _attributes(store)
    lines += [(f"folds {name}", protocol) for name, protocol in store.folds.items()]
    lines += [
        ("joints absent", ", ".join(f"{name} {100 * share:.2g} %" for name, share in most_missing if share) or "none"),
        ("bones", ", ".join(f"{name} {metres:.2f}" for name, metres in summary.bone_metres.items()) + " m"),
        ("bones that vary most", ", ".join(f"{name} {share:.0%}" for name, share in loosest) + " within a clip"),
    ]
    if summary.upright_axis:
        share = f"{summary.upright:.1%} of the frames (chest above hips along {store.skeleton.up})"
        lines.append(("upright", share))
    for reason, count in list(summary.dropped.items())[:8]:
        lines.append(("dropped", f"{count:,}: {reason}"))
    for note, count in list(summary.notes.items())[:8]:
        lines.append(("note", f"{count:,}: {note}"))
    return lines


def _copies(split: SplitSummary) -> str:
    """Say how many test clips are copies of training clips, and name a few."""
    text = f"of which {split.shared:,} are bit-identical to a training clip"
    if split.near is None:
        text += " (near copies not looked for)"
    else:
        text += f" and {split.near:,}{' more' if split.shared else ''} nearly so"
    if split.examples:
        more = ", ..." if len(split.examples) < split.shared + (split.near or 0) else ""
        text += f": {'; '.join(f'{copy} of {original}' for original, copy in split.examples)}{more}"
    return text


def _options(store: Store) -> str:
    said = [f"{name}={value}" for name, value in store.options.items() if value is not None]
    return f"({', '.join(said)})" if said else ""


def _attributes(store: Store) -> Iterator[tuple[str, str]]:
    """Yield a line for each attribute: the numbers of clips by its values, which protocols may name."""
    for name in store.attributes:
        values = Counter(value for value in store.attribute(name).tolist() if value is not None)
        shown = ", ".join(f"{value} {count}" for value, count in sorted(values.items(), key=_by_value)[:_VALUES_SHOWN])
        yield f"attribute {name}", f"{len(values)}: {shown}{', …' if len(values) > _VALUES_SHOWN else ''}"


def _by_value(item: tuple[Any, int]) -> tuple[bool, Any]:
    return isinstance(item[0], str), item[0]
