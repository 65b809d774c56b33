"""Which rows of a store train and which test: splits, leave-one-out, filters. NumPy only.

A filter is one or more conditions joined by `&`: `view=1 & subject=1,2,3` or `subject!=10`. Names are those of the
store's attributes, and `label`.
"""

import numpy as np
from jaxtyping import Int64

from marrow.errors import ConfigError
from marrow.store.format import Store

_LEAVE_ONE_OUT = "leave-one-out:"
_GRAMMAR = "a filter is NAME=VALUE[,VALUE...] or NAME!=VALUE[,VALUE...], joined by &, as in 'view=1 & subject=1,2,3'"

Rows = Int64[np.ndarray, " _"]


def protocol_rows(store: Store, protocol: str) -> tuple[Rows, Rows]:
    """Return the training and the test rows of a protocol.

    Args:
        store: the data.
        protocol: the name of one of the store's splits; or `leave-one-out:ATTRIBUTE=VALUE`, which tests on the clips
            with that value and trains on all others; or `FILTER -> FILTER`, training filter first.

    Raises:
        ConfigError: there is no such split, attribute or value, or a side is empty, or the two overlap.
    """
    if protocol.startswith(_LEAVE_ONE_OUT):
        condition = protocol.removeprefix(_LEAVE_ONE_OUT)
        test = where(store, condition)
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


def leave_one_out(store: Store, attribute: str) -> list[str]:
    """Return one protocol per value of an attribute, in the order of the values."""
    values = np.unique(_attribute(store, attribute))
    if len(values) < 2:
        raise ConfigError(f"leave-one-out needs two values of {attribute!r}, the store has {values.tolist()}")
    return [f"{_LEAVE_ONE_OUT}{attribute}={value}" for value in values.tolist()]


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
