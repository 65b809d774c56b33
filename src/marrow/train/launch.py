"""Who started this process, and how many there are: torchrun, Slurm's srun, or nobody but the user."""

import os
from dataclasses import dataclass

from lightning_fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)

from marrow.errors import ConfigError


@dataclass(frozen=True)
class Launch:
    """How the processes of a run came about.

    Args:
        processes: on each machine.
        machines: that take part.
        environment: tells Fabric which of them this one is.
    """

    processes: int
    machines: int
    environment: ClusterEnvironment


def find_launch(processes: int) -> Launch:
    """Find out how the processes of a run came about, or come about.

    Only a step of srun with several tasks counts as Slurm's: a plain `marrow pretrain` within a batch script or an
    interactive allocation (`srun --pty bash`) is one process like any other.

    Args:
        processes: to be started here, where neither torchrun nor srun has started them already.

    Raises:
        ConfigError: srun has spread its tasks unevenly.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        here, all_of_them = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        if all_of_them % here:
            raise ConfigError(
                f"expected equally many processes on each machine, torchrun started {here} of {all_of_them} here"
            )
        return Launch(here, all_of_them // here, TorchElasticEnvironment())
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
    if tasks == 1 or "SLURM_PROCID" not in os.environ:
        return Launch(processes, 1, LightningEnvironment())
    machines = int(os.environ.get("SLURM_STEP_NUM_NODES", os.environ.get("SLURM_NNODES", "1")))
    if tasks % machines:
        raise ConfigError(
            f"expected equally many tasks on each machine, srun started {tasks} tasks on {machines} machines; "
            "use --ntasks-per-node"
        )
    # Fabric asks for the option --ntasks-per-node; what it amounts to is known without.
    os.environ["SLURM_NTASKS_PER_NODE"] = str(tasks // machines)
    return Launch(tasks // machines, machines, SLURMEnvironment(auto_requeue=False))
