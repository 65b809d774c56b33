"""Our on-disk form of skeleton sequences: `Store` to read one, `prepare` and `write_store` to make one."""

from marrow.store.convert import PrepareSummary, convert_recordings, prepare
from marrow.store.format import Store
from marrow.store.memory import write_store
from marrow.store.writer import STORE_VERSION, Dropped

__all__ = ["STORE_VERSION", "Dropped", "PrepareSummary", "Store", "convert_recordings", "prepare", "write_store"]
