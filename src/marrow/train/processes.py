"""Several processes: how they come about, what they add up, and FSDP, which spreads the weights over them.

Checkpoints hold whole tensors whatever the strategy was, so that a run may go on with another one, or on another number
of processes.
"""

import atexit
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning_fabric.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from marrow.errors import ConfigError


@dataclass(frozen=True)
class Launch:
    """How the processes of a run come about.

    Args:
        processes: on each machine.
        machines: that take part.
        environment: tells Fabric which of the processes this one is.
    """

    processes: int
    machines: int
    environment: ClusterEnvironment


def find_launch(processes: int) -> Launch:
    """Find out how the processes of a run come about.

    Only a step of srun with several tasks counts as Slurm's: a plain `marrow pretrain` within a batch script or an
    interactive allocation (`srun --pty bash`) is one process like any other.

    Args:
        processes: to be started here, where neither torchrun nor srun has started them already.

    Raises:
        ConfigError: torchrun or srun has spread its processes unevenly.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        here, world_size = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        if world_size % here:
            raise ConfigError(
                f"expected equally many processes on each machine, torchrun started {here} of {world_size} here"
            )
        return Launch(here, world_size // here, TorchElasticEnvironment())
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


def leave_at_exit() -> None:
    """Leave the group of processes before this one ends: threads that serve it must not outlive the interpreter."""
    atexit.register(_leave)


def _leave() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def sum_over_processes(fabric: Fabric, tensor: Tensor) -> Tensor:
    """Return the sum over all processes, the same in each."""
    total = fabric.all_reduce(tensor, reduce_op="sum")
    assert isinstance(total, Tensor)
    return total


def fsdp_strategy(processes: int) -> ModelParallelStrategy:
    """Return the strategy that spreads weights, gradients and optimizer state over all processes."""
    return ModelParallelStrategy(parallelize_fn=_shard, data_parallel_size=processes, tensor_parallel_size=1)


def _shard(module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
    """Spread a module: layer by layer where it has lists of layers, and what is left as one."""
    mesh = device_mesh["data_parallel"]
    for layers in [part for part in module.modules() if isinstance(part, nn.ModuleList)]:
        for layer in layers:
            fully_shard(layer, mesh=mesh)
    fully_shard(module, mesh=mesh)
    return module


def is_sharded(fabric: Fabric) -> bool:
    """Tell whether each process holds only a part of the weights."""
    return isinstance(fabric.strategy, ModelParallelStrategy)


def move_optimizer(optimizer: Optimizer, old: nn.Module, new: nn.Module) -> None:
    """Let an optimizer that has not stepped yet train the parameters of a copy of the module it was made for."""
    twins = dict(zip(old.parameters(), new.parameters(), strict=True))
    for group in optimizer.param_groups:
        group["params"] = [twins[parameter] for parameter in group["params"]]


def local_part(tensor: Tensor) -> Tensor:
    """Return the part of a tensor that this process holds: all of it, unless it is spread."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor with the parts of all processes. Where it is spread, all processes must call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_state(state: Any) -> Any:
    """Return a nested state with every tensor whole. Where some are spread, all processes must call this."""
    if isinstance(state, Tensor):
        return whole(state.detach())
    if isinstance(state, Mapping):
        return {name: whole_state(value) for name, value in state.items()}
    return [whole_state(value) for value in state] if isinstance(state, list) else state


def load_whole_state(
    trainable: nn.Module, optimizer: Optimizer, trainable_state: Mapping[str, Any], optimizer_state: dict[str, Any]
) -> None:
    """Load whole tensors into a trainable and its optimizer, which may be spread over the processes."""
    own = trainable.state_dict()
    trainable.load_state_dict({name: _like(value, own.get(name)) for name, value in trainable_state.items()})
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    per_parameter = {
        number: {name: _like(value, parameters[number]) for name, value in state.items()}
        for number, state in optimizer_state["state"].items()
        if number < len(parameters)
    }
    # Which kernels take a step is this machine's matter, whatever it was where the state was saved.
    groups = [
        saved | {name: own[name] for name in ("fused", "foreach", "capturable") if name in own}
        for saved, own in zip(optimizer_state["param_groups"], optimizer.param_groups, strict=True)
    ]
    optimizer.load_state_dict({**optimizer_state, "param_groups": groups, "state": per_parameter})


def _like(value: Any, model: Tensor | None) -> Any:
    """Spread a whole tensor as another of the same shape is spread."""
    if isinstance(model, DTensor) and isinstance(value, torch.Tensor) and value.shape == model.shape:
        return distribute_tensor(value.to(model.device), model.device_mesh, model.placements)
    return value
