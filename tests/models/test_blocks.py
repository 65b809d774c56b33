import pytest
import torch

from marrow.models.blocks import Attention, Block, attend


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
    result = attend(query, key, value, torch.tensor([[True, True, False]]))
    torch.testing.assert_close(result.float().item(), 6.0, rtol=1e-2, atol=1e-5)


def test_asking_for_some_tokens_equals_slicing_the_whole() -> None:
    torch.manual_seed(0)
    block, tokens = Block(16, 4, 2.0), torch.randn(2, 7, 16)
    exists = torch.tensor([[True] * 7, [True] * 5 + [False] * 2])
    whole = block(tokens, may_attend=exists)
    torch.testing.assert_close(block(tokens, queries_from=3, may_attend=exists), whole[:, 3:], rtol=1e-5, atol=1e-6)


def test_every_parameter_of_sliced_attention_is_trained() -> None:
    attention = Attention(8, 2)
    attention(torch.randn(1, 4, 8), queries_from=2).square().sum().backward()
    assert all(parameter.grad is not None for parameter in attention.parameters())
