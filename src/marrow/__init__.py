"""marrow: representations of human motion, learned from unlabelled 3D skeleton sequences.

The names in `__all__` are the public interface. They are imported when they are first used, so that `import marrow` is
immediate and preparing data never loads torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marrow.data.augment import AugmentConfig
    from marrow.data.batch import Batch
    from marrow.data.loader import ResidentLoader, StreamingLoader
    from marrow.data.sampling import batch_from_sequences
    from marrow.data.window import InputConfig
    from marrow.errors import MarrowError
    from marrow.importing.in_memory import read
    from marrow.models.encoder import Encoder, Features, FeatureShape
    from marrow.models.export import load_encoder, save_encoder
    from marrow.models.frame_transformer import FrameTransformer, FrameTransformerConfig
    from marrow.models.heads import Recogniser
    from marrow.models.hierarchical_transformer import HierarchicalTransformer, HierarchicalTransformerConfig
    from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
    from marrow.objectives.amr import AMR, AMRConfig
    from marrow.objectives.hi_trs import HiTRS, HiTRSConfig
    from marrow.objectives.mamp import MAMP, MAMPConfig
    from marrow.objectives.motion_transformer import MotionTransformer, MotionTransformerConfig
    from marrow.pretrain_config import PretrainConfig
    from marrow.pretraining import pretrain
    from marrow.readers import get_reader
    from marrow.readers.base import Reader, Split
    from marrow.skeleton.known import get_skeleton
    from marrow.skeleton.layout import Skeleton
    from marrow.skeleton.layout_file import load_layout
    from marrow.skeleton.sequence import Placement, Record, Segment, SkeletonSequence
    from marrow.store.convert import prepare
    from marrow.store.format import Store
    from marrow.store.memory import write_store
    from marrow.tasks.base import Report, TaskContext
    from marrow.tasks.evaluate import evaluate
    from marrow.tasks.evaluation_report import EvaluationReport
    from marrow.tasks.recognition.finetune import finetune
    from marrow.tasks.recognition.trainable import FinetuneConfig
    from marrow.use.export import export

__version__ = "0.1.0"

__all__ = [  # noqa: RUF022 - in the order of `sorted`, which the tests ask for
    "AMR",
    "AMRConfig",
    "AugmentConfig",
    "Batch",
    "Encoder",
    "EvaluationReport",
    "FeatureShape",
    "Features",
    "FinetuneConfig",
    "FrameTransformer",
    "FrameTransformerConfig",
    "HiTRS",
    "HiTRSConfig",
    "HierarchicalTransformer",
    "HierarchicalTransformerConfig",
    "InputConfig",
    "MAMP",
    "MAMPConfig",
    "MarrowError",
    "MotionTransformer",
    "MotionTransformerConfig",
    "PatchTransformer",
    "PatchTransformerConfig",
    "Placement",
    "PretrainConfig",
    "Reader",
    "Recogniser",
    "Record",
    "Report",
    "ResidentLoader",
    "Segment",
    "Skeleton",
    "SkeletonSequence",
    "Split",
    "Store",
    "StreamingLoader",
    "TaskContext",
    "batch_from_sequences",
    "evaluate",
    "export",
    "finetune",
    "get_reader",
    "get_skeleton",
    "load_encoder",
    "load_layout",
    "prepare",
    "pretrain",
    "read",
    "save_encoder",
    "write_store",
]

_HOMES = {
    "marrow.data.augment": ("AugmentConfig",),
    "marrow.data.batch": ("Batch",),
    "marrow.data.loader": ("ResidentLoader", "StreamingLoader"),
    "marrow.data.sampling": ("batch_from_sequences",),
    "marrow.data.window": ("InputConfig",),
    "marrow.errors": ("MarrowError",),
    "marrow.models.encoder": ("Encoder", "FeatureShape", "Features"),
    "marrow.models.export": ("load_encoder", "save_encoder"),
    "marrow.models.frame_transformer": ("FrameTransformer", "FrameTransformerConfig"),
    "marrow.models.heads": ("Recogniser",),
    "marrow.models.hierarchical_transformer": ("HierarchicalTransformer", "HierarchicalTransformerConfig"),
    "marrow.models.patch_transformer": ("PatchTransformer", "PatchTransformerConfig"),
    "marrow.objectives.amr": ("AMR", "AMRConfig"),
    "marrow.objectives.hi_trs": ("HiTRS", "HiTRSConfig"),
    "marrow.objectives.mamp": ("MAMP", "MAMPConfig"),
    "marrow.objectives.motion_transformer": ("MotionTransformer", "MotionTransformerConfig"),
    "marrow.pretrain_config": ("PretrainConfig",),
    "marrow.pretraining": ("pretrain",),
    "marrow.readers": ("get_reader",),
    "marrow.readers.base": ("Reader", "Split"),
    "marrow.importing.in_memory": ("read",),
    "marrow.skeleton.known": ("get_skeleton",),
    "marrow.skeleton.layout": ("Skeleton",),
    "marrow.skeleton.layout_file": ("load_layout",),
    "marrow.skeleton.sequence": ("Placement", "Record", "Segment", "SkeletonSequence"),
    "marrow.store.convert": ("prepare",),
    "marrow.store.format": ("Store",),
    "marrow.store.memory": ("write_store",),
    "marrow.tasks.base": ("Report", "TaskContext"),
    "marrow.tasks.evaluate": ("evaluate",),
    "marrow.tasks.evaluation_report": ("EvaluationReport",),
    "marrow.tasks.recognition.finetune": ("finetune",),
    "marrow.tasks.recognition.trainable": ("FinetuneConfig",),
    "marrow.use.export": ("export",),
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
