import pytest
from lightning_fabric.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment

from marrow.errors import ConfigError
from marrow.train.launch import find_launch

STEP = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_PROCID": "3", "SLURM_LOCALID": "3"}
SRUN = {**STEP, "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "3", "RANK": "0", "LOCAL_RANK": "0"}


@pytest.mark.parametrize(
    ("variables", "processes", "machines", "kind"),
    [
        ({}, 2, 1, LightningEnvironment),
        (SRUN, 4, 2, SLURMEnvironment),
        ({**SRUN, "SLURM_NTASKS_PER_NODE": "5"}, 4, 2, SLURMEnvironment),  # of the job, not of this step
        # A batch script without srun, and an interactive shell: one process like any other.
        (STEP, 2, 1, LightningEnvironment),
        ({**STEP, "SLURM_STEP_NUM_TASKS": "1", "SLURM_JOB_NAME": "bash"}, 2, 1, LightningEnvironment),
        (TORCHRUN, 3, 2, TorchElasticEnvironment),
        ({**SRUN, **TORCHRUN}, 3, 2, TorchElasticEnvironment),  # torchrun inside Slurm
    ],
)
def test_who_started_the_processes(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], processes: int, machines: int, kind: type
) -> None:
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    launch = find_launch(2)
    assert (launch.processes, launch.machines, type(launch.environment)) == (processes, machines, kind)


def test_uneven_machines_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**SRUN, "SLURM_STEP_NUM_NODES": "3"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="8 tasks on 3 machines"):
        find_launch(1)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "5")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(ConfigError, match="3 of 5"):
        find_launch(1)
