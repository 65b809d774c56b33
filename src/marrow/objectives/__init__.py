"""Pretext objectives, one file per method, independent of each other."""

from marrow.objectives.base import Objective
from marrow.objectives.mamp import MAMP, MAMPConfig

# Every method: its settings, and the objective that is made of them and an encoder.
OBJECTIVES: dict[str, tuple[type, type[Objective]]] = {
    "mamp": (MAMPConfig, MAMP),
}
