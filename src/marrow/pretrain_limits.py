"""What ends a pre-training run, and what becomes of it when it is asked to go on under other limits."""

import json
from pathlib import Path
from typing import Any

from marrow.errors import ConfigError
from marrow.pretrain_config import LIMITS, PretrainConfig
from marrow.train.checkpoint import load_latest
from marrow.train.logs import read_log
from marrow.train.run_directory import recorded
from marrow.train.schedule import Budget

RESULT = "result.json"


def budget_of(config: PretrainConfig, steps_per_epoch: int) -> Budget:
    """Return what the limits of a run amount to."""
    of_epochs = config.epochs * steps_per_epoch if config.ends_at_epochs else None
    steps = min((limit for limit in (of_epochs, config.max_steps) if limit is not None), default=None)
    return Budget(steps, config.max_minutes, config.max_cpu_seconds)


def finished_result(file: Path, budget: Budget) -> dict[str, Any] | None:
    """Return the result of a run that is finished under its limits, which may be larger than they were."""
    if not file.exists():
        return None
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
        spent = result["step"], result["wall_seconds"], result["cpu_seconds"]
        return result if budget.progress(*spent) >= 1.0 else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file} is damaged ({error}); remove it, and the run goes on from its checkpoint") from error


def extension_of(config: PretrainConfig, budget: Budget) -> dict[str, Any] | None:
    """Return from which step on, and under which limits before, the run in the folder is to go on under others.

    None: it is a new run, it has the same limits, or it has ended just where these end it.

    Raises:
        ConfigError: it has gone beyond the limits, or has left nothing to go on from.
        CheckpointError: no checkpoint is whole.
    """
    names = (*LIMITS, "ends_at_epochs")
    known = recorded(config.out, names)
    before = {"ends_at_epochs": True, **(known or {})}
    if known is None or before == {name: getattr(config, name) for name in names}:
        return None
    changed = [f"{name} {getattr(config, name)}" for name in LIMITS if before.get(name) != getattr(config, name)]
    state = load_latest(config.out / "checkpoints")
    if state is None:
        if changed and any((config.out / name).exists() for name in (RESULT, "encoder")):
            raise ConfigError(
                f"{config.out} holds a run that has no checkpoint to go on from under {', '.join(changed)}: put its "
                "checkpoints back, or choose another --out"
            )
        return None
    spent = state["step"], state["wall_seconds"], state["cpu_seconds"]
    log = [entry for entry in read_log(config.out / "log.jsonl") if entry["step"] < spent[0]]
    clocks = [(0, entry.get("wall_seconds", 0.0), entry.get("cpu_seconds", 0.0)) for entry in log]
    is_beyond = (budget.steps or spent[0]) < spent[0] or any(budget.progress(*clock) >= 1.0 for clock in clocks)
    if changed and is_beyond:
        raise ConfigError(
            f"{config.out} holds a run that has done {spent[0]} steps in {spent[1]:.0f} s, {spent[2]:.0f} s of the "
            f"processor; {', '.join(changed)} would have ended it before. Give larger limits to go on, or choose "
            "another --out"
        )
    return None if budget.progress(*spent) >= 1.0 else {"from_step": spent[0], "limits_before": before}
