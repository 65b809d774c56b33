"""Grids of experiments: rows of settings × seeds, each trained and evaluated by commands, put into one table."""
