"""Which rows of a store train and which test: splits, folds, filters. NumPy only.

A filter is one or more conditions joined by `&`: `view=1 & subject=1,2,3` or `subject!=10`. Names are those of the
store's attributes, and `label`.
"""

import hashlib

import numpy as np
from jaxtyping import Int64

from marrow.errors import ConfigError
from marrow.readers.folds import Folds, parse_folds
from marrow.store.format import Store

_GRAMMAR = "a filter is NAME=VALUE[,VALUE...] or NAME!=VALUE[,VALUE...], joined by &, as in 'view=1 & subject=1,2,3'"

Rows = Int64[np.ndarray, " _"]


def protocol_rows(store: Store, protocol: str) -> tuple[Rows, Rows]:
    """Return the training and the test rows of a protocol.

    Args:
        store: the data.
        protocol: the name of one of the store's splits; or one fold, which is tested on while all other clips train:
            `leave-one-out:ATTRIBUTE=VALUE`, `k-fold:K#0`, `k-fold:K:ATTRIBUTE#0`, or a name that the store has for
            one of these with `=VALUE` or `#0`; or `FILTER -> FILTER`, training filter first.

    Raises:
        ConfigError: there is no such split, attribute, value or fold, or a side is empty, or the two overlap, or all
            folds are meant at once.
    """
    protocol = resolved(store, protocol)
    if folds := parse_folds(protocol):
        if folds.fold is None:
            one = folds.one("VALUE" if folds.kind == "leave-one-out" else 0)
            raise ConfigError(f"{protocol!r} stands for all its folds, and one is needed here: {one}")
        if folds.kind == "leave-one-out":
            test = where(store, f"{folds.attribute}={folds.fold}")
        else:
            test = np.flatnonzero(_k_folds(store, folds) == int(folds.fold))
        train = np.setdiff1d(np.arange(len(store)), test)
    elif "->" in protocol:
        train_filter, _, test_filter = protocol.partition("->")
        train, test = where(store, train_filter), where(store, test_filter)
        shared = np.intersect1d(train, test)
        if len(shared):
            raise ConfigError(f"protocol {protocol!r} has {len(shared)} clips on both sides")
    else:
        train, test = (np.asarray(rows, dtype=np.int64) for rows in store.split_rows(protocol))
    for side, rows in (("train", train), ("test", test)):
        if len(rows) == 0:
            raise ConfigError(f"protocol {protocol!r} has no {side} clip in this store of {len(store)} clips")
    return train, test


def chosen_rows(store: Store, words: str | None) -> tuple[Rows, Rows]:
    """Return the rows that words choose, and those of the other half where a half of a protocol was named.

    Args:
        store: the data.
        words: "SPLIT/train" or "SPLIT/test", where SPLIT is anything that `--protocol` takes; or a filter such as
            "subject=1,2 & view=0"; None: every clip.

    Raises:
        ConfigError: the store has no such split, attribute or value, or no clip is left.
    """
    if words is None:
        return np.arange(len(store)), np.empty(0, np.int64)
    protocol, slash, half = words.rpartition("/")
    if slash and half in ("train", "test"):
        train, test = protocol_rows(store, protocol)
        return (train, test) if half == "train" else (test, train)
    name = words.partition("/")[0]
    if name in store.splits:
        raise ConfigError(f"{name!r} is a split of {store.path}: give {name}/train or {name}/test, got {words!r}")
    chosen = where(store, words)
    if not len(chosen):
        raise ConfigError(f"no clip of {store.path} satisfies {words!r}")
    return chosen, np.empty(0, np.int64)


def leave_one_out(store: Store, attribute: str) -> list[str]:
    """Return one protocol per value of an attribute, in the order of the values."""
    values = np.unique(_groups(store, attribute))
    if len(values) < 2:
        raise ConfigError(f"leave-one-out needs two values of {attribute!r}, the store has {values.tolist()}")
    return [Folds("leave-one-out", attribute).one(value) for value in values.tolist()]


def fold_protocols(store: Store, protocol: str) -> list[str]:
    """Return the folds that a protocol stands for, each as a protocol; of any other protocol just itself.

    Every clip is tested in exactly one of the folds.

    Raises:
        ConfigError: there are not as many values or clips as folds, or some clips lack the attribute.
    """
    protocol = resolved(store, protocol)
    folds = parse_folds(protocol)
    if folds is None or folds.fold is not None:
        return [protocol]
    if folds.kind == "leave-one-out":
        return leave_one_out(store, folds.attribute)
    _k_folds(store, folds)  # what is wrong is said before the first fold is done
    return [folds.one(fold) for fold in range(folds.count)]


def resolved(store: Store, protocol: str) -> str:
    """Return what a name of folds that the store has stands for; any other protocol as it is."""
    name = protocol.partition("#")[0].partition("=")[0]
    if name not in store.folds or "->" in protocol:
        return protocol
    return store.folds[name] + protocol.removeprefix(name)


def _k_folds(store: Store, folds: Folds) -> Rows:
    """Return the fold of each clip. It depends on ids, labels and values alone, not on the order of the clips."""
    fold = np.empty(len(store), np.int64)
    if not folds.attribute:
        if folds.count > len(store):
            raise ConfigError(f"{folds.protocol!r}: expected at least {folds.count} clips, the store has {len(store)}")
        # Dealt out like cards, class by class: no class and no fold has more than one clip too many.
        order = sorted(range(len(store)), key=lambda row: (int(store.label[row]), _lot(store.ids[row])))
        fold[order] = np.arange(len(store)) % folds.count
        return fold
    values, group, sizes = np.unique(_groups(store, folds.attribute), return_inverse=True, return_counts=True)
    if folds.count > len(values):
        raise ConfigError(
            f"{folds.protocol!r}: expected at least {folds.count} values of {folds.attribute!r}, the store has "
            f"{len(values)}: {', '.join(map(str, values[:30]))}"
        )
    # The largest groups first, each to the fold that has the fewest clips so far.
    clips = [0] * folds.count
    for place in sorted(range(len(values)), key=lambda place: (-sizes[place], _lot(str(values[place])))):
        smallest = clips.index(min(clips))
        clips[smallest] += int(sizes[place])
        fold[group == place] = smallest
    return fold


def _lot(name: str) -> bytes:
    """Return what decides in place of chance, the same everywhere and for ever."""
    return hashlib.blake2b(name.encode(), digest_size=8).digest()


def _groups(store: Store, attribute: str) -> np.ndarray:
    """Return an attribute that every clip has.

    Raises:
        ConfigError: there is no such attribute, or some clips do not have it, so that they would never be tested.
    """
    values = _attribute(store, attribute)
    lacking = [row for row, value in enumerate(values.tolist()) if value is None]
    if lacking:
        raise ConfigError(
            f"folds over {attribute!r} need it of every clip; {len(lacking)} of {len(store)} have none, the first is "
            f"{store.ids[lacking[0]]}"
        )
    return values


def where(store: Store, expression: str) -> Rows:
    """Return the rows that satisfy every condition of a filter, in ascending order.

    Raises:
        ConfigError: the filter cannot be read, or names an attribute or value that the store does not have.
    """
    chosen = np.ones(len(store), dtype=np.bool_)
    for condition in expression.split("&"):
        name, equals, listed = condition.partition("=")
        wanted = [value.strip() for value in listed.split(",")]
        if not equals or not name.strip(" !") or not all(wanted):
            raise ConfigError(f"cannot read {condition.strip()!r} in the filter {expression.strip()!r}: {_GRAMMAR}")
        excludes = name.rstrip().endswith("!")
        name = name.rstrip().removesuffix("!").strip()
        values = _attribute(store, name).astype(str)
        choices = np.unique(values)
        unknown = [value for value in wanted if value not in choices]
        if unknown:
            raise ConfigError(
                f"no clip of this store has {name}={unknown[0]}. Values of {name!r}: {', '.join(choices[:30])}"
                + (", ..." if len(choices) > 30 else "")
            )
        chosen &= np.isin(values, wanted) != excludes
    return np.flatnonzero(chosen)


def _attribute(store: Store, name: str) -> np.ndarray:
    """Return an attribute of every clip; `label` counts as one."""
    return np.asarray(store.label) if name == "label" else np.asarray(store.attribute(name))
