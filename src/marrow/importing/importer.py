"""Any recordings as one data set: what the files do not say is measured or asked for, and every guess is said.

The reader behind `marrow import`. `for_root` finds the format of each file by its content, peeks into all of them, and
decides what a store has to know: layout, unit, upward axis, frame rate, labels. An option says it; else the files do;
else it is measured on a few recordings, and stands in `findings` with the option that says otherwise. What cannot be
read with the rest is a fault of that one recording: it is listed, and reading it raises it.

Positions come out in metres, the upward axis positive. Images have no metres: there a trunk is half a metre. Where
files have two coordinates, the layout has two dimensions, and the third coordinate is zero.
"""

import fnmatch
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from marrow.errors import ConfigError, DataError, MarrowError, ParseError, setting
from marrow.importing.agreement import (
    Said,
    as_most,
    doubts_of,
    doubts_of_what_is_said,
    most_say,
    of_one_layout,
)
from marrow.importing.decisions import Decisions, Sample, decide
from marrow.importing.detect import detect, files_below, get_format, head_of, is_readable
from marrow.importing.labels import Member, label_members, splits_of
from marrow.importing.layouts import Told
from marrow.importing.recording import Contents, Doubt, Format, ReadOptions, Source
from marrow.importing.shared_joints import Kept, with_joints, with_shared_joints
from marrow.progress import counting
from marrow.readers.base import SkipRecording, Split
from marrow.readers.name_pattern import check_pattern
from marrow.skeleton.layout import ANCHOR_ROLES, Skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence

_UNKNOWN = Skeleton("import", (), (), (), {})
# Recordings on which units, axes and layouts are measured.
_SAMPLES = 8
# Options that only some formats look at.
_OPTIONS_OF = {"axes": ("array", "mat", "ntu_npz"), "markers": ("c3d",), "columns": ("table",)}


@dataclass(frozen=True)
class Findings:
    """What was found below a folder, and what it was taken for.

    Args:
        format: of the files.
        contents: what each source that can be read says of itself, in order.
        decisions: layout, unit, axis and rate, and where each comes from.
        members: every recording, in order.
        classes: names of the labels, in order.
        labels_from: where labels come from, in words.
        faults: what is wrong with single recordings, by their id.
        no_recordings: files of no known format, relative to the folder.
        doubts: what was taken for something that it may not be.
    """

    format: Format
    contents: tuple[Contents, ...]
    decisions: Decisions
    members: tuple[Member, ...]
    classes: tuple[str, ...]
    labels_from: str
    faults: dict[str, DataError]
    no_recordings: tuple[str, ...]
    doubts: tuple[Doubt, ...]


@dataclass(frozen=True)
class Recordings:
    """Reader of recordings of any known format.

    Args:
        format: of the files, where their content does not tell.
        paths: files and folders below the root that are meant; None for all.
        only: pattern of the names of files that are meant, for example "*.json".
        labels: where labels come from: "auto" (the files, else the pattern, else folders), "folder", "none",
            "attribute:NAME", or the path of a table with the columns file and label.
        pattern: regular expression with named groups, searched for in the path of a file below the root, without its
            extension; the group `label` is the class, the others are attributes.
        fps: frames per second, where the files do not say or are wrong.
        unit_metres: length of the files' unit in metres.
        up: the axis that points up in the files; "-y" where y points down.
        layout: name of the layout of the joints (`marrow layouts`), or a YAML file with one.
        joints: names of joints to keep.
        sides: right joint by left joint, where names do not tell.
        anchors: joint by role: centre, chest, left_hip, right_hip, left_shoulder, right_shoulder.
        min_confidence: joints below it are absent.
        axes: letters of an array's axes, for example "NTVC".
        markers: joint by the markers whose mean it is.
        columns: what a table's columns are called, by what they are.
        follow: whether people without an identity are followed from frame to frame by their position.
    """

    format: str | None = None
    paths: list[str] | None = field(default=None, hash=False)
    only: str | None = None
    labels: str = "auto"
    pattern: str | None = None
    fps: float | None = None
    unit_metres: float | None = None
    up: Literal["x", "y", "z", "-x", "-y", "-z"] | None = None
    layout: str | None = None
    joints: list[str] | None = field(default=None, hash=False)
    sides: dict[str, str] | None = field(default=None, hash=False)
    anchors: dict[str, str] | None = field(default=None, hash=False)
    min_confidence: float = 0.3
    axes: str | None = None
    markers: dict[str, list[str]] | None = field(default=None, hash=False)
    columns: dict[str, str] | None = field(default=None, hash=False)
    follow: bool = True

    # What stands in the files: known after `for_root`.
    skeleton: Skeleton = field(default=_UNKNOWN, init=False)
    classes: tuple[str, ...] = field(default=(), init=False)
    splits: Mapping[str, Split] = field(default_factory=dict, init=False, hash=False)
    findings: Findings | None = field(default=None, init=False, hash=False, repr=False, compare=False)
    # What `read` needs of them: the sources that the path of a record does not tell, by that path: those of more than
    # one file, and those with a "#" in it, which else stands before the key of a clip.
    _decisions: Decisions | None = field(default=None, init=False, hash=False, repr=False, compare=False)
    _root: Path | None = field(default=None, init=False, repr=False, compare=False)
    _told_apart: Mapping[str, Source] = field(default_factory=dict, init=False, hash=False, repr=False)
    # What most sources say of rate, unit and axis; and, by the path of their records, those that say something else.
    # Which joints of a file are kept, by the path of its records, where those are not all.
    _kept: Mapping[str, Kept] = field(default_factory=dict, init=False, hash=False, repr=False)
    _most: Said = field(default=Said(), init=False, hash=False, repr=False, compare=False)
    _unlike_most: Mapping[str, Said] = field(default_factory=dict, init=False, hash=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.format is not None:
            get_format(self.format)
        if self.fps is not None and not 0 < self.fps < np.inf:
            raise ConfigError(f"fps must be a number above 0, got {self.fps}")
        if self.unit_metres is not None and not 0 < self.unit_metres < np.inf:
            raise ConfigError(f"unit_metres must be a number above 0, got {self.unit_metres}")
        if not 0 <= self.min_confidence < np.inf:
            raise ConfigError(f"min_confidence must be a number from 0, got {self.min_confidence}")
        if self.joints is not None and (not self.joints or len({*self.joints}) < len(self.joints)):
            raise ConfigError(f"joints must be names of joints to keep, each once, got {list(self.joints)}")
        for role in self.anchors or ():
            if role not in ANCHOR_ROLES:
                raise ConfigError(f"anchors are {', '.join(ANCHOR_ROLES)}; got {role!r}")
        check_pattern(self.pattern)

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what only the listing of recordings needs, which is long: workers just read."""
        return {**self.__dict__, "findings": None, "splits": {}}

    def for_root(self, root: Path) -> "Recordings":
        """Return this reader with layout, classes and findings of the files below a folder.

        A reader that has them already, of the same folder, is returned as it is.

        Raises:
            DataError: there is no recording, or there are files of several formats.
            ParseError: no file of the format can be read.
            ConfigError: an option does not fit the files.
        """
        if self.findings is not None and self._root == root:
            return self
        files_format, files, no_recordings = self._files(root)
        for name, names in _OPTIONS_OF.items():
            if getattr(self, name) is not None and files_format.name not in names:
                raise ConfigError(f"{setting(name)} is for {' and '.join(names)}; the files are {files_format.name}")
        contents: dict[Source, Contents] = {}
        faulty: dict[Source, DataError] = {}
        sources = files_format.gather(files)
        with counting("looking at the files", "recordings") as progress:
            for place, source in enumerate(sources):
                progress(place, len(sources))
                try:
                    contents[source] = files_format.peek(source, self._read_options)
                except (ParseError, SkipRecording) as error:
                    faulty[source] = error
        if not sources:
            raise DataError(
                f"expected recordings below {root}; {_none_of(files)} one by itself, as {files_format.name} has them"
            )
        if not contents:
            raise _named(*next(iter(faulty.items())))
        kept: dict[Source, Kept] = {}
        for source, found in list(contents.items()):
            alone = with_joints(found, self.joints) if self.joints else None
            if alone is not None:
                contents[source], kept[source] = alone
        if not self.joints:
            contents, kept = with_shared_joints(contents)
        contents, of_other_layouts = of_one_layout(contents)
        faulty |= of_other_layouts
        most = self._not_told(most_say(contents.values()))
        joints = None if kept.keys() >= contents.keys() else self.joints
        told = Told(
            self.fps, self.unit_metres, self.up, self.layout, joints, self.sides, self.anchors, self.min_confidence
        )
        samples = self._samples(files_format, contents, most, kept)
        decisions = decide(files_format.name, list(contents.values()), samples, told)
        labelled = label_members(root, contents, list(faulty), self.labels, self.pattern)
        findings = Findings(
            format=files_format,
            contents=tuple(contents.values()),
            decisions=decisions,
            members=labelled.members,
            classes=labelled.classes,
            labels_from=labelled.source,
            faults=labelled.faults
            | {member.record.id: faulty[member.source] for member in labelled.members if member.source in faulty},
            no_recordings=tuple(file.relative_to(root).as_posix() for file in no_recordings),
            doubts=(
                *doubts_of(contents.values()),
                *doubts_of_what_is_said(contents, self.unit_metres is not None, self.up is not None),
                *decisions.doubts,
                *labelled.doubts,
            ),
        )
        paths = {source: source.path.relative_to(root).as_posix() for source in contents}
        # What was decided stands among the options of the store, as if it had been said.
        known = replace(self, format=files_format.name, unit_metres=decisions.unit_metres, up=decisions.up)
        for name, value in {
            "_root": root,
            "skeleton": decisions.skeleton,
            "classes": labelled.classes,
            "splits": splits_of(labelled.members),
            "findings": findings,
            "_decisions": decisions,
            "_told_apart": {path: source for source, path in paths.items() if len(source.files) > 1 or "#" in path},
            "_kept": {paths[source]: its for source, its in kept.items() if source in contents},
            "_most": most,
            "_unlike_most": {
                paths[source]: said
                for source, found in contents.items()
                if (said := self._not_told(Said.by(found))) != most
            },
        }.items():
            object.__setattr__(known, name, value)
        return known

    def records(self, root: Path) -> Iterator[Record]:
        """List the recordings, by path; `for_root` comes first."""
        if self.findings is None:
            raise ConfigError("this reader learns everything from the files: use Recordings(...).for_root(root)")
        faults = self.findings.faults
        yield from (replace(member.record, fault=faults.get(member.record.id)) for member in self.findings.members)

    def read(self, root: Path, record: Record) -> SkeletonSequence:
        """Read one recording; `for_root` comes first.

        Raises:
            ParseError: the file does not follow its format, or has another layout than most.
            SkipRecording: nobody can be seen in it.
        """
        if self._decisions is None:
            raise ConfigError("this reader learns everything from the files: use Recordings(...).for_root(root)")
        if record.fault is not None:
            raise record.fault
        path, key = self._path_and_key(record)
        source = self._told_apart.get(path) or Source(Path(path).stem, (root / path,))
        recording = get_format(self.format or "").read(source, key, self._read_options)
        if path in self._kept:
            recording = self._kept[path].of(recording)
        recording = as_most(recording, self._unlike_most.get(path, Said()), self._most)
        return self._decisions.sequence(recording, source, record)

    def files_of(self, root: Path, record: Record) -> tuple[Path, ...]:
        """Return the files that reading a recording reads; `for_root` comes first."""
        path, _ = self._path_and_key(record)
        source = self._told_apart.get(path)
        return (root / path,) if source is None else source.files

    @property
    def name(self) -> str:
        """How stores refer to the source."""
        return "import"

    @property
    def _read_options(self) -> ReadOptions:
        return ReadOptions(self.axes, self.layout, self.markers, self.columns, self.follow, self.fps)

    def _path_and_key(self, record: Record) -> tuple[str, str]:
        """Return the path of a record's source, and the key of its clip in it."""
        # The longest path first: a file may be called as a clip of another one would be.
        for place in reversed([place for place, sign in enumerate(record.path) if sign == "#"]):
            if record.path[:place] in self._told_apart:
                return record.path[:place], record.path[place + 1 :]
        if record.path in self._told_apart:
            return record.path, ""
        path, _, key = record.path.partition("#")
        return path, key

    def _files(self, root: Path) -> tuple[Format, list[Path], list[Path]]:
        """Return the format of the recordings below a folder, their files, and those that are none."""
        if not root.is_dir():
            raise DataError(f"expected a folder; {root} is none")
        files = files_below([root / path for path in self.paths] if self.paths else [root])
        files = [file for file in files if self.only is None or fnmatch.fnmatch(file.name, self.only)]
        # Not `Path.resolve`, which raises at a link to itself.
        table_of_labels = {os.path.realpath(self.labels), os.path.realpath(root / self.labels)}
        files = [file for file in files if os.path.realpath(file) not in table_of_labels]
        if not files:
            matching = "" if self.only is None else f" with a name like {self.only!r}"
            raise DataError(f"expected recordings below {root}; there is no file{matching}")
        told = self.format or ("table" if self.columns else "c3d" if self.markers else None)
        if told is not None:
            return get_format(told), *self._of_format(get_format(told), files)
        of_format: dict[str, list[Path]] = {}
        formats: dict[str, Format] = {}
        for file in files:
            candidate = detect(file)
            name = "" if candidate is None else candidate.name
            of_format.setdefault(name, []).append(file)
            if candidate is not None:
                formats[name] = candidate
        no_recordings = of_format.pop("", [])
        if not of_format:
            raise DataError(
                f"expected recordings below {root}; {_none_of(files)} of a known format. `marrow import --help` lists "
                f"the formats; data sets that `marrow prepare --help` names have readers of their own; "
                f"docs/add-a-reader.md shows how to read another, and `marrow.store.write_store` takes arrays"
            )
        if len(of_format) > 1:
            listed = "; ".join(
                f"{len(found)} of {name} ({found[0].name}{', ...' if len(found) > 1 else ''})"
                for name, found in of_format.items()
            )
            raise DataError(
                f"expected recordings of one format below {root}, found {listed}. "
                f"Read each by itself, with {' or '.join(setting('format', name) for name in of_format)}, or choose "
                f"files by {setting('only', 'PATTERN')}"
            )
        name, found = next(iter(of_format.items()))
        # What cannot be read and is called as the others is one of them that is missing, and not something else.
        suffixes = {file.suffix for file in found}
        lost = [file for file in no_recordings if file.suffix in suffixes and not is_readable(file)]
        return formats[name], sorted([*found, *lost]), [file for file in no_recordings if file not in lost]

    def _of_format(self, wanted: Format, files: Sequence[Path]) -> tuple[list[Path], list[Path]]:
        """Return the files to read as a format that was asked for, and the others.

        Files of which several formats may be made are taken; those that are surely of another kind are not.
        """
        accepted = [file for file in files if wanted.accepts(head_of(file))]
        taken = set(accepted or files)
        return [file for file in files if file in taken], [file for file in files if file not in taken]

    def _not_told(self, said: Said) -> Said:
        """Return what a source says, without what the user says of all."""
        return replace(
            said,
            unit_metres=said.unit_metres if self.unit_metres is None else None,
            up=said.up if self.up is None else None,
        )

    def _samples(
        self,
        files_format: Format,
        contents: Mapping[Source, Contents],
        most: Said,
        kept: Mapping[Source, Kept],
    ) -> list[Sample]:
        """Read a few recordings, evenly spread over all, in the unit and axes of most."""
        sources = list(contents)
        places = np.unique(np.linspace(0, len(sources) - 1, min(_SAMPLES, len(sources))).round().astype(int))
        samples = []
        failure: MarrowError | None = None
        for source in [sources[place] for place in places]:
            clips = contents[source].clips
            chosen = np.unique(np.linspace(0, len(clips) - 1, max(1, _SAMPLES // len(places))).round().astype(int))
            for place in chosen[: len(clips)]:
                try:
                    recording = files_format.read(source, clips[place].key, self._read_options)
                except DataError as error:
                    failure = failure or _named(source, error)
                    continue
                said = self._not_told(Said.by(contents[source]))
                name = f"{source.path.name}{'#' if clips[place].key else ''}{clips[place].key}"
                recording = kept[source].of(recording) if source in kept else recording
                samples.append(Sample(contents[source], as_most(recording, said, most), name))
        if not samples and failure is not None:
            raise failure
        return samples


def _named(source: Source, error: DataError) -> DataError:
    """Return an error that names its file; why a recording is left out does not, for a list of them names each."""
    return DataError(f"{source.path}: {error}") if isinstance(error, SkipRecording) else error


def _none_of(files: Sequence[Path]) -> str:
    if len(files) == 1:
        return f"its only file, {files[0].name}, is not"
    return f"none of its {len(files):,} files (the first is {files[0].name}) is"
