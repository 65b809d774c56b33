"""Several stores as one: their clips in the general layout `BODY`, by row, with a weight for each store.

Clips are brought to that layout as they are read; nothing is copied or padded on the disk. Recordings longer than
some seconds count as pieces of equal length, so that an hour of walking weighs as much as an hour of short clips.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from marrow.data.subsets import chosen_rows
from marrow.errors import ConfigError, MarrowError
from marrow.skeleton.body import BODY
from marrow.skeleton.layout import Skeleton
from marrow.store.copies import PAIRS_UNASKED, near_duplicates
from marrow.store.format import Store
from marrow.yaml_file import Mapping as YamlMapping
from marrow.yaml_file import Section, load

_NAMED = re.compile(r"(?P<name>[A-Za-z][\w-]*)=(?P<rest>.+)", re.DOTALL)
_GRAMMAR = "NAME=FOLDER, NAME=FOLDER:SPLIT/train, NAME=FOLDER:FILTER, with *WEIGHT behind if need be"
# The shortest piece that is a clip.
_FEWEST_FRAMES = 4


@dataclass(frozen=True)
class StoreChoice:
    """One of several stores to learn from.

    Args:
        name: what it is called in messages and reports.
        path: its folder.
        rows: "SPLIT/train" or "SPLIT/test", where SPLIT is whatever `--protocol` takes; or a filter; null: every clip.
        weight: how often its clips come, beside the weights of the others; null: as many as it has clips.
        joints: joint of the store by place of the body, where names do not tell.
    """

    name: str
    path: Path
    rows: str | None = None
    weight: float | None = None
    joints: dict[str, str] = field(default_factory=dict[str, str], hash=False)

    def __post_init__(self) -> None:
        if self.weight is not None and not 0.0 < self.weight < np.inf:
            raise ConfigError(
                f"the weight of the store {self.name!r} must be positive, got {self.weight:g}; leave the store out "
                "rather than give it no weight"
            )


def parse_choice(text: str) -> StoreChoice:
    """Return the store that an option `--store` means: NAME=FOLDER:ROWS*WEIGHT, of which all but FOLDER may lack.

    Raises:
        ConfigError: it cannot be read.
    """
    named = _NAMED.fullmatch(text)
    rest = named["rest"] if named else text
    body, star, weight = rest.rpartition("*")
    try:
        number = float(weight) if star else None
    except ValueError as error:
        raise ConfigError(
            f"cannot read the weight {weight!r} of the store {text!r}: expected a number behind *"
        ) from error
    folder, _, rows = (body if star else rest).partition(":")
    if not folder:
        raise ConfigError(f"cannot read the store {text!r}: expected {_GRAMMAR}")
    name = named["name"] if named else Path(folder).name or folder
    return StoreChoice(name, Path(folder), rows or None, number)


def choice_in_words(choice: StoreChoice) -> str:
    """Return a store as `parse_choice` reads it; joints that are named stand in a file of stores alone."""
    rows = "" if choice.rows is None else f":{choice.rows}"
    weight = "" if choice.weight is None else f"*{choice.weight:g}"
    return f"{choice.name}={choice.path}{rows}{weight}"


def choices_in(path: Path) -> list[StoreChoice]:
    """Return the stores that a YAML file lists: `NAME: {path: FOLDER, rows: ..., weight: ..., joints: {...}}` each.

    Folders are relative to that of the file.

    Raises:
        ConfigError: it is no such list; says in which line.
    """
    listed = load(path)
    file = Section(listed, str(path), path, tuple(listed))
    choices = []
    for name, values in listed.items():
        if not isinstance(values, YamlMapping):
            raise file.error(name, f"expected `{name}: {{path: FOLDER}}`, got {str(values)[:60]!r}")
        section = Section(values, name, path, ("path", "rows", "weight", "joints"))
        folder, weight, joints = section.text("path"), values.get("weight"), section.mapping("joints") or {}
        if folder is None:
            raise section.error("path", "expected the folder of the store as `path`")
        if weight is not None and (isinstance(weight, bool) or not isinstance(weight, int | float)):
            raise section.error("weight", f"expected a number for weight, got {weight!r}")
        if not all(isinstance(joint, str) for joint in joints.values()):
            raise section.error("joints", f"expected `place of the body: joint` pairs for joints, got {joints!r}")
        try:
            weight = None if weight is None else float(weight)
            choices.append(StoreChoice(name, path.parent / folder, section.text("rows"), weight, joints))
        except ConfigError as error:
            raise section.error("weight", str(error)) from error
    if not choices:
        raise ConfigError(f"{path}: expected at least one store")
    return choices


@dataclass(frozen=True)
class Member:
    """One store of a pool.

    Args:
        choice: what was asked for.
        store: brought to the general layout.
        rows: of the store that are in the pool.
        kept_apart: rows of the other half of its split, which are not.
    """

    choice: StoreChoice
    store: Store
    rows: Int64[np.ndarray, " row"]
    kept_apart: Int64[np.ndarray, " other"]


class Pool:
    """Clips of several stores, by row; the rows of a store lie one behind the other. See `ClipSource`.

    Attributes:
        members: the stores.
        member: place of each clip's store among them.
        shares: (clips, weight) of each store.
        fingerprint: hash of what all stores hold, which rows of them are here, and the weights.
        path: the names of the stores, for messages.
    """

    def __init__(self, members: Sequence[Member], piece_seconds: float | None) -> None:
        """Use `open_pool`."""
        self.skeleton = self.read_as = BODY
        self.members, self.piece_seconds = tuple(members), piece_seconds
        parts = [_pieces(member, piece_seconds) for member in members]
        self.member = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        pieces = np.concatenate(parts)
        self._row, self._first, self.frame_count = pieces[:, 0], pieces[:, 1], pieces[:, 2]
        stores = [member.store for member in members]
        counts = [np.flatnonzero(self.member == number) for number in range(len(parts))]
        self.body_count = np.empty(len(pieces), np.int64)
        self.fps = np.empty(len(pieces), np.float64)
        self.label = np.full(len(pieces), -1, np.int64)
        # Whoever is not known is a person of his own.
        self._person = -1 - np.arange(len(pieces))
        classes = people = 0
        for store, places in zip(stores, counts, strict=True):
            rows = self._row[places]
            self.body_count[places], self.fps[places] = store.body_count[rows], store.fps[rows]
            label = np.asarray(store.label, np.int64)[rows]
            # Classes and people of different stores are different ones.
            self.label[places] = np.where(label >= 0, label + classes, -1)
            classes += len(store.classes)
            subjects = store.subjects()
            if subjects is not None:
                subject = np.unique([str(name) for name in subjects], return_inverse=True)[1]
                self._person[places] = subject[rows] + people
                people += int(subject.max()) + 1
        self.shares = tuple(
            (len(places), float(len(places) if member.choice.weight is None else member.choice.weight))
            for member, places in zip(members, counts, strict=True)
        )
        self.fingerprint = self._fingerprint()
        self.path = ", ".join(member.choice.name for member in members)

    def __len__(self) -> int:
        return len(self.label)

    def __repr__(self) -> str:
        return f"Pool({self.path}: {len(self)} clips)"

    def frames(
        self, row: int
    ) -> tuple[Float32[np.ndarray, "body frame joint 3"], Bool[np.ndarray, "body frame joint"]]:
        """Return a clip's positions and flags."""
        part = slice(int(self._first[row]), int(self._first[row] + self.frame_count[row]))
        return self.members[int(self.member[row])].store.frames(int(self._row[row]), part)

    def layout_of(self, row: int) -> Skeleton:
        """Return the general layout, with what is derived in the clip's store, in as many dimensions as that has."""
        return self.members[int(self.member[row])].store.skeleton

    def subjects(self) -> np.ndarray:
        """Return a number for the person in each clip."""
        return self._person

    def members_of(self, rows: Int64[np.ndarray, " row"]) -> dict[str, Int64[np.ndarray, " place"]]:
        """Return the places of some rows by the name of the store that they are of."""
        return {
            member.choice.name: np.flatnonzero(self.member[rows] == number)
            for number, member in enumerate(self.members)
        }

    def reopened(self) -> "Pool":
        """Open the same clips anew: for another process."""
        return Pool(
            [Member(member.choice, member.store.reopened(), member.rows, member.kept_apart) for member in self.members],
            self.piece_seconds,
        )

    def described(self) -> list[dict[str, Any]]:
        """Return what provenance and environment say of each store."""
        return [
            {
                "name": member.choice.name,
                "path": str(member.choice.path),
                "source": member.store.source,
                "fingerprint": member.store.fingerprint,
                "rows": member.choice.rows or "all",
                "clips": len(member.rows),
                "pieces": clips,
                "weight": weight,
            }
            for member, (clips, weight) in zip(self.members, self.shares, strict=True)
        ]

    def _fingerprint(self) -> str:
        digest = hashlib.sha256(repr(self.piece_seconds).encode())
        for member, (_, weight) in zip(self.members, self.shares, strict=True):
            digest.update(f"{member.store.fingerprint} {weight!r} {sorted(member.choice.joints.items())}".encode())
            digest.update(np.ascontiguousarray(member.rows, np.int64).tobytes())
        return digest.hexdigest()[:32]


def open_pool(choices: Sequence[StoreChoice], piece_seconds: float | None = None) -> tuple[Pool, list[str]]:
    """Open stores together, and return what is to be said of them: whose test clips are in others, and what is odd.

    Raises:
        ConfigError: two have one name or hold the same clips; nothing is left of one; joints cannot be mapped.
        StoreError: one cannot be opened.
    """
    if not choices:
        raise ConfigError("expected at least one store")
    if piece_seconds is not None and not 0.0 < piece_seconds < np.inf:
        raise ConfigError(f"piece_seconds must be positive, got {piece_seconds:g}")
    names = [choice.name for choice in choices]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"two stores are called {twice!r}: give them names, as in one={choices[0].path}")
    members = [_member(choice) for choice in choices]
    notes = _copies(members)
    pool = Pool(members, piece_seconds)
    for choice, (clips, _) in zip(choices, pool.shares, strict=True):
        if not clips:
            raise ConfigError(
                f"nothing of the store {choice.name!r} is left: its clips have fewer than {_FEWEST_FRAMES} frames"
            )
    drawn = _draws_per_clip(pool.shares)
    for name, draws in zip(names, drawn, strict=True):
        if draws > 20.0:
            notes.append(
                f"each clip of {name} is drawn {draws:.0f} times an epoch on average: by its weight it comes that often"
            )
    return pool, notes


def _member(choice: StoreChoice) -> Member:
    try:
        store = Store.open(choice.path)
        rows, others = chosen_rows(store, choice.rows)
    except MarrowError as error:
        raise type(error)(f"store {choice.name!r}: {error}") from error
    if store.skeleton.joints == BODY.joints:
        return Member(choice, store, rows, others)
    try:
        return Member(choice, store.brought_to(BODY, choice.joints), rows, others)
    except ConfigError as error:
        raise ConfigError(
            f"store {choice.name!r}: {error}. Joints are named in a file that lists the stores, as in "
            "joints: {left elbow: MyElbow}"
        ) from error


def _copies(members: Sequence[Member]) -> list[str]:
    """Say which clips of a store are copies of such as another keeps apart; refuse stores that hold the same."""
    contents = [{member.store.content[row] for row in member.rows.tolist()} for member in members]
    notes = []
    for number, member in enumerate(members):
        for other in range(number):
            shared = len(contents[number] & contents[other])
            if shared and shared == min(len(contents[number]), len(contents[other])):
                raise ConfigError(
                    f"the stores {members[other].choice.name!r} and {member.choice.name!r} hold the same clips "
                    f"({shared}): give each clip once, with a weight if it shall come more often"
                )
        for other, learned in enumerate(members):
            where_from = "its own other half" if other == number else f"the store {learned.choice.name!r}"
            apart = member.kept_apart
            is_copy = np.isin(apart, [row for row in apart.tolist() if member.store.content[row] in contents[other]])
            others, pairs = apart[~is_copy], int((~is_copy).sum()) * len(learned.rows)
            near = []
            if pairs <= PAIRS_UNASKED:
                near = near_duplicates(learned.store, learned.rows, others, store_b=member.store)
            else:
                notes.append(
                    f"whether clips that {member.choice.name!r} keeps apart have near copies in {where_from} was not "
                    f"looked for: there are {pairs:,} pairs, and at most {PAIRS_UNASKED:,} are compared"
                )
            for count, kind in ((int(is_copy.sum()), "an identical"), (len(near), "a near")):
                if count:
                    notes.append(
                        f"{count} of the {len(apart)} clips that {member.choice.name!r} keeps apart "
                        f"({member.choice.rows or 'all'}) have {kind} copy in {where_from}, which is learned from"
                    )
    return notes


def copies_elsewhere(apart: StoreChoice, others: Sequence[StoreChoice]) -> list[str]:
    """Say which clips of a store that is kept apart as a whole have copies in others, which are learned from."""
    store = _member(replace(apart, rows=None))
    kept = replace(store, rows=store.rows[:0], kept_apart=store.rows)
    return _copies([kept, *(_member(choice) for choice in others)])


def _pieces(member: Member, piece_seconds: float | None) -> Int64[np.ndarray, "piece 3"]:
    """Return row, first frame and frames of each piece."""
    pieces: list[tuple[int, int, int]] = []
    for row in member.rows.tolist():
        frames, fps = int(member.store.frame_count[row]), float(member.store.fps[row])
        count = 1 if piece_seconds is None else max(1, round(frames / fps / piece_seconds))
        limits = np.linspace(0, frames, count + 1).round().astype(np.int64).tolist()
        pieces += [(row, first, end - first) for first, end in pairwise(limits) if end - first >= _FEWEST_FRAMES]
    return np.array(pieces, np.int64).reshape(-1, 3)


def _draws_per_clip(shares: Sequence[tuple[int, float]]) -> Float64[np.ndarray, " store"]:
    """Return how often a clip of each store comes in an epoch, which is as long as there are clips."""
    clips, weights = np.array([clips for clips, _ in shares], float), np.array([weight for _, weight in shares])
    return clips.sum() * weights / weights.sum() / np.maximum(clips, 1.0)
