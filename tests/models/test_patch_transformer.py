import torch

from marrow.data.window import InputConfig
from marrow.models.blocks import DropPath
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.skeleton.layout import KINECT_V1_20
from marrow.testing.encoders import example_batch


def small(depth: int = 3) -> PatchTransformer:
    torch.manual_seed(0)
    return PatchTransformer(PatchTransformerConfig(width=8, depth=depth, heads=2), InputConfig(8), KINECT_V1_20)


def test_layers_run_from_the_embeddings_to_the_last_norm() -> None:
    encoder = small()
    layers = encoder.layers()
    names = {parameter: name for name, parameter in encoder.named_parameters()}
    heads = [{names[parameter].split(".")[0] for parameter in layer} for layer in layers]
    assert heads == [{"embedding", "joint_position", "time_position"}, {"blocks"}, {"blocks"}, {"blocks"}, {"norm"}]
    assert [names[layer[0]].split(".")[1] for layer in layers[1:4]] == ["0", "1", "2"]


def test_rates_rise_linearly_over_the_blocks() -> None:
    """Draws between the rates of two blocks tell which blocks fall out: with 3 blocks and 0.4, rates 0, 0.2 and 0.4."""
    encoder = small().eval()
    batch = example_batch(encoder)
    called: list[tuple[int, list[float]]] = []
    for number, block in enumerate(encoder.blocks):
        block.register_forward_hook(
            lambda module, inputs, keywords, output, number=number: called.append(
                (number, keywords["factors"][:, 0, 0, 0].tolist())
            ),
            with_kwargs=True,
        )
    drop = DropPath(torch.full((4, 2, encoder.branches), 0.3), 0.4)
    encoder(batch, drop)
    assert encoder.branches == 6
    torch.testing.assert_close([factors for _, factors in called], [[1.0, 1.0], [1.25, 1.25], [0.0, 0.0]])


def test_without_any_block_but_the_first_little_is_left_to_drop() -> None:
    """A single block has rate 0: it is the first, whatever the highest rate is."""
    encoder = small(depth=1).eval()
    batch = example_batch(encoder)
    drop = DropPath(torch.zeros(4, 2, 2), 0.9)
    assert torch.equal(encoder(batch, drop).tokens, encoder(batch).tokens)
