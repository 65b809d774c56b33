"""What a body is, and one recording of it. NumPy only."""
