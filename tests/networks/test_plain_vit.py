import pytest
import torch

from mtmedformer_monai.federated.alignment.permutation import permute, random_permutation
from mtmedformer_monai.layers.group_declaration import permutation_groups
from mtmedformer_monai.networks import HierarchicalTransformer, MTMedFormer, PlainViT
from mtmedformer_monai.networks.plain_vit import position_waves
from tests.networks.small import SMALL, every_kind, largest_difference, without_gradient


def small_vit(tasks=None):
    torch.manual_seed(0)
    return MTMedFormer(PlainViT(32, depth=2, heads=2, drop_path=0.0), tasks or every_kind(), 16)


@torch.no_grad()
def test_any_image_size_scripted_or_not():
    network = small_vit().eval()
    script = torch.jit.script(network)
    for size in ((64, 64), (100, 70)):
        image = torch.rand(2, 1, *size)
        outputs = network(image)
        assert outputs["mask"].shape == (2, 2, *size)
        assert largest_difference(outputs, script(image)) < 1e-4  # sums in another order


@torch.no_grad()
def test_the_body_commutes_with_permutations_of_tokens():
    body, patches = PlainViT(32, depth=3, heads=2).eval().body, torch.randn(2, 32, 3, 5)
    order = torch.randperm(15)
    moved = patches.flatten(2)[:, :, order].reshape(patches.shape)
    expected = body(patches).flatten(2)[:, :, order].reshape(patches.shape)
    assert torch.allclose(body(moved), expected, atol=1e-5)  # sums in another order


@torch.no_grad()
def test_the_hierarchical_encoder_does_not_commute():
    stage, tokens = HierarchicalTransformer(SMALL).eval().stages[0].blocks[0], torch.randn(1, 256, 16)
    order = torch.randperm(256)
    assert not torch.allclose(stage(tokens[:, order], 16, 16), stage(tokens, 16, 16)[:, order], atol=1e-2)


@torch.no_grad()
def test_feature_maps_of_earlier_blocks():
    body, patches = PlainViT(32, depth=3, heads=2).eval().body, torch.randn(1, 32, 2, 2)
    assert torch.equal(body(patches, 3), body(patches))
    assert torch.allclose(body(patches, 0), body.norm(patches.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


def test_no_two_patches_share_a_position():
    waves = position_waves(20, 30, torch.zeros(1))
    assert waves.shape == (600, 32)
    assert torch.cdist(waves, waves).add(10 * torch.eye(600)).min() > 0.5
    assert torch.equal(
        position_waves(3, 30, torch.zeros(1)), waves[:90]
    )  # depends on the position, not on the image size


@torch.no_grad()
def test_a_network_permuted_at_random_computes_the_same():
    network, image = small_vit().double().eval(), torch.rand(1, 1, 64, 96, dtype=torch.float64)
    for parameter in network.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    groups, expected = permutation_groups(network), network(image)
    permuted = permute(network.state_dict(), groups, random_permutation(groups, torch.Generator().manual_seed(1)))
    assert not torch.equal(
        permuted["encoder.patches.position.weight"], network.state_dict()["encoder.patches.position.weight"]
    )
    network.load_state_dict(permuted)
    assert largest_difference(network(image), expected) < 1e-9


def test_every_parameter_gets_a_gradient():
    network = small_vit()
    sum(output.float().sum() for output in network(torch.rand(1, 1, 64, 64)).values()).backward()
    assert without_gradient(network) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 30}, r"multiple of heads \(3\) and of 4, got 30"),
        ({"patch": 6}, "multiple of 4 pixels, got 6"),
    ],
)
def test_invalid_arguments_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        PlainViT(**settings)
