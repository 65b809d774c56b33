"""Recordings of any format into a store: what they are, what they are taken for, and how each is written."""
