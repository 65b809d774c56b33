"""Pretext objectives, one file per method."""
