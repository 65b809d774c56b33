"""A stand-in for CUDA graphs on a CPU: the operations of a call, repeated on the same memory with the same numbers.

Whatever a step takes from the host while it is recorded (a learning rate, the number of a step, clips of a batch) is
the same in every replay, as it is in a CUDA graph. Work that is not an operation of PyTorch is not recorded at all.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

T = TypeVar("T")


class Tape:
    """Records operations of PyTorch."""

    def __init__(self) -> None:
        self.recordings = self.replays = 0

    def aside(self, call: Callable[[], T]) -> T:
        return call()

    def record(self, call: Callable[[], T]) -> tuple[Callable[[], None], T]:
        self.recordings += 1
        with _Recording() as recording:
            result = call()
        recording.undo()

        def replay() -> None:
            self.replays += 1
            recording.repeat()

        return replay, result


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


class _Recording(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self._done: list[tuple[Any, Any, Any, Any]] = []
        self._own: set[int] = set()
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for place, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                for tensor in _tensors(args[place] if place < len(args) else kwargs.get(argument.name)):
                    memory = tensor.untyped_storage()
                    if _memory(tensor) not in self._own | self._before.keys():
                        self._before[_memory(tensor)] = memory, memory.clone()
        given = {_memory(tensor) for tensor in _tensors((args, kwargs))}
        result = func(*args, **kwargs)
        self._own |= {_memory(tensor) for tensor in _tensors(result)} - given
        self._done.append((func, args, kwargs, result))
        return result

    def undo(self) -> None:
        """Give memory that was there before its content back: a CUDA graph is recorded without being run."""
        for memory, content in self._before.values():
            memory.copy_(content)

    @torch.no_grad()
    def repeat(self) -> None:
        for func, args, kwargs, result in self._done:
            given = {_memory(tensor) for tensor in _tensors((args, kwargs))}
            again = func(*args, **kwargs)
            for old, new in zip(_tensors(result), _tensors(again), strict=True):
                if _memory(old) not in given:
                    old.copy_(new)
