"""Where a run computes, in how many processes, in which number format, and its memory."""

import logging
import platform
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from lightning_fabric.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment
from torch import nn

from marrow.data.batch import Batch
from marrow.errors import ConfigError, MarrowError
from marrow.models.blocks import ExactLinear
from marrow.train import device as device_module
from marrow.train.device import (
    Precision,
    choose_precision,
    make_fabric,
    memory_advice,
    network_context,
    peak_memory,
    uses_bf16,
)
from marrow.train.processes import find_launch

STEP = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_PROCID": "3", "SLURM_LOCALID": "3"}
SRUN = {**STEP, "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "3", "RANK": "0", "LOCAL_RANK": "0"}

FAULTS = """
import resource, torch
from marrow.train.device import keep_freed_memory

def faults(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        torch.ones(2**24)  # 64 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

default = faults(10)
assert keep_freed_memory()
faults(10)
print(default, faults(10))
"""


@pytest.mark.parametrize(
    ("has_amx", "has_avx512_bf16", "cap", "expected"),
    [
        (True, True, None, "AMX tiles"),
        (True, True, "DEFAULT", "AMX tiles"),
        (True, True, "AVX512_CORE_AMX", "AMX tiles"),
        (True, True, "AVX512_CORE_BF16", "AVX-512 with bf16"),
        (True, True, "avx2", None),
        (False, True, None, "AVX-512 with bf16"),
        (False, True, "AVX512_CORE_AMX", "AVX-512 with bf16"),
        (False, True, "AVX512_CORE", None),
        (False, True, "AVX512_CORE_VNNI", None),
        (False, False, None, None),
        (False, False, "AVX512_CORE_AMX", None),
    ],
)
def test_auto_on_a_cpu_asks_for_bf16_that_may_be_used(
    monkeypatch: pytest.MonkeyPatch, has_amx: bool, has_avx512_bf16: bool, cap: str | None, expected: str | None
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_avx512_bf16, raising=False)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    if cap is not None:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", cap)
    choice = choose_precision("auto", "cpu")
    assert choice.bf16 is (expected is not None)
    assert choice.reason.startswith(
        "fp32 chosen: without AMX" if expected is None else f"bf16 chosen: this CPU has {expected}"
    )


@pytest.mark.parametrize("has_bf16", [True, False])
def test_auto_on_a_gpu_asks_for_bf16(monkeypatch: pytest.MonkeyPatch, has_bf16: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    assert choose_precision("auto", "cuda").bf16 is has_bf16


def test_what_is_asked_for_is_given() -> None:
    assert not choose_precision("fp32", "cuda").bf16
    assert choose_precision("bf16", "cpu").bf16
    assert not choose_precision("auto", "mps").bf16


def test_devices_that_are_not_there() -> None:
    with pytest.raises(ConfigError, match="gpu"):
        make_fabric("gpu", "fp32")
    with pytest.raises(ConfigError, match="cuda:x"):
        make_fabric("cuda:x", "fp32")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no CUDA device"):
            make_fabric("cuda", "auto")


def test_auto_finds_a_device() -> None:
    fabric, _ = make_fabric("auto", "fp32")
    assert fabric.device.type == ("cuda" if torch.cuda.is_available() else "cpu")


# 3 m from a sensor, bf16 knows multiples of 16 mm: 3.0, 3.015625, ...
FAR = torch.tensor([[3.001, -2.002, 3.003]])


class Looks(nn.Module):
    """Notes what reaches `forward`, and multiplies."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = nn.Linear(3, 3), ExactLinear(3, 3)
        self.given: list[torch.Tensor] = []

    def forward(self, batch: Batch) -> torch.Tensor:
        self.given.append(batch.joints)
        self.between = self.inner(batch.joints)
        return self.last(self.between)


def far_batch() -> Batch:
    joints = FAR.expand(1, 1, 2, 1, 3).clone()
    return Batch(joints, torch.ones(1, 1, 2, 1, dtype=torch.bool), torch.zeros(1).long(), torch.zeros(1).long())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_batch_reaches_a_module_as_it_is_and_only_inner_products_are_bf16(precision: Precision) -> None:
    fabric, choice = make_fabric("cpu", precision)
    module, batch = Looks(), far_batch()
    said = fabric.setup_module(module)(batch)
    assert module.given[0] is batch.joints
    assert module.between.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)
    assert said.dtype == torch.float32
    assert uses_bf16(fabric) is choice.bf16 is (precision == "bf16")


def test_an_exact_layer_is_the_fp32_one_under_autocast_and_in_its_gradient() -> None:
    torch.manual_seed(0)
    layer = ExactLinear(3, 4)
    expected = layer(FAR)
    (weight,) = torch.autograd.grad(expected.sum(), layer.weight)
    with network_context(True, "cpu"):
        said = layer(FAR)
    assert torch.equal(said, expected)
    assert torch.equal(torch.autograd.grad(said.sum(), layer.weight)[0], weight)
    # As under autocast without it: rounded before it is multiplied.
    with network_context(True, "cpu"):
        assert not torch.allclose(nn.Linear.forward(layer, FAR).float(), expected, atol=1e-3)
    # What the network says in bf16 is multiplied in fp32.
    with network_context(True, "cpu"):
        assert layer(FAR.bfloat16()).dtype == torch.float32


def test_fabric_is_not_heard(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            make_fabric("cpu", "bf16")[0].launch()
    assert not caplog.records
    assert capsys.readouterr().err == ""


def test_on_a_gpu_no_fp32_product_is_cut_to_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[str] = []
    on_cpu, _ = make_fabric("cpu", "fp32")
    monkeypatch.setattr(torch, "set_float32_matmul_precision", chosen.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(device_module, "Fabric", lambda **_: on_cpu)
    make_fabric("cuda", "fp32")
    assert chosen == ["highest"]


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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are those of glibc")
def test_freed_memory_is_used_again_instead_of_faulted_in_anew() -> None:
    # Ten times 64 MiB in pages of 4 KiB are 163,840 faults, fewer where the system uses larger pages. What is kept may
    # still wander through the heap before it is used again: those faults come in the ten rounds that are not counted.
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    default, kept = map(int, done.stdout.split())
    assert kept < default / 2


def test_peak_memory_grows_by_what_is_needed_and_never_shrinks() -> None:
    before = peak_memory(torch.device("cpu"))["peak_memory_mib"]
    # More than was ever in use: the peak must rise by what lies above it.
    held = np.ones(int((before + 64) * 2**20), np.uint8)
    during = peak_memory(torch.device("cpu"))["peak_memory_mib"]
    assert during >= held.nbytes / 2**20
    del held
    assert peak_memory(torch.device("cpu"))["peak_memory_mib"] >= during


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 139.81 GiB of which "
                "1.25 GiB is free. Including non-PyTorch memory, this process has 138.56 GiB memory in use."
            ),
            "out of memory: 2.50 GiB more were wanted (1.25 GiB are free on the device), with 64 clips",
        ),
        (torch.OutOfMemoryError("of another kind"), "out of memory, with 64 clips computed at a time. Take fewer"),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried "
                "to allocate 2097152 bytes. Error code 12 (Cannot allocate memory)"
            ),
            "out of memory: 2 MiB more were wanted, with 64 clips",
        ),
        (MemoryError(), "out of memory, with 64 clips"),
    ],
)
def test_where_there_is_too_little_it_is_said_how_much_and_what_to_set(error: Exception, said: str) -> None:
    with pytest.raises(MarrowError, match=re.escape(said)), memory_advice(64, "Take fewer"):
        raise error


def test_errors_about_something_else_than_memory_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes do not fit"), memory_advice(64, "Take fewer"):
        raise RuntimeError("shapes do not fit")


def test_memory_of_this_machine_can_run_out() -> None:
    with pytest.raises(MarrowError, match="out of memory"), memory_advice(1, ""):
        torch.zeros(2**60)
