"""Attention by hand, and the same numbers by every kernel."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from marrow.models import attention
from marrow.models.attention import attend


def test_attention_over_one_key_returns_its_value() -> None:
    value = torch.randn(2, 3, 1, 4)
    query, key = torch.randn(2, 3, 5, 4), torch.randn(2, 3, 1, 4)
    torch.testing.assert_close(attend(query, key, value), value.expand(2, 3, 5, 4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_is_the_weighted_mean_of_the_keys_that_exist(dtype: torch.dtype) -> None:
    # Query 1, keys 0 and ln 3 (width 1): weights 1/4 and 3/4, values 0 and 8 -> 6. The third key does not exist.
    query = torch.ones(1, 1, 1, 1, dtype=dtype)
    key = torch.tensor([0.0, 1.0986123, 50.0], dtype=dtype).reshape(1, 1, 3, 1)
    value = torch.tensor([0.0, 8.0, 1000.0], dtype=dtype).reshape(1, 1, 3, 1)
    result = attend(query, key, value, torch.tensor([[[[True, True, False]]]]))
    torch.testing.assert_close(result.float().item(), 6.0, rtol=1e-2, atol=1e-5)


def test_pairs_that_may_not_meet_do_not_in_either_precision() -> None:
    """Each query may see its own key alone: it gets its own value back."""
    torch.manual_seed(0)
    query, key, value = (torch.randn(3, 2, 5, 4) for _ in range(3))
    own = torch.eye(5, dtype=torch.bool)
    for dtype in (torch.float32, torch.bfloat16):
        parts = [each.to(dtype) for each in (query, key, value)]
        for allowed in (own[None, None], own[None, None].expand(3, 1, 5, 5)):
            torch.testing.assert_close(attend(*parts, allowed), parts[2])


@pytest.mark.parametrize("keys", [7, 300])
@pytest.mark.parametrize("masked", ["not", "by body", "by query"])
def test_written_out_it_is_the_fused_kernel_forward_and_backward(
    monkeypatch: pytest.MonkeyPatch, keys: int, masked: str
) -> None:
    """In bf16, whose own rounding is what may differ; a piece is one head and a half."""
    monkeypatch.setattr(attention, "_SCORES_AT_ONCE", 3 * 9 * keys // 2)
    generator = torch.Generator().manual_seed(0)
    shapes = (3, 2, 9, 8), (3, 2, keys, 8), (3, 2, keys, 8)
    given = [torch.randn(shape, generator=generator).to(torch.bfloat16) for shape in shapes]
    weight = torch.randn(shapes[0], generator=generator)
    allowed = None
    if masked == "by body":
        allowed = torch.arange(keys) < torch.tensor([[keys], [3], [1]])
        allowed = allowed[:, None, None]
    if masked == "by query":
        allowed = torch.rand(1, 1, 9, keys, generator=generator) < 0.5
        allowed[..., 0] = True

    def values_and_gradients(parts: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
        parts = [each.detach().to(dtype).requires_grad_() for each in parts]
        output = attend(*parts, allowed)
        (output.float() * weight).sum().backward()
        return [output.detach().float(), *(each.grad.float() for each in parts if each.grad is not None)]

    for found, expected in zip(
        values_and_gradients(given, torch.bfloat16), values_and_gradients(given, torch.float32), strict=True
    ):
        assert float((found - expected).norm() / expected.norm()) < 0.01


def test_many_keys_are_computed_in_pieces_whose_number_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for at_once in (1, 2**30):
        monkeypatch.setattr(attention, "_SCORES_AT_ONCE", at_once)
        generator = torch.Generator().manual_seed(1)
        parts = [torch.randn(2, 2, 300, 8, generator=generator).to(torch.bfloat16).requires_grad_() for _ in range(3)]
        output = attend(*parts)
        output.sum().backward()
        found.append([output, *(each.grad for each in parts)])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_of_many_keys_no_scores_are_kept_for_the_gradient() -> None:
    kept = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    parts = [torch.randn(1, 2, 300, 4, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        attend(*parts)
    assert max(kept) == 2 * 300 * 4
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        F.softmax(parts[0] @ parts[1].transpose(2, 3), dim=-1)
    assert max(kept) == 2 * 300 * 300
