"""Comparison with numbers that were recorded from the released code of a method, and its released weights."""
