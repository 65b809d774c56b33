"""Which training clips keep their labels: drawn, written to a file that others can read, and read from one. NumPy only.

A draw is a pure function of the data and a seed, so that all processes, encoders and methods learn from the same clips;
and a smaller draw is part of a larger one with the same seed, so that scores with more labels differ by the labels that
were added. A file names clips by their ids: it holds for a store that was prepared in another way, too.
"""

import json
import logging
import math
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from marrow.data.subsets import Rows, fold_protocols, protocol_rows
from marrow.errors import ConfigError
from marrow.files import write_text_whole
from marrow.store.format import Store

LABELS_VERSION = 1
Scheme = Literal["stratified", "uniform", "per_class"]
# What published few-label protocols use, and what is published where nothing else is asked for.
FRACTIONS, SHOTS = (0.01, 0.05, 0.1, 0.2), (1, 2, 5, 10)
DRAWS = 5

_log = logging.getLogger(__name__)


def draw_labels(store: Store, rows: Rows, scheme: Scheme, amount: float, seed: int) -> Rows:
    """Draw the clips that keep their labels, in ascending order.

    Args:
        store: the data.
        rows: the training half; clips without a label are left out.
        scheme: stratified: a share of every class, at least one clip each. uniform: a share of all clips, whatever
            their class, rounded down; it may miss classes. per_class: so many clips of every class, or all of a class
            that has fewer.
        amount: a share in (0, 1]; of per_class, a number of clips.
        seed: of the draw.

    Raises:
        ConfigError: an amount that is none, or one of which no clip is left.
    """
    check_amount(scheme, amount)
    if seed < 0:
        raise ConfigError(f"the seed of a draw of labels must not be negative, got {seed}")
    if scheme == "stratified":
        orders = _class_orders(store, rows, seed)
        return np.sort(np.concatenate([order[: max(1, round(amount * len(order)))] for order in orders]))
    if scheme == "per_class":
        return np.sort(np.concatenate([order[: int(amount)] for order in _class_orders(store, rows, seed)]))
    labelled = rows[np.asarray(store.label)[rows] >= 0]
    # 0.29 of 100 clips are 28.999999999999996 to the computer, and 29 to everyone else.
    count = math.floor(round(amount * len(labelled), 6))
    if count == 0:
        raise ConfigError(
            f"{100 * amount:g} % of {len(labelled)} labelled clips, rounded down, is not one clip; take a larger "
            "share, or the scheme stratified, which leaves every class one"
        )
    order = np.random.default_rng([seed, zlib.crc32(b"uniform_labels")]).permutation(labelled)
    return np.sort(order[:count])


def _class_orders(store: Store, rows: Rows, seed: int) -> list[Rows]:
    """Shuffle the labelled clips of each class, classes in ascending order: who keeps few labels keeps the first ones.

    Args:
        store: the data.
        rows: to shuffle; clips without a label are left out.
        seed: of the shuffling.

    Raises:
        ConfigError: no clip has a label.
    """
    labels = np.asarray(store.label)[rows]
    # The name in the seed is that of the first draw that was made of it: published draws stay what they are.
    rng = np.random.default_rng([seed, zlib.crc32(b"label_fraction")])
    orders = [rng.permutation(rows[labels == label]) for label in np.unique(labels[labels >= 0])]
    if not orders:
        raise ConfigError(f"none of the {len(rows)} clips has a label to draw from")
    return orders


def check_amount(scheme: Scheme, amount: float) -> None:
    """Raise a ConfigError where an amount is none of its scheme."""
    if scheme not in get_args(Scheme):
        raise ConfigError(f"a draw of labels is one of {', '.join(get_args(Scheme))}, got {scheme!r}")
    if scheme == "per_class":
        if amount != int(amount) or amount < 1:
            raise ConfigError(f"clips per class must be a whole number from 1 on, got {amount:g}")
    elif not 0.0 < amount <= 1.0:
        raise ConfigError(f"a share of labels must lie in (0, 1], got {amount:g} (1 % is 0.01)")


@dataclass(frozen=True)
class LabelDraw:
    """One draw.

    Args:
        protocol: the division of the data whose training half was drawn from; of folds, one.
        amount: a share, or a number of clips per class.
        seed: of the draw.
        names: ids of the clips that keep their labels, in the order of the store.
    """

    protocol: str
    amount: float
    seed: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class LabelLists:
    """Draws to be shared.

    Args:
        store: fingerprint of the store that they were drawn from.
        protocol: as it was asked for; one of folds stands for all of them.
        scheme: how they were drawn.
        draws: one per fold, amount and seed.
    """

    store: str
    protocol: str
    scheme: Scheme
    draws: tuple[LabelDraw, ...]

    @classmethod
    def drawn(
        cls, store: Store, protocol: str, scheme: Scheme, amounts: Sequence[float], seeds: Sequence[int]
    ) -> "LabelLists":
        """Draw from the training half of a protocol, or of each of its folds."""
        if not amounts or not seeds:
            raise ConfigError(f"expected at least one amount and one seed, got {list(amounts)} and {list(seeds)}")
        draws = []
        for fold in fold_protocols(store, protocol):
            train_rows, _ = protocol_rows(store, fold)
            for amount in amounts:
                for seed in seeds:
                    rows = draw_labels(store, train_rows, scheme, amount, seed)
                    names = tuple(store.ids[row] for row in rows)
                    draws.append(LabelDraw(fold, float(amount), seed, names))
        return cls(store.fingerprint, protocol, scheme, tuple(draws))

    def save(self, path: Path) -> None:
        """Write the lists as JSON."""
        # Clips per class are whole numbers, and are written as such.
        written = int if self.scheme == "per_class" else float
        draws = [{**asdict(draw), "amount": written(draw.amount), "labels": len(draw.names)} for draw in self.draws]
        content = {
            "version": LABELS_VERSION,
            "store": self.store,
            "protocol": self.protocol,
            "scheme": self.scheme,
            "amounts": sorted({written(draw.amount) for draw in self.draws}),
            "seeds": sorted({draw.seed for draw in self.draws}),
            "draws": draws,
        }
        write_text_whole(path, json.dumps(content, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "LabelLists":
        """Read lists.

        Raises:
            ConfigError: the file is missing, damaged, or of another version.
        """
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if content["version"] != LABELS_VERSION:
                raise ConfigError(
                    f"{path}: lists of labels of version {content['version']}; this marrow reads {LABELS_VERSION}"
                )
            check_amount(content["scheme"], 1.0)
            draws = tuple(
                LabelDraw(draw["protocol"], float(draw["amount"]), int(draw["seed"]), tuple(draw["names"]))
                for draw in content["draws"]
            )
            return cls(content["store"], content["protocol"], content["scheme"], draws)
        except FileNotFoundError as error:
            raise ConfigError(f"{path}: there is no such file; `marrow labels` writes lists of labels") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path} cannot be read as lists of labels ({type(error).__name__}: {error}); expected a file of "
                "`marrow labels`"
            ) from error

    def select(self, protocol: str, amount: float, count: int) -> list[LabelDraw]:
        """Return the draws of a fold and an amount, with the lowest seeds.

        Args:
            protocol: a division of the data, or one fold.
            amount: of labels.
            count: how many.

        Raises:
            ConfigError: there are not so many; says what there is.
        """
        of_fold = [draw for draw in self.draws if draw.protocol == protocol]
        if not of_fold:
            protocols = list(dict.fromkeys(draw.protocol for draw in self.draws))
            raise ConfigError(
                f"the lists of labels are of {_some(protocols)}, not of protocol {protocol!r}; make them anew"
            )
        of_amount = sorted((draw for draw in of_fold if draw.amount == amount), key=lambda draw: draw.seed)
        if not of_amount:
            amounts = sorted({f"{draw.amount:g}" for draw in of_fold}, key=float)
            raise ConfigError(f"the lists of labels hold the amounts {', '.join(amounts)}, not {amount:g}")
        if len(of_amount) < count:
            raise ConfigError(f"the lists of labels hold {len(of_amount)} draws of {amount:g}, {count} were asked for")
        return of_amount[:count]

    def warn_of_another_store(self, store: Store) -> None:
        """Say in the log where a store is not the one that was drawn from."""
        if store.fingerprint != self.store:
            _log.warning(
                "the lists of labels were drawn from another store (%s, this is %s): clips are found by name",
                self.store,
                store.fingerprint,
            )

    def rows(self, draw: LabelDraw, store: Store, train_rows: Rows) -> Rows:
        """Return the rows of a draw's clips, in ascending order.

        Raises:
            ConfigError: a clip is not in the store, or not in the training half, or has no label.
        """
        row_of = {name: row for row, name in enumerate(store.ids)}
        for problem, wrong in (
            ("are named twice", [name for name, times in Counter(draw.names).items() if times > 1]),
            ("are not in the store", [name for name in draw.names if name not in row_of]),
        ):
            _refuse(draw, wrong, problem, "lists and store must be of the same recordings")
        rows = np.array([row_of[name] for name in draw.names], dtype=np.int64)
        _refuse(
            draw,
            [store.ids[row] for row in rows[~np.isin(rows, train_rows)]],
            "are not in the training half",
            "their labels must not be learned from",
        )
        _refuse(
            draw,
            [store.ids[row] for row in rows[np.asarray(store.label)[rows] < 0]],
            "have no label",
            "prepare the store with the labels",
        )
        if len(rows) == 0:
            raise ConfigError(f"the list of {draw.amount:g} with seed {draw.seed} names no clip")
        return np.sort(rows)


def _refuse(draw: LabelDraw, wrong: Sequence[str], problem: str, remedy: str) -> None:
    if wrong:
        raise ConfigError(
            f"the list of labels of {draw.protocol!r}, {draw.amount:g}, seed {draw.seed}: {len(wrong)} of its "
            f"{len(draw.names)} clips {problem} ({_some(sorted(wrong))}); {remedy}"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
