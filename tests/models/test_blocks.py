import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from marrow.models.attention import Attention, CrossAttention
from marrow.models.blocks import MLP, Block, CrossBlock, Dropout, DropPath, sinusoids

KEY = torch.tensor(1234)


def test_asking_for_some_tokens_equals_slicing_the_whole() -> None:
    torch.manual_seed(0)
    block, tokens = Block(16, 4, 2.0), torch.randn(2, 7, 16)
    exists = torch.tensor([[True] * 7, [True] * 5 + [False] * 2])
    whole = block(tokens, may_attend=exists)
    torch.testing.assert_close(block(tokens, queries_from=3, may_attend=exists), whole[:, 3:], rtol=1e-5, atol=1e-6)


def test_cross_attention_to_the_tokens_themselves_is_self_attention() -> None:
    torch.manual_seed(0)
    own, cross, tokens = Attention(8, 2), CrossAttention(8, 2), torch.randn(2, 5, 8)
    with torch.no_grad():
        for of_own, of_cross in ((own.qkv.weight, "weight"), (own.qkv.bias, "bias")):
            getattr(cross.query, of_cross).copy_(of_own[:8])
            getattr(cross.pair, of_cross).copy_(of_own[8:])
        cross.proj.load_state_dict(own.proj.state_dict())
    exists = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    torch.testing.assert_close(cross(tokens, tokens, exists), own(tokens, may_attend=exists))


def test_queries_given_once_are_those_of_every_body() -> None:
    torch.manual_seed(0)
    block, queries, memory = CrossBlock(8, 2, 2.0), torch.randn(1, 3, 8), torch.randn(4, 5, 8)
    torch.testing.assert_close(block(queries, memory), block(queries.expand(4, -1, -1), memory))


def test_a_cross_block_keeps_its_tokens_apart_and_ignores_what_does_not_exist() -> None:
    torch.manual_seed(0)
    block, tokens, memory = CrossBlock(8, 2, 2.0), torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    exists = torch.tensor([[True] * 5, [True] * 4 + [False]])
    before = block(tokens, memory, may_attend=exists)
    other = tokens.clone()
    other[:, 1] += 1.0
    changed = (block(other, memory, may_attend=exists) - before).abs().sum((0, 2)) > 0
    assert changed.tolist() == [False, True, False]
    memory[1, 4] = 100.0
    assert torch.equal(block(tokens, memory, may_attend=exists), before)


def test_every_parameter_of_sliced_attention_is_trained() -> None:
    attention = Attention(8, 2)
    attention(torch.randn(1, 4, 8), queries_from=2).square().sum().backward()
    assert all(parameter.grad is not None for parameter in attention.parameters())


def test_dropped_branches_by_hand() -> None:
    # Two clips of two bodies, of which number 2 (the second clip's first) is absent. Rates 0, 0.25 and 0.5.
    uniform = torch.tensor([[[0.0, 0.2, 0.6], [0.9, 0.3, 0.4]], [[0.0, 0.0, 0.0], [0.1, 0.25, 0.5]]])
    factors = DropPath(uniform.repeat_interleave(2, dim=2), 0.5).factors(3, torch.tensor([0, 1, 3]))
    assert factors.shape == (6, 3, 1, 1)
    expected = [[1, 1, 1], [0, 4 / 3, 4 / 3], [2, 0, 2]]  # rows: blocks; survivors are divided by 1 - rate
    torch.testing.assert_close(factors.flatten(1), torch.tensor(expected).repeat_interleave(2, dim=0))


def test_dropped_branches_keep_their_mean() -> None:
    uniform = torch.rand(20000, 1, 4, generator=torch.Generator().manual_seed(0))
    factors = DropPath(uniform, 0.3).factors(2, torch.arange(20000))[2:]  # the last block's
    assert float((factors == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert float(factors.mean()) == pytest.approx(1.0, abs=0.015)


def test_a_block_without_its_branches_is_the_identity() -> None:
    block, tokens = Block(8, 2, 2.0), torch.randn(3, 4, 8)
    factors = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])[:, :, None, None]
    result = block(tokens, factors=factors)
    torch.testing.assert_close(result[0], tokens[0])
    torch.testing.assert_close(result[1], tokens[1] + block.attn(block.norm1(tokens))[1])
    torch.testing.assert_close(result[2], tokens[2] + block.mlp(block.norm2(tokens))[2])
    assert torch.equal(block(tokens, factors=torch.ones(2, 3, 1, 1)), block(tokens))


def gradients(mlp: MLP, tokens: Tensor, output: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(output.square().sum(), [tokens, *mlp.parameters()]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_gradients_of_an_mlp_are_those_of_its_layers_written_out(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    mlp, tokens = MLP(8, 2.0).to(dtype), torch.randn(2, 5, 8, dtype=dtype, requires_grad=True)
    output, written_out = mlp(tokens), mlp.fc2(F.gelu(mlp.fc1(tokens)))
    assert torch.equal(output, written_out)
    for ours, plain in zip(gradients(mlp, tokens, output), gradients(mlp, tokens, written_out), strict=True):
        torch.testing.assert_close(ours, plain)


def test_an_mlp_has_gradients_under_autocast() -> None:
    torch.manual_seed(0)
    mlp, tokens = MLP(8, 2.0), torch.randn(2, 5, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        output, written_out = mlp(tokens), mlp.fc2(F.gelu(mlp.fc1(tokens)))
    for ours, plain in zip(gradients(mlp, tokens, output), gradients(mlp, tokens, written_out), strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, plain)


def test_an_mlp_keeps_its_input_and_its_hidden_layer_once() -> None:
    mlp, tokens, kept = MLP(8, 2.0), torch.randn(2, 5, 8, requires_grad=True), {}
    parameters = {parameter.untyped_storage().data_ptr() for parameter in mlp.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = mlp(tokens)
    # 10 tokens of 8 numbers and their 16 hidden ones, 4 bytes each; with the GELU it would be 10 x (8 + 16 + 16) x 4.
    assert sum(size for place, size in kept.items() if place not in parameters) == 10 * (8 + 16) * 4
    assert output.shape == (2, 5, 8)


def test_sinusoids_by_hand() -> None:
    """Width 4: sin t, cos t, sin(t / 100), cos(t / 100)."""
    expected = [[math.sin(t), math.cos(t), math.sin(t / 100), math.cos(t / 100)] for t in range(3)]
    torch.testing.assert_close(sinusoids(3, 4), torch.tensor(expected))
    assert sinusoids(3, 5).shape == (3, 5)


def test_the_share_is_left_out_and_the_others_make_up_for_it() -> None:
    """Of 30,000 ones at rate 0.2, 6,000 ± 3 * sqrt(30,000 * 0.2 * 0.8) become 0, the others 1 / 0.8 = 1.25."""
    values = Dropout(KEY, 0.2)(torch.ones(100, 300))
    assert set(values.unique().tolist()) == {0.0, 1.25}
    assert abs(int((values == 0).sum()) - 6000) < 3 * math.sqrt(30_000 * 0.2 * 0.8)


def test_a_rate_near_one_keeps_next_to_nothing() -> None:
    assert int((Dropout(KEY, 0.999999)(torch.ones(10_000)) > 0).sum()) <= 2


def test_it_is_a_function_of_key_and_place() -> None:
    ones, dropout = torch.ones(40, 7), Dropout(KEY, 0.5)
    assert torch.equal(dropout(ones), dropout(ones))
    # What comes behind changes nothing before it.
    assert torch.equal(dropout(torch.ones(41, 7))[:40], dropout(ones))
    parts = [dropout(ones), dropout.of(0)(ones), dropout.of(1)(ones), Dropout(KEY + 1, 0.5)(ones)]
    for number, one in enumerate(parts):
        for other in parts[number + 1 :]:
            agreement = (one == other).float().mean()
            assert abs(float(agreement) - 0.5) < 0.15  # independent: half of 280 places, ± 3 * 0.03


def test_the_gradient_flows_through_what_is_kept() -> None:
    values = torch.ones(64, requires_grad=True)
    dropped = Dropout(KEY, 0.25)(values)
    dropped.sum().backward()
    assert torch.equal(values.grad, torch.where(dropped > 0, 4 / 3, 0.0))
