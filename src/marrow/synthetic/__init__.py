"""Recordings of people who were never there, made on the fly. NumPy only."""
