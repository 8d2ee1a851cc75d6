import pytest
import torch

from mtmedformer_monai.networks import HierarchicalTransformer, TransformerSize
from mtmedformer_monai.networks.hierarchical_transformer import to_map, to_tokens
from tests.networks.small import SMALL


@pytest.mark.parametrize(("size", "millions"), [("tiny", 3.4), ("small", 13.5), ("base", 24.8)])
def test_sizes_are_those_of_pvt_v2(size, millions):
    with torch.device("meta"):
        encoder = HierarchicalTransformer(size)
    assert sum(p.numel() for p in encoder.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


def test_tokens_and_maps_are_two_views_of_one():
    tokens = torch.rand(2, 12, 5)
    assert torch.equal(to_tokens(to_map(tokens, 3, 4)), tokens)
    assert torch.equal(to_map(tokens, 3, 4)[1, :, 2, 1], tokens[1, 2 * 4 + 1])


def test_stochastic_depth_grows_linearly_from_the_first_block_to_the_last():
    size = TransformerSize((16, 16), (2, 3), (1, 1), (1, 1), (2, 2))
    encoder = HierarchicalTransformer(size, drop_path=0.4)
    rates = [block.drop_path.drop_prob for stage in encoder.stages for block in stage.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_position_matters_without_a_table():
    torch.manual_seed(0)
    encoder = HierarchicalTransformer(SMALL).eval()
    image = torch.zeros(1, 1, 64, 64)
    image[..., :32, :32] = 1.0
    flat = [encoder(each)[-1].mean(dim=(2, 3)) for each in (image, image.roll((32, 32), (2, 3)))]
    assert not torch.allclose(flat[0], flat[1], atol=1e-4)


def test_invalid_arguments_are_refused():
    with pytest.raises(ValueError, match=r"size expects one of .*'tiny'.* got 'huge'"):
        HierarchicalTransformer("huge")
    with pytest.raises(ValueError, match="tuples of equal length"):
        TransformerSize((16, 32), (1, 1))
    with pytest.raises(ValueError, match="widths divisible by heads"):
        TransformerSize((16, 32, 42, 64), (1, 1, 1, 1))
    with pytest.raises(ValueError, match=r"reductions that divide \[4, 2, 1\].* got \(8, 4, 2\)"):
        TransformerSize((16, 32, 40), (1, 1, 1), (1, 2, 5), (8, 4, 2), (8, 8, 4))
