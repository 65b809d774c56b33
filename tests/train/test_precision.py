import pytest
import torch

from marrow.errors import ConfigError
from marrow.train.precision import choose_precision, make_fabric


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
    assert choice.fabric == ("32-true" if expected is None else "bf16-mixed")
    assert choice.reason.startswith(
        "fp32 chosen: without AMX" if expected is None else f"bf16 chosen: this CPU has {expected}"
    )


@pytest.mark.parametrize(("has_bf16", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_auto_on_a_gpu_asks_for_bf16(monkeypatch: pytest.MonkeyPatch, has_bf16: bool, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    assert choose_precision("auto", "cuda").fabric == expected


def test_what_is_asked_for_is_given() -> None:
    assert choose_precision("fp32", "cuda").fabric == "32-true"
    assert choose_precision("bf16", "cpu").fabric == "bf16-mixed"
    assert choose_precision("auto", "mps").fabric == "32-true"


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
