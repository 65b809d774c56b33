import logging

import pytest
import torch
from torch import nn

from marrow.data.batch import Batch
from marrow.errors import ConfigError
from marrow.models.exact import ExactLinear
from marrow.train import precision as precision_module
from marrow.train.precision import Precision, choose_precision, make_fabric, network_context, uses_bf16


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
    monkeypatch.setattr(precision_module, "Fabric", lambda **_: on_cpu)
    make_fabric("cuda", "fp32")
    assert chosen == ["highest"]
