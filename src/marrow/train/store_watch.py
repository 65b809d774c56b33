"""The store may change under a running run: noticed when a checkpoint is due, by its header alone."""

import json
import logging
from dataclasses import dataclass

from marrow.errors import StoreError
from marrow.store.format import Store
from marrow.store.writer import HEADER_FILE

_log = logging.getLogger(__name__)


@dataclass
class StoreWatch:
    """Compares the store on the disk with the one that was opened.

    Args:
        store: as opened.
        needed: whether the run still reads from it. Then a change is an error: steps since the newest checkpoint may
            have seen other data. Otherwise, with all frames in memory, it is a warning.
    """

    store: Store
    needed: bool
    _warned: bool = False

    def __call__(self) -> None:
        """Check once.

        Raises:
            StoreError: the store has changed and is needed.
        """
        what = what_changed(self.store)
        if what is None:
            return
        if self.needed:
            raise StoreError(
                f"{what}. The run stops: its newest checkpoint was saved while the data were as at its start. Put the "
                "store back and give the same command to go on from there"
            )
        if not self._warned:
            self._warned = True
            _log.warning("%s. This run goes on with the frames in memory, but cannot be resumed until it is back", what)


def what_changed(store: Store) -> str | None:
    """Say in what the store on the disk differs from the one that was opened; None: in nothing."""
    try:
        now = json.loads((store.path / HEADER_FILE).read_bytes())["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{store.path} cannot be read any more ({type(error).__name__}: {error})"
    if now == store.fingerprint:
        return None
    return f"{store.path} holds other data than when it was opened (fingerprint {store.fingerprint} then, {now} now)"
