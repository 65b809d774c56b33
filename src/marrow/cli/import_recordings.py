"""`marrow import`: recordings of any known format into a store, by one command that says what it took them for."""

import html
import os
from argparse import SUPPRESS
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args

import numpy as np
from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentParser, Namespace

from marrow.cli.arguments import check_page, make_parser
from marrow.cli.inspect import print_checks
from marrow.cli.main import EXIT_INTERRUPTED
from marrow.cli.next_step import same_command, say_next, say_what_a_store_is_for
from marrow.cli.prepare import convert, print_summary
from marrow.errors import ConfigError, DataError, ParseError
from marrow.files import check_exists
from marrow.importing.detect import FORMATS, get_format
from marrow.importing.importer import Findings, Recordings
from marrow.importing.labels import splits_of
from marrow.importing.shared_joints import NOT_SHARED
from marrow.readers.base import LEFT_OUT, SkipRecording
from marrow.skeleton.derived import measured
from marrow.skeleton.places import place_of_joints
from marrow.skeleton.sequence import SkeletonSequence
from marrow.store.convert import default_jobs
from marrow.store.format import Store
from marrow.store.summary import summarise

_PREVIEW_CLIPS = 12
_NAMES_SHOWN = 8
_NOTES_SHOWN = 6
# Of the table, what an import says that is no dry run.
_ALWAYS_SHOWN = ("format", "recordings", "no recordings", "frame rate", "unit", "up", "layout", "left out", "labels")
# Stores up to this size are checked at once, in seconds; larger ones by `marrow inspect`.
_CHECKED_BYTES = 200_000_000


def build_parser() -> ArgumentParser:
    """Return the parser of `marrow import`."""
    parser = make_parser(
        "marrow import",
        "Turn recordings of any known format into a store: finds out what they are, says what is doubtful, and how to "
        "say otherwise. Formats: " + "; ".join(f"{name} ({get_format(name).title})" for name in FORMATS) + ".",
    )
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="files and folders of recordings")
    parser.add_argument("--out", type=Path, default=None, help="folder of the store; not needed with --dry_run")
    parser.add_argument("--dry_run", action="store_true", help="say what would be made of the files, and stop")
    parser.add_argument(
        "--preview", type=Path, default=None, metavar="PAGE.html", help="write a page with what was found and pictures"
    )
    parser.add_argument("--jobs", type=int, default=default_jobs(), help="number of processes")
    parser.add_argument(
        "--on_error",
        type=Literal["stop", "drop"],
        default="stop",
        help="at a recording that cannot be read, stop; or leave it out and list it with its error",
    )
    parser.add_argument("--overwrite", action="store_true", help="remove a store that is already there, and begin anew")
    add_reading_options(parser)
    return parser


def add_reading_options(parser: ArgumentParser, left_out: Sequence[str] = ()) -> None:
    """Add the options that say of recordings what their files do not, as `Recordings` has them.

    Args:
        parser: of the command.
        left_out: those that the command does without.
    """
    described = {
        param.arg_name: " ".join((param.description or "").split())
        for param in parse_docstring(Recordings.__doc__ or "").params
    }
    for name, field in _reading_options().items():
        if name not in left_out:
            default = getattr(Recordings, name, None)
            text = described[name] + ("" if default is None else f" (default: {default})")
            parser.add_argument(f"--{name}", type=_without_none(field.type), default=SUPPRESS, help=text)


def reading_options(arguments: Namespace) -> dict[str, Any]:
    """Return the options of `Recordings` that a person has given."""
    return {name: arguments[name] for name in _reading_options() if name in arguments}


def _reading_options() -> dict[str, Any]:
    return {field.name: field for field in fields(Recordings) if field.init and field.name != "paths"}


def _without_none(kind: Any) -> Any:
    """Return a type without None, which nobody gives on a command line."""
    kinds = [part for part in get_args(kind) if part is not NoneType]
    return kinds[0] if NoneType in get_args(kind) and len(kinds) == 1 else kind


def run(arguments: Namespace) -> int:
    """Say what files are, and make a store of them."""
    out: Path | None = arguments.out
    if out is None and not arguments.dry_run:
        raise ConfigError("--out FOLDER says where the store goes; --dry_run shows what would be made without one")
    if arguments.preview is not None:
        check_page(arguments.preview, "--preview")
    root, paths = root_of(arguments.paths)
    reader = Recordings(paths=paths, **reading_options(arguments))
    known = reader.for_root(root)
    findings = known.findings
    assert findings is not None
    examples, failures = _examples(known, root, findings)
    lines = _lines(findings, examples)
    # The table of a dry run is long, and has been seen: the import itself repeats what everything else rests on.
    shown = lines if arguments.dry_run else [line for line in lines if line[0] in _ALWAYS_SHOWN]
    _print(shown, findings, failures)
    if arguments.preview is not None:
        _write_preview(arguments.preview, lines, findings, examples)
        print(f"preview: {arguments.preview}")
    unreadable = [fault for fault in findings.faults.values() if isinstance(fault, ParseError)]
    if arguments.dry_run or out is None:
        print("dry run: no store was written")
        instead: dict[str, Any] = {"out": out or _suggested(root, arguments.paths)}
        if unreadable:
            instead["on_error"] = "drop"
        say_next(*same_command(build_parser(), arguments, without=("dry_run", "preview"), **instead))
        return 0
    if unreadable and arguments.on_error == "stop":
        raise DataError(
            f"{len(unreadable)} of {len(findings.members)} recordings cannot be read; nothing was written. "
            f"Mend or move them, or leave them out with --on_error drop"
        )
    summary = convert("importing", known, root, arguments)
    if summary is None:
        return EXIT_INTERRUPTED
    print_summary(summary)
    if summary.stored_bytes >= _CHECKED_BYTES:
        say_next("inspect", out)
        return 0
    store = Store.open(out)
    print_checks(summarise(store, near=False))
    say_what_a_store_is_for(store, out)
    return 0


def _suggested(root: Path, paths: Sequence[Path]) -> Path:
    """Return a name for the store of some recordings."""
    return Path("stores", (paths[0].stem if len(paths) == 1 and paths[0].is_file() else root.resolve().name) or "mine")


def root_of(paths: Sequence[Path]) -> tuple[Path, list[str] | None]:
    """Return the folder that all paths lie in, and the paths below it (None: the folder itself).

    Raises:
        DataError: a path does not exist.
    """
    for path in paths:
        check_exists(path, "a file or a folder of recordings")
    if len(paths) == 1 and paths[0].is_dir():
        return paths[0], None
    resolved = [Path(os.path.abspath(path)) for path in paths]
    root = Path(os.path.commonpath([path.parent if path.is_file() else path for path in resolved]))
    return root, [path.relative_to(root).as_posix() for path in resolved]


def _examples(reader: Recordings, root: Path, findings: Findings) -> tuple[list[SkeletonSequence], list[str]]:
    """Read some recordings, of as many classes as there is room for; return them, and why others cannot be read."""
    readable = [member for member in findings.members if member.record.id not in findings.faults]
    by_class: dict[int, list[Any]] = {}
    for member in readable:
        by_class.setdefault(member.record.label, []).append(member)
    chosen = [member for turn in zip(*by_class.values(), strict=False) for member in turn][:_PREVIEW_CLIPS]
    chosen += [member for member in readable if member not in chosen][: _PREVIEW_CLIPS - len(chosen)]
    examples: list[SkeletonSequence] = []
    failures: list[str] = []
    for member in chosen:
        try:
            examples.append(reader.read(root, member.record))
        except SkipRecording as skipped:
            failures.append(f"{root / member.record.path}: will be left out: {skipped}")
        except DataError as error:
            failures.append(str(error))
    return examples, failures


def _lines(findings: Findings, examples: Sequence[SkeletonSequence]) -> list[tuple[str, str]]:
    """Return what was found, as pairs of a heading and a text."""
    decisions, contents = findings.decisions, findings.contents
    reasons = decisions.reasons
    skeleton = decisions.skeleton
    software = sorted({found.software for found in contents if found.software} - {findings.format.title})
    written_by = f", written by {', '.join(software[:3])}" if software else ""
    clips = len(findings.members) - len(findings.faults)
    files = len({file for member in findings.members for file in member.source.files})
    lines = [
        ("format", f"{findings.format.name}: {findings.format.title}{written_by}"),
        ("recordings", f"{clips:,} in {_files(files)}"),
    ]
    if findings.no_recordings:
        lines.append(("no recordings", f"{len(findings.no_recordings):,}: {_some(findings.no_recordings)}"))
    axes = sorted({found.axes for found in contents if found.axes})
    if axes:
        lines.append(("axes", _some(axes, 3)))
    if examples:
        frames = [example.frame_count for example in examples]
        people = Counter(example.body_count for example in examples)
        span = f"{min(frames)}" if min(frames) == max(frames) else f"{min(frames)} to {max(frames)}"
        lines.append(("frames", f"{span} in {_looked_at(examples)}"))
        lines.append(("people", _people(people)))
    lines += [
        ("frame rate", f"{decisions.fps:g} per second ({reasons['fps']})"),
        ("unit", f"{decisions.unit_metres:.4g} m ({reasons['unit']})"),
        ("up", f"{decisions.up} ({reasons['up']})"),
        ("layout", f"{skeleton.name}, {len(skeleton.joints)} joints in {skeleton.dimensions}D ({reasons['layout']})"),
    ]
    places = place_of_joints(skeleton)
    named = [f"{joint} = {places[index]}" for index, joint in enumerate(skeleton.joints) if index in places]
    own = [joint for index, joint in enumerate(skeleton.joints) if index not in places]
    lines.append(("joints", "; ".join(named + ([f"of no known place: {_some(own)}"] if own else []))))
    if "derived" in reasons:
        lines.append(("derived", f"{reasons['derived']}, from joints on both sides of them"))
    if "sides" in reasons:
        pairs = sum(joint < partner for joint, partner in enumerate(skeleton.mirror))
        lines.append(("left and right", f"{pairs} pairs ({reasons['sides']})"))
    if "bones" in reasons:
        lines.append(("bones", reasons["bones"]))
    not_shared = [found.not_shared for found in contents if found.not_shared]
    names = sorted(set[str]().union(*not_shared))
    left_out = sorted({name for found in contents for name in found.left_out} - set(names))
    if left_out:
        lines.append(("left out", f"{len(left_out)}, being no joints: {_some(left_out)}"))
    if not_shared:
        have = f"{len(names)} that have a length in {len(not_shared)} of {_files(len(contents))} only"
        lines.append(("left out", f"{have}: {_some(names)}"))
    said_above = (LEFT_OUT, NOT_SHARED)
    notes = Counter(note for example in examples for note in set(example.notes) if not note.startswith(said_above))
    for note, count in notes.most_common(_NOTES_SHOWN):
        lines.append(("note", f"{note} (in {count} of {_looked_at(examples)})"))
    missing = _missing(examples)
    if missing:
        lines.append(("joints absent", missing))
    records = [member.record for member in findings.members if member.record.id not in findings.faults]
    counts = Counter(record.label for record in records)
    shown = [f"{name} {counts[label]}" for label, name in enumerate(findings.classes)]
    source = findings.labels_from
    lines.append(("labels", f"{len(findings.classes)} from {source}: {_some(shown)}" if shown else source))
    names = sorted({name for record in records for name in record.attributes})
    if names:
        values = [len({record.attributes[name] for record in records if name in record.attributes}) for name in names]
        lines.append(("attributes", _some([f"{name} ({count})" for name, count in zip(names, values, strict=True)])))
    for name, split in splits_of(findings.members).items():
        train, test = sum(map(split.train, records)), sum(map(split.test, records))
        lines.append((f"split {name}", f"{train:,} train, {test:,} test"))
    return lines


def _files(count: int) -> str:
    return f"{count:,} file{'' if count == 1 else 's'}"


def _people(recordings: Mapping[int, int]) -> str:
    """Say how many people are seen in how many recordings."""
    if len(recordings) == 1:
        return f"{next(iter(recordings))} in each"
    return ", ".join(f"{people} in {count}" for people, count in sorted(recordings.items()))


def _looked_at(examples: Sequence[SkeletonSequence]) -> str:
    return "the recording looked at" if len(examples) == 1 else f"the {len(examples)} recordings looked at"


def _missing(examples: Sequence[SkeletonSequence]) -> str:
    """Say which joints are absent most often in the frames in which their body is seen."""
    if not examples:
        return ""
    absent, frames = np.zeros(len(examples[0].skeleton.joints)), 0
    for example in examples:
        seen = example.present[example.present.any(axis=-1)]
        absent += (~seen).sum(axis=0)
        frames += len(seen)
    shares = absent / max(frames, 1) * measured(examples[0].skeleton)
    names = examples[0].skeleton.joints
    return ", ".join(
        f"{names[joint]} {shares[joint]:.0%}" for joint in np.argsort(-shares, kind="stable")[:5] if shares[joint] > 0
    )


def _some(names: Sequence[str], most: int = _NAMES_SHOWN) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _print(lines: Sequence[tuple[str, str]], findings: Findings, failures: Sequence[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    from marrow.cli.console import output

    console = output()
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for heading, text in lines:
        table.add_row(heading, Text(text))  # Text, so that a bracket in a name is not taken for markup
    console.print(table)
    for doubt in findings.doubts:
        option = f" [{doubt.option}]" if doubt.option else ""
        console.print(Text(f"? {doubt.text}{option}", "yellow"))
    alike: dict[str, list[DataError]] = {}
    for member in findings.members:
        fault = findings.faults.get(member.record.id)
        if fault is not None:
            alike.setdefault(str(fault).replace(str(member.source.path), "FILE"), []).append(fault)
    for faults in list(alike.values())[:_NAMES_SHOWN]:
        more = f" (and {len(faults) - 1:,} more like it)" if len(faults) > 1 else ""
        console.print(Text(f"! {faults[0]}{more}", "red"))
    rest = sum(len(faults) for faults in list(alike.values())[_NAMES_SHOWN:])
    if rest:
        console.print(Text(f"! and {rest:,} more that cannot be read", "red"))
    for failure in failures:
        console.print(Text(f"! {failure}", "red"))
    if not findings.doubts and not findings.faults and not failures:
        console.print("nothing is doubtful", style="green")


def _write_preview(
    path: Path, lines: Sequence[tuple[str, str]], findings: Findings, examples: Sequence[SkeletonSequence]
) -> None:
    """Write a page that needs nothing else: what was found, and stick figures."""
    from marrow.files import write_text_whole
    from marrow.viewer.figure import contact_sheet

    def rows(pairs: Sequence[tuple[str, str]]) -> str:
        return "".join(f"<tr><th>{html.escape(name)}<td>{html.escape(text)}" for name, text in pairs)

    doubts = [(doubt.option or "-", doubt.text) for doubt in findings.doubts]
    faults = [("cannot be read", str(fault)) for fault in findings.faults.values()]
    names = dict(enumerate(findings.classes))
    titles = [
        f"{names.get(example.record.label, 'no label')} · {example.record.id.rsplit('/', 1)[-1]}"
        for example in examples
    ]
    sheet = contact_sheet(examples, titles) if examples else "<p>no recording can be read</p>"
    write_text_whole(
        path,
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        "<title>marrow import</title><style>body{font:15px/1.5 sans-serif;max-width:1280px;margin:2rem auto;"
        "padding:0 1rem;color:#212529}th{text-align:left;vertical-align:top;padding-right:1.5rem;white-space:nowrap}"
        ".sheet{overflow-x:auto}svg{width:100%;min-width:800px;height:auto}h2{margin-top:2rem}</style>"
        f"<h1>What marrow takes the files for</h1><table>{rows(lines)}</table>"
        + (f"<h2>Doubts</h2><table>{rows(doubts)}</table>" if doubts else "")
        + ("" if doubts or faults else "<p>Nothing is doubtful.</p>")
        + (f"<h2>Recordings that cannot be read</h2><table>{rows(faults)}</table>" if faults else "")
        + f"<h2>Pictures</h2><div class='sheet'>{sheet}</div></html>\n",
    )
