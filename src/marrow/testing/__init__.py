"""Conformance checks that every reader, encoder, objective and task must pass."""

from marrow.testing.readers import check_reader
from marrow.testing.tasks import check_task

__all__ = ["check_reader", "check_task"]
