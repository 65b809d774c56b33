"""What is known of the clips of a store, as records."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from marrow.skeleton.sequence import Record

if TYPE_CHECKING:
    from marrow.store.format import Store


class Records(Sequence[Record]):
    """Records made from the index, one at a time."""

    def __init__(self, store: "Store") -> None:
        self._store = store

    def __len__(self) -> int:
        return len(self._store)

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return [self[place] for place in range(*row.indices(len(self)))]
        store = self._store
        row = range(len(self))[row]
        attributes = {name: store._value(f"attribute.{name}", row) for name in store.attributes}
        return Record(
            id=store._value("id", row),
            path=store._value("path", row),
            label=int(store.label[row]),
            attributes={name: value for name, value in attributes.items() if value is not None},
        )
