"""Downstream tasks: they see an encoder, never the objective that trained it.

A new task is one file and one line in `TASKS`; out of tree, an entry point in the group `marrow.tasks`.
"""

import difflib
from importlib.metadata import entry_points

from marrow.errors import ConfigError
from marrow.tasks.base import Report, Task, TaskContext, TaskData, TestClips
from marrow.tasks.knn import Knn
from marrow.tasks.linear_probe import LinearProbe

TASKS: dict[str, Task] = {
    "linear_probe": LinearProbe(),
    "knn": Knn(),
}


def get_task(name: str) -> Task:
    """Return a task by name: one of `TASKS`, or one that an installed package offers.

    Raises:
        ConfigError: with the nearest known name.
    """
    if name in TASKS:
        return TASKS[name]
    offered = {point.name: point for point in entry_points(group="marrow.tasks")}
    if name in offered:
        return offered[name].load()()
    known = sorted({*TASKS, *offered})
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"unknown task {name!r}.{hint} Tasks: {', '.join(known)}")


__all__ = ["TASKS", "Knn", "LinearProbe", "Report", "Task", "TaskContext", "TaskData", "TestClips", "get_task"]
