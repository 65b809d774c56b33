"""Raw files to skeleton sequences, one file per source. NumPy only."""
