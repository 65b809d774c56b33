"""marrow: representations of human motion, learned from unlabelled 3D skeleton sequences.

The names in `__all__` are the public interface. They are imported when they are first used, so that `import marrow` is
immediate and preparing data never loads torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marrow.data.batch import Batch
    from marrow.data.window import InputConfig
    from marrow.errors import MarrowError
    from marrow.models.encoder import Encoder, Features
    from marrow.pretrain_config import PretrainConfig
    from marrow.pretraining import pretrain
    from marrow.readers import get_reader
    from marrow.readers.base import Reader, Split
    from marrow.skeleton.layout import Skeleton, get_skeleton
    from marrow.skeleton.sequence import Placement, Record, Segment, SkeletonSequence
    from marrow.store.convert import prepare
    from marrow.store.format import Store
    from marrow.store.memory import write_store
    from marrow.tasks.base import Report, TaskContext
    from marrow.tasks.evaluate import evaluate
    from marrow.tasks.evaluation_report import EvaluationReport

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
    "marrow.pretraining": ("pretrain",),
    "marrow.pretrain_config": ("PretrainConfig",),
    "marrow.readers": ("get_reader",),
    "marrow.readers.base": ("Reader", "Split"),
    "marrow.skeleton.layout": ("Skeleton", "get_skeleton"),
    "marrow.skeleton.sequence": ("Placement", "Record", "Segment", "SkeletonSequence"),
    "marrow.store.convert": ("prepare",),
    "marrow.store.format": ("Store",),
    "marrow.store.memory": ("write_store",),
    "marrow.tasks.base": ("Report", "TaskContext"),
    "marrow.tasks.evaluate": ("evaluate",),
    "marrow.tasks.evaluation_report": ("EvaluationReport",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name on its first use."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'marrow' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
