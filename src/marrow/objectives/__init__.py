"""Pretext objectives, one file per method, independent of each other.

A new method is one file and one line in `OBJECTIVES`; out of tree, an entry point in the group `marrow.objectives`.
"""

from marrow import extensions
from marrow.errors import ConfigError
from marrow.objectives.amr import AMR
from marrow.objectives.base import Objective
from marrow.objectives.hi_trs import HiTRS
from marrow.objectives.mamp import MAMP
from marrow.objectives.motion_transformer import MotionTransformer

# Every method by the name that --method takes. Its class says what its settings are and which encoder it trains.
OBJECTIVES: dict[str, type[Objective]] = {
    "mamp": MAMP,
    "amr": AMR,
    "hi_trs": HiTRS,
    "motion_transformer": MotionTransformer,
}


def objective_names() -> list[str]:
    """Return the names of all methods, those of other installed packages included."""
    return extensions.names("marrow.objectives", OBJECTIVES)


def get_objective(name: str) -> type[Objective]:
    """Return the class of a method.

    Raises:
        ConfigError: there is no method of that name, it cannot be imported, or it is not an `Objective` that names its
            settings and its encoder.
    """
    method = OBJECTIVES[name] if name in OBJECTIVES else extensions.load("marrow.objectives", name, OBJECTIVES)
    complete = all(isinstance(getattr(method, attribute, None), type) for attribute in ("config_type", "encoder_type"))
    if not (isinstance(method, type) and issubclass(method, Objective) and complete):
        raise ConfigError(
            f"objective {name!r}: expected a subclass of marrow.objectives.base.Objective with the class attributes "
            f"config_type and encoder_type, got {method!r}"
        )
    return method


__all__ = ["OBJECTIVES", "Objective", "get_objective", "objective_names"]
