"""Conformance checks that every reader, encoder, objective and task must pass."""
