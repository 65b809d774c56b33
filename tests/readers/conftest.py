"""Puts what tests of readers share on the path: the tool that damages files, and good files of every format."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "tools"), str(Path(__file__).parent / "formats")]
