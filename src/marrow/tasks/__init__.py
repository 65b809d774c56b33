"""Downstream tasks; they see an Encoder, never an objective."""
