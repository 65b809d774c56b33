"""Skeletons as pictures."""
