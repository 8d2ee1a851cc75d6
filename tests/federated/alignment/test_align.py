import pytest
import torch
from torch import nn

from mtmedformer_monai.federated.alignment.align import AlignmentSettings, align, aligned
from mtmedformer_monai.federated.alignment.permutation import (
    identity_permutation,
    invert,
    is_identity,
    permute,
    random_permutation,
)
from mtmedformer_monai.layers.group_declaration import permutation_groups
from mtmedformer_monai.layers.permutation_groups import Group, PermutationGroups
from mtmedformer_monai.tasks import SegmentationTask
from tests.federated.shipped_networks import NETWORKS
from tests.networks.small import small_network

CASES = [("transformer", seed) for seed in range(5)] + [("swin", seed) for seed in range(5)]
CASES += [("pyramids_apart", 0), ("study", 0), ("resnet10", 0), ("resnet18", 0)]


def perturbed(state, share):
    """Adds noise of a share of each tensor's standard deviation."""
    generator = torch.Generator().manual_seed(7)
    return {
        name: value + share * value.std(correction=0) * torch.randn(value.shape, generator=generator)
        if value.is_floating_point()
        else value
        for name, value in state.items()
    }


def squared_distance(one, other):
    return sum((one[name] - other[name]).double().square().sum().item() for name in one)


@pytest.mark.parametrize(("name", "seed"), CASES, ids=str)
def test_a_scrambled_copy_is_recovered_exactly(name, seed):
    torch.manual_seed(seed)
    network = NETWORKS[name]()  # initial weights: norms of ones, biases of zeros
    state, groups = network.state_dict(), permutation_groups(network)
    scrambled = permute(state, groups, random_permutation(groups))
    found = permute(scrambled, groups, align(state, scrambled, groups))
    assert all(torch.equal(found[name], value) for name, value in state.items())


def test_aligned_weights_keep_what_no_group_permutes():
    network = small_network()
    state, groups = network.state_dict(), permutation_groups(network)
    scrambled = permute(state, groups, random_permutation(groups)) | {"steps": torch.tensor(3)}
    assert not all(torch.equal(scrambled[name], value) for name, value in state.items())
    found = aligned(state, scrambled, groups)
    assert all(torch.equal(found[name], value) for name, value in state.items())
    assert int(found.pop("steps")) == 3
    assert set(found) == set(state)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_a_scrambled_copy_is_recovered_in_spite_of_noise(share):
    network = NETWORKS["swin"]()
    state, groups = network.state_dict(), permutation_groups(network)
    permutation = random_permutation(groups)
    found = align(state, permute(perturbed(state, share), groups, permutation), groups)
    assert all(torch.equal(found[label], order) for label, order in invert(permutation).items())


def test_two_units_that_changed_places_are_found_among_many():
    network = small_network()
    state, groups = network.state_dict(), permutation_groups(network)
    label, swap = "encoder.stages.1.blocks.0.mlp.hidden", identity_permutation(groups)
    swap[label][[3, 200]] = swap[label][[200, 3]]
    found = align(state, permute(state, groups, swap), groups)
    assert torch.equal(found[label], swap[label])


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05])
def test_from_common_weights_nothing_moves_and_no_units_are_compared(share, monkeypatch):
    network = small_network()
    state, groups = network.state_dict(), permutation_groups(network)
    monkeypatch.setattr("mtmedformer_monai.federated.alignment.align.assign", lambda *_: pytest.fail("solved"))
    assert is_identity(align(state, perturbed(state, share), groups))


def test_from_common_weights_nothing_moves_at_much_noise():
    network = small_network()
    state, groups = network.state_dict(), permutation_groups(network)
    assert is_identity(align(state, perturbed(state, 0.4), groups))


def test_a_common_encoder_stays_where_decoders_of_its_own_are_matched():
    network = small_network()
    state, groups = network.state_dict(), permutation_groups(network)
    drawn = random_permutation(groups)
    decoders = {label: order for label, order in drawn.items() if not label.startswith("encoder.")}
    found = align(state, permute(state, groups, {**identity_permutation(groups), **decoders}), groups)
    assert all(torch.equal(found[label], order) for label, order in invert(decoders).items())
    assert is_identity({label: order for label, order in found.items() if label.startswith("encoder.")})


@torch.no_grad()
def test_a_network_of_another_start_comes_nearer_and_computes_the_same():
    reference, network = small_network().state_dict(), small_network().double().eval()
    for parameter in network.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.1)
    groups, image = permutation_groups(network), torch.rand(1, 1, 64, 64, dtype=torch.float64)
    before, expected = network.state_dict(), network(image)["mask"]
    after = permute(before, groups, align(reference, before, groups))
    assert squared_distance(reference, after) < 0.95 * squared_distance(reference, before)
    network.load_state_dict(after)
    assert (network(image)["mask"] - expected).abs().max() < 1e-10 * expected.abs().max()


def test_a_site_without_some_tasks_is_aligned_to_the_whole():
    whole = small_network().state_dict()
    network = small_network([SegmentationTask("mask", ["lung", "heart"])])
    groups = permutation_groups(network)
    part = {name: whole[name] for name in network.state_dict()}
    found = permute(
        scrambled := permute(part, groups, random_permutation(groups)), groups, align(whole, scrambled, groups)
    )
    assert all(torch.equal(found[name], value) for name, value in part.items())


ROWS = PermutationGroups({"rows": Group(2)}, {"w": (("rows",), ())})


@pytest.mark.parametrize(("damping", "moves"), [(0.0, True), (0.35, True), (0.45, False)])
def test_damping_is_a_share_of_both_networks_squares(damping, moves):
    ours, theirs = torch.tensor([[1.0], [-1.0]]), torch.tensor([[-0.1], [0.1]])
    # Squared distance 2 * 1.21 as it is, 2 * 0.81 swapped: 0.8 less, of 2 * 1.01 in all.
    found = align({"w": ours}, {"w": theirs}, ROWS, None, AlignmentSettings(damping=damping))
    assert is_identity(found) != moves


def test_precision_decides_which_weights_count():
    ours = {"w": torch.tensor([[1.0, -1.0], [-1.0, 1.0]])}
    theirs = {"w": torch.tensor([[1.0, 5.0], [-1.0, -5.0]])}  # the first column says stay, the second says swap
    precision = {"w": torch.tensor([[1.0, 0.001], [1.0, 0.001]])}
    settings = AlignmentSettings(damping=0.0, precision_share=1.0)
    assert not is_identity(align(ours, theirs, ROWS, None, settings))
    assert is_identity(align(ours, theirs, ROWS, precision, settings))


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"'w' expects the reference's shape \(2, 1\), got \(2, 3\)"):
        align({"w": torch.zeros(2, 1)}, {"w": torch.zeros(2, 3)}, ROWS)


class Residual(nn.Module):
    """A weight with one group on both of its axes."""

    def __init__(self):
        super().__init__()
        self.enter, self.mix, self.leave = nn.Linear(3, 6), nn.Linear(6, 6), nn.Linear(6, 2)

    def permutable(self, declare):
        stream = declare.group("stream", 6)
        declare.layer("enter", (), stream)
        declare.layer("mix", stream, stream)
        declare.layer("leave", stream, ())


def test_a_weight_that_lists_a_group_twice_moves_on_both_axes():
    network = Residual()
    state, groups = network.state_dict(), permutation_groups(network)
    scrambled = permute(state, groups, random_permutation(groups, torch.Generator().manual_seed(1)))
    found = permute(scrambled, groups, align(state, scrambled, groups))
    assert all(torch.equal(found[name], value) for name, value in state.items())
