"""Ids, labels and attributes of imported recordings: from the files, their names, their folders, or a table."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from marrow.errors import ConfigError, ParseError, setting
from marrow.importing.recording import ClipEntry, Contents, Doubt, Source
from marrow.readers.base import Split
from marrow.readers.name_pattern import find_groups
from marrow.readers.text_file import read_text
from marrow.skeleton.sequence import Record

_TEST_WORDS = ("test", "val", "valid", "validation", "eval")


@dataclass(frozen=True)
class Member:
    """A recording of the data set: a clip of a source, or a source that cannot be read.

    Args:
        record: how the store will know it.
        source: the files that it comes from.
        parts: names of the parts of the data set that it belongs to, as its source calls them.
    """

    record: Record
    source: Source
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Labelled:
    """All recordings with their labels.

    Args:
        members: in the order of their paths.
        classes: names of the labels, in order.
        source: where labels come from, in words.
        doubts: about them.
        faults: what is wrong with the path of single recordings, by their id.
    """

    members: tuple[Member, ...]
    classes: tuple[str, ...]
    source: str
    doubts: tuple[Doubt, ...]
    faults: dict[str, ParseError]


@dataclass(frozen=True)
class _InPart:
    """Whether a recording is in a part of the data set, by its id."""

    ids: frozenset[str]

    def __call__(self, record: Record) -> bool:
        return record.id in self.ids


def label_members(
    root: Path,
    contents: Mapping[Source, Contents],
    faulty: Sequence[Source],
    labels: str,
    pattern: str | None,
) -> Labelled:
    """Give every recording an id, a label and attributes.

    Args:
        root: folder of the recordings.
        contents: what the sources that can be read hold.
        faulty: sources that cannot be read; each stands for one recording.
        labels: "auto", "folder", "none", "attribute:NAME", or the path of a table.
        pattern: regular expression for the paths of files.

    Raises:
        ConfigError: no recording is in the table, or none is in a folder.
        ParseError: the table is not one of files and labels.
    """
    entries = [(source, clip) for source, found in contents.items() for clip in found.clips]
    entries += [(source, ClipEntry()) for source in faulty]
    places = {source: _place(root, source) for source in [*contents, *faulty]}
    found = {source: find_groups(pattern, place) for source, place in places.items()}
    groups = {source: found_groups or {} for source, found_groups in found.items()}
    chosen = _choose_labels(root, entries, places, groups, labels)
    named = sorted({label for label in chosen.by_entry if label is not None}, key=_natural)
    alike = Counter(" ".join(re.split(r"[\W_]+", name.casefold())) for name in named)
    twice = [name for name in named if alike[" ".join(re.split(r"[\W_]+", name.casefold()))] > 1]
    doubts = chosen.doubts
    if twice:
        doubts = (
            *doubts,
            Doubt(f"labels differ by capitals or signs alone: {', '.join(twice[:6])}", "--labels TABLE.csv"),
        )
    numbers = _numeric_names(groups.values())
    members = []
    for (source, clip), label in zip(entries, chosen.by_entry, strict=True):
        attributes: dict[str, int | str] = dict(clip.attributes)
        for name, text in groups[source].items():
            if name != "label":
                attributes[name] = int(text) if name in numbers else text
        path = source.path.relative_to(root).as_posix()
        record = Record(
            id=f"{places[source]}/{clip.key}" if clip.key else places[source],
            path=f"{path}#{clip.key}" if clip.key else path,
            label=-1 if label is None else named.index(label),
            attributes=attributes,
        )
        members.append(Member(record, source, clip.parts))
    members = _with_own_ids(sorted(members, key=lambda member: _natural(member.record.id)))
    faults = {
        member.record.id: ParseError(
            member.source.path,
            0,
            f"expected a path that fits the pattern {pattern!r}, got {places[member.source]!r}",
        )
        for member in members
        if found[member.source] is None
    }
    return Labelled(members, tuple(named), chosen.source, doubts, faults)


def splits_of(members: Sequence[Member]) -> dict[str, Split]:
    """Return the protocols that the sources name: pairs of parts such as "xsub_train" and "xsub_val"."""
    ids: dict[str, set[str]] = {}
    for member in members:
        for part in member.parts:
            ids.setdefault(part, set()).add(member.record.id)
    splits = {}
    for part in ids:
        stem, word = part.rsplit("_", 1) if "_" in part else ("", part)
        if word != "train":
            continue
        test = next(
            (name for name in (f"{stem}_{other}" if stem else other for other in _TEST_WORDS) if name in ids), None
        )
        if test is not None:
            splits[stem or "official"] = Split(_InPart(frozenset(ids[part])), _InPart(frozenset(ids[test])))
    return splits


@dataclass(frozen=True)
class _Chosen:
    by_entry: list[str | None]
    source: str
    doubts: tuple[Doubt, ...] = ()


def _choose_labels(
    root: Path,
    entries: Sequence[tuple[Source, ClipEntry]],
    places: Mapping[Source, str],
    groups: Mapping[Source, Mapping[str, str]],
    labels: str,
) -> _Chosen:
    if labels == "none":
        return _Chosen([None] * len(entries), "none, as asked")
    if labels.startswith("attribute:"):
        return _from_attribute(entries, groups, labels.removeprefix("attribute:"))
    if labels not in ("auto", "folder"):
        return _from_table(root, entries, places, Path(labels))
    if labels == "auto":
        if any(clip.label is not None for _, clip in entries):
            return _Chosen([clip.label for _, clip in entries], "the files")
        if any("label" in found for found in groups.values()):
            return _Chosen([groups[source].get("label") for source, _ in entries], "the files' names, by --pattern")
    folders = [source.path.parent.relative_to(root).as_posix() for source, _ in entries]
    folders = ["" if folder == "." else folder.rsplit("/", 1)[-1] for folder in folders]
    names = sorted({folder for folder in folders if folder})
    if len(names) < 2:
        if labels == "folder":
            raise ConfigError(
                f"{setting('labels', 'folder')} expects recordings in folders that are named after classes; "
                f"below {root} there {'is one: ' + names[0] if names else 'are none'}"
            )
        return _Chosen([None] * len(entries), "none: --labels TABLE.csv, --labels folder or --pattern says them")
    shown = f"{', '.join(names[:4])}{', ...' if len(names) > 4 else ''}"
    doubts = () if labels == "folder" else (Doubt(f"labels are the names of folders: {shown}", "--labels none"),)
    return _Chosen([folder or None for folder in folders], "the folders' names", doubts)


def _from_attribute(
    entries: Sequence[tuple[Source, ClipEntry]], groups: Mapping[Source, Mapping[str, str]], name: str
) -> _Chosen:
    values = [clip.attributes.get(name, groups[source].get(name)) for source, clip in entries]
    if all(value is None for value in values):
        names = {key for source, clip in entries for key in [*clip.attributes, *groups[source]]}
        raise ConfigError(f"no recording has an attribute {name!r}. Attributes: {', '.join(sorted(names)) or 'none'}")
    return _Chosen([None if value is None else str(value) for value in values], f"the attribute {name}")


def _from_table(
    root: Path, entries: Sequence[tuple[Source, ClipEntry]], places: Mapping[Source, str], table: Path
) -> _Chosen:
    """Take labels from a table with the columns file and label: paths below the root, or names of files or clips."""
    table = table if table.exists() else root / table
    if not table.is_file():
        raise ConfigError(
            f"{setting('labels')} is auto, folder, none, or a table with the columns file and label; "
            f"there is no file {table}"
        )
    text = read_text(table)
    first = text.split("\n", 1)[0]
    rows = list(csv.reader(io.StringIO(text), delimiter=max(",;\t", key=first.count)))
    header = [name.strip().lower() for name in rows[0]]
    file_column = next((header.index(name) for name in ("file", "path", "name", "clip", "id") if name in header), None)
    label_column = next((header.index(name) for name in ("label", "class", "action") if name in header), None)
    if file_column is None or label_column is None:
        raise ParseError(table, 1, f"expected a first row with the columns file and label, got {first[:80]!r}")
    label_of: dict[str, str] = {}
    for line, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) <= max(file_column, label_column):
            raise ParseError(table, line, f"expected {len(header)} columns, got {len(row)}")
        name, label = row[file_column].strip().replace("\\", "/"), row[label_column].strip()
        if label_of.setdefault(name, label) != label:
            raise ParseError(
                table, line, f"expected one label per file, got {label!r} after {label_of[name]!r}: {name}"
            )
    found: list[str | None] = []
    place_of: dict[str, str] = {}
    ambiguous: list[str] = []
    for source, clip in entries:
        place = f"{places[source]}/{clip.key}" if clip.key else places[source]
        path = source.path.relative_to(root).as_posix()
        names = (path, place, source.path.name, source.name, clip.key)
        name = next((name for name in names if name and label_of.get(name)), None)
        found.append(None if name is None else label_of[name])
        if name is not None and place_of.setdefault(name, places[source]) != places[source]:
            ambiguous.append(name)
    unlabelled = found.count(None)
    if unlabelled == len(found):
        raise ConfigError(
            f"{table} names none of the recordings below {root}: it names {next(iter(label_of), 'nothing')!r}, "
            f"and a recording is {entries[0][0].path.relative_to(root).as_posix()!r}"
        )
    doubts = []
    if unlabelled:
        doubts.append(Doubt(f"{unlabelled} of {len(found)} recordings are not in {table.name}"))
    of_none = [name for name in label_of if name not in place_of]
    if of_none:
        doubts.append(Doubt(f"{len(of_none)} rows of {table.name} name no recording, for example {of_none[0]}"))
    if ambiguous:
        text = f"{table.name} names files of several folders at once by {ambiguous[0]}: all of them get that label"
        doubts.append(Doubt(f"{text}; paths below the root tell them apart"))
    return _Chosen(found, f"the table {table.name}", tuple(doubts))


def _place(root: Path, source: Source) -> str:
    """Return what tells a source from all others: its folder below the root and its name."""
    folder = source.path.parent.relative_to(root).as_posix()
    return source.name if folder == "." else f"{folder}/{source.name}"


def _numeric_names(groups: Iterable[Mapping[str, str]]) -> set[str]:
    texts: dict[str, list[str]] = {}
    for found in groups:
        for name, text in found.items():
            texts.setdefault(name, []).append(text)
    return {name for name, values in texts.items() if all(value.isdecimal() for value in values)}


def _with_own_ids(members: Sequence[Member]) -> tuple[Member, ...]:
    """Tell recordings apart that differ in their extension alone."""
    counts: dict[str, int] = {}
    for member in members:
        counts[member.record.id] = counts.get(member.record.id, 0) + 1
    own = []
    for member in members:
        record = member.record
        if counts[record.id] > 1:
            record = Record(record.path, record.path, record.label, record.attributes)
        own.append(Member(record, member.source, member.parts))
    return tuple(own)


def _natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Order "clip_2" before "clip_10"."""
    parts = [part for part in re.split(r"(\d+)", name) if part]
    # By the number of digits first, as numbers are: of thousands of digits Python makes no number.
    return tuple((0, len(part.lstrip("0")), part.lstrip("0")) if part.isdecimal() else (1, 0, part) for part in parts)
