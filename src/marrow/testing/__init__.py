"""Conformance checks that every reader, encoder, objective and task must pass."""

from marrow.testing.encoders import check_encoder, check_export
from marrow.testing.objectives import check_objective
from marrow.testing.readers import check_reader
from marrow.testing.tasks import check_task

__all__ = ["check_encoder", "check_export", "check_objective", "check_reader", "check_task"]
