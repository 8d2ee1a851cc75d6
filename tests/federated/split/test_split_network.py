import copy

import pytest
import torch

from mtmedformer_monai.federated.split.split_network import SplitNetwork
from mtmedformer_monai.networks import MTMedFormer, PlainViT, ResNetEncoder
from tests.federated.split.tiny_sites import hierarchical, make_tasks, plain, with_fine_maps, with_stem
from tests.networks.small import largest_difference

CUTS = pytest.mark.parametrize(
    ("make", "stages"),
    [(hierarchical, 1), (hierarchical, 3), (with_fine_maps, 1), (with_stem, 2), (plain, 1)],
    ids=["one stage", "three stages", "fine maps", "stem", "plain"],
)


@CUTS
@torch.no_grad()
def test_the_parts_compute_what_the_whole_does(make, stages):
    network = make().eval()
    image = torch.rand(2, 1, 70, 100)
    assert largest_difference(SplitNetwork(network, stages)(image), network(image)) == 0.0


@CUTS
def test_every_parameter_is_in_one_part_under_its_name(make, stages):
    split = SplitNetwork(make(), stages)
    site, body = list(split.client.state_dict()), split.body_names()
    assert sorted(site + body) == sorted(split.whole.state_dict())


@CUTS
@torch.no_grad()
def test_parameters_are_shared_both_ways(make, stages):
    split = SplitNetwork(make().eval(), stages)
    image = torch.rand(1, 1, 64, 64)
    before = split(image)
    for part in (split.client, split.body):
        for parameter in part.parameters():
            parameter.mul_(1.1)
    assert largest_difference(split(image), before) > 0.0
    assert largest_difference(split(image), split.whole(image)) == 0.0
    split.whole.load_state_dict(make().state_dict())
    assert largest_difference(split(image), before) == 0.0


@torch.no_grad()
def test_a_copied_site_has_parameters_of_its_own():
    split = SplitNetwork(hierarchical().eval())
    site, image = copy.deepcopy(split.client), torch.rand(1, 1, 64, 64)
    for parameter in split.client.parameters():
        parameter.zero_()
    kept = site.start(image)
    outputs = site.finish(kept, split.body(kept[-1]), (64, 64))
    assert largest_difference(outputs, hierarchical().eval()(image)) == 0.0
    assert not set(map(id, site.parameters())) & set(map(id, split.whole.parameters()))


@pytest.mark.parametrize("stages", [0, 4])
def test_refuses_a_cut_without_head_or_body(stages):
    with pytest.raises(ValueError, match=f"head_stages expects 1 to 3 of 4 stages, got {stages}"):
        SplitNetwork(hierarchical(), stages)


def test_refuses_an_encoder_that_it_can_not_cut():
    network = MTMedFormer(ResNetEncoder("resnet10"), make_tasks(), 16)
    with pytest.raises(TypeError, match=r"HierarchicalTransformer or a PlainViT, got ResNetEncoder"):
        SplitNetwork(network)


def test_refuses_fine_maps_beside_a_plain_vit():
    with pytest.raises(TypeError, match="use detail=False"):
        SplitNetwork(MTMedFormer(PlainViT(32, depth=2, heads=2), make_tasks(), 16, detail=True))
