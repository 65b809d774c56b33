"""Protocols that test every clip once, part by part: what their expressions say.

- `leave-one-out:ATTRIBUTE`: one fold per value of an attribute; a single one is `leave-one-out:ATTRIBUTE=VALUE`.
- `k-fold:K`: K folds of clips, each with its share of every class.
- `k-fold:K:ATTRIBUTE`: K folds of whole groups, clips with one value of the attribute staying together.

A single fold of K is `k-fold:K#0` or `k-fold:K:ATTRIBUTE#0`, up to `#K-1`. Which clips make up a fold is in
`marrow.data.subsets`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from marrow.errors import ConfigError

FOLDS_GRAMMAR = "leave-one-out:ATTRIBUTE, k-fold:K (by clip) or k-fold:K:ATTRIBUTE (whole groups)"

# What follows the name, of which none may stand in it.
_RESERVED = re.compile(r"[:=#&,/]|->|^\s|\s$|^$")
_LEAVE_ONE_OUT = re.compile(r"leave-one-out:([^=]+)(?:=(.*))?", re.DOTALL)
_K_FOLD = re.compile(r"k-fold:(\d{1,6})(?::([^#]+))?(?:#(\d{1,6}))?", re.ASCII)


@dataclass(frozen=True)
class Folds:
    """What a protocol of folds says.

    Args:
        kind: one fold per value, or a number of folds.
        attribute: whose values stay together; "" where clips are divided.
        count: number of folds of "k-fold"; 0 for "leave-one-out", where the values decide.
        fold: the one fold that is meant, a value or a 0-based number as text; None for all of them.
    """

    kind: Literal["leave-one-out", "k-fold"]
    attribute: str
    count: int = 0
    fold: str | None = None

    @property
    def protocol(self) -> str:
        """The expression, without the fold."""
        if self.kind == "leave-one-out":
            return f"leave-one-out:{self.attribute}"
        return f"k-fold:{self.count}" + (f":{self.attribute}" if self.attribute else "")

    def one(self, fold: int | str) -> str:
        """Return the expression of a single fold."""
        return f"{self.protocol}{'=' if self.kind == 'leave-one-out' else '#'}{fold}"


def parse_folds(protocol: str) -> Folds | None:
    """Return what a protocol of folds says; None if it is a protocol of another kind.

    Raises:
        ConfigError: it begins as one of folds does, and does not go on so, or has fewer than two folds.
    """
    if not protocol.startswith(("leave-one-out:", "k-fold:")):
        return None
    if match := _LEAVE_ONE_OUT.fullmatch(protocol):
        return Folds("leave-one-out", match[1].strip(), fold=match[2])
    if (match := _K_FOLD.fullmatch(protocol)) is None:
        raise ConfigError(f"cannot read the protocol {protocol!r}: folds are {FOLDS_GRAMMAR}")
    folds = Folds("k-fold", (match[2] or "").strip(), int(match[1]), match[3])
    if folds.count < 2:
        raise ConfigError(f"{folds.protocol!r}: expected at least 2 folds, got {folds.count}")
    if folds.fold is not None and int(folds.fold) >= folds.count:
        raise ConfigError(f"{protocol!r}: expected a fold from #0 to #{folds.count - 1}, got #{folds.fold}")
    return folds


def check_declared_folds(declared: Mapping[str, str], splits: Mapping[str, object], attributes: set[str]) -> None:
    """Check the folds that a reader declares.

    Args:
        declared: protocol by name.
        splits: the reader's splits, whose names are taken.
        attributes: names of the attributes that clips have.

    Raises:
        ConfigError: a name cannot be one, or is that of a split; a protocol is not one of all folds, or goes by an
            attribute that no clip has.
    """
    for name, protocol in declared.items():
        if not isinstance(name, str) or _RESERVED.search(name) or name in splits:
            problem = "a split has this name" if name in splits else "expected a plain word"
            raise ConfigError(f"the folds {name!r}: {problem}")
        folds = parse_folds(protocol) if isinstance(protocol, str) else None
        if folds is None or folds.fold is not None:
            raise ConfigError(f"the folds {name!r}: expected {FOLDS_GRAMMAR}, got {protocol!r}")
        if folds.attribute not in ("", "label", *attributes):
            listed = ", ".join(sorted(attributes)) or "none"
            raise ConfigError(
                f"the folds {name!r}: no clip has the attribute {folds.attribute!r}; attributes: {listed}"
            )
