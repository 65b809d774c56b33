"""marrow: representations of human motion, learned from unlabelled 3D skeleton sequences.

The names in `__all__` are the public interface. They are imported when they are first used, so that `import marrow` is
immediate and preparing data never loads torch.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marrow.data.batch import Batch
    from marrow.data.window import InputConfig
    from marrow.errors import MarrowError
    from marrow.models.encoder import Encoder, Features
    from marrow.pretrain import pretrain
    from marrow.pretrain_config import PretrainConfig
    from marrow.readers import get_reader
    from marrow.readers.base import Reader, Split
    from marrow.skeleton.layout import Skeleton, get_skeleton
    from marrow.skeleton.sequence import Placement, Record, Segment, SkeletonSequence
    from marrow.store.format import Store
    from marrow.store.memory import write_store
    from marrow.tasks.base import Report, TaskContext
    from marrow.tasks.evaluate import evaluate
    from marrow.tasks.evaluation_report import EvaluationReport
    from marrow.verbs import prepare

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "Encoder",
    "EvaluationReport",
    "Features",
    "InputConfig",
    "MarrowError",
    "Placement",
    "PretrainConfig",
    "Reader",
    "Record",
    "Report",
    "Segment",
    "Skeleton",
    "SkeletonSequence",
    "Split",
    "Store",
    "TaskContext",
    "evaluate",
    "get_reader",
    "get_skeleton",
    "prepare",
    "pretrain",
    "write_store",
]

_HOMES = {
    "marrow.data.batch": ("Batch",),
    "marrow.data.window": ("InputConfig",),
    "marrow.errors": ("MarrowError",),
    "marrow.models.encoder": ("Encoder", "Features"),
    "marrow.pretrain": ("pretrain",),
    "marrow.pretrain_config": ("PretrainConfig",),
    "marrow.readers": ("get_reader",),
    "marrow.readers.base": ("Reader", "Split"),
    "marrow.skeleton.layout": ("Skeleton", "get_skeleton"),
    "marrow.skeleton.sequence": ("Placement", "Record", "Segment", "SkeletonSequence"),
    "marrow.store.format": ("Store",),
    "marrow.store.memory": ("write_store",),
    "marrow.tasks.base": ("Report", "TaskContext"),
    "marrow.tasks.evaluate": ("evaluate",),
    "marrow.tasks.evaluation_report": ("EvaluationReport",),
    "marrow.verbs": ("prepare",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name on its first use."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'marrow' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


class _Package(ModuleType):
    """This package, in which a public function wins over a module of the same name."""

    def __setattr__(self, name: str, value: Any) -> None:
        # Whoever imports from the module `marrow.pretrain` makes Python put it in the place of the function.
        if not (name in _HOME_OF and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
