"""Downstream tasks: they see an encoder, never the objective that trained it.

A new task is one file and one line in `TASKS`; out of tree, an entry point in the group `marrow.tasks`.
"""

from marrow import extensions
from marrow.tasks.base import Report, Task, TaskContext, TaskData, TestClips
from marrow.tasks.detection.task import ActionDetection
from marrow.tasks.prediction.task import MotionPrediction
from marrow.tasks.recognition.few_shot import FewShot
from marrow.tasks.recognition.finetune import Finetune
from marrow.tasks.recognition.linear_probe import LinearProbe
from marrow.tasks.recognition.retrieval import Knn, Retrieval
from marrow.tasks.recognition.semi_supervised import SemiSupervised
from marrow.tasks.recognition.stream_fusion import StreamFusion

TASKS: dict[str, Task] = {
    "linear_probe": LinearProbe(),
    "knn": Knn(),
    "finetune": Finetune(),
    "semi_supervised": SemiSupervised(),
    "few_shot": FewShot(),
    "retrieval": Retrieval(),
    "stream_fusion": StreamFusion(),
    "action_detection": ActionDetection(),
    "motion_prediction": MotionPrediction(),
}


def get_task(name: str) -> Task:
    """Return a task by name: one of `TASKS`, or one that an installed package offers.

    Raises:
        ConfigError: with the nearest known name.
    """
    return TASKS[name] if name in TASKS else extensions.load("marrow.tasks", name, TASKS)()


__all__ = [
    "TASKS",
    "ActionDetection",
    "FewShot",
    "Finetune",
    "Knn",
    "LinearProbe",
    "MotionPrediction",
    "Report",
    "Retrieval",
    "SemiSupervised",
    "StreamFusion",
    "Task",
    "TaskContext",
    "TaskData",
    "TestClips",
    "get_task",
]
