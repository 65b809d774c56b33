"""Grids of experiments for `marrow grid`, one YAML file each, with what they ask, cost and show in their header."""
