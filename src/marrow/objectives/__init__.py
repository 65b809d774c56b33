"""Pretext objectives, one file per method, independent of each other."""
