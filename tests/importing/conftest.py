"""Puts what these tests share with others on the path: the tool that damages files, and texts of recordings."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("tools", "readers")]
