import pytest
import torch
from torch import nn

import mtmedformer_monai.networks as networks
import mtmedformer_monai.tasks as tasks
from mtmedformer_monai.federated.alignment.permutation import (
    compose,
    identity_permutation,
    invert,
    is_identity,
    permute,
    permute_optimizer,
    random_permutation,
)
from mtmedformer_monai.layers.group_declaration import permutation_groups
from mtmedformer_monai.layers.permutation_groups import Group, PermutationGroups
from tests.federated.shipped_networks import NETWORKS, make
from tests.networks.small import small_network

OUTPUTS = ("logits.bias", "scores.bias", "distances.bias")
TREE = PermutationGroups({"blocks": Group(3), "units": Group(6, "blocks")}, {"w": (("units",), ()), "steps": ()})


@pytest.fixture(scope="module")
def shipped():
    return {name: make(name) for name in NETWORKS}


@pytest.fixture(params=NETWORKS)
def network(request, shipped):
    return shipped[request.param]


def test_no_shipped_module_is_left_out(shipped):
    kinds = {type(module) for network in shipped.values() for module in network.modules()}
    for name in set(networks.__all__) - {"TransformerSize", "export_onnx", "load_pvt_v2"}:
        assert getattr(networks, name) in kinds, name
    for name in set(tasks.__all__) - {"StudyTask", "Task", "TaskMetric", "decode_boxes"}:
        arguments = [] if name == "ReconstructionTask" else ["name", ["a", "b"]]
        decoder = getattr(tasks, name)(*arguments).make_decoder([8, 16, 24, 32], [4, 8, 16, 32], 16)
        assert type(decoder) in kinds, name


def test_every_parameter_is_declared_and_only_outputs_are_fixed(network):
    axes = permutation_groups(network).axes
    assert set(axes) == {name for name, _ in [*network.named_parameters(), *network.named_buffers()]}
    fixed = [name for name, each in axes.items() if not any(each)]
    assert all(name.endswith((*OUTPUTS, "relative_position_index")) or "encoder.model." in name for name in fixed)


@torch.no_grad()
def test_a_network_permuted_at_random_computes_the_same(network):
    network, groups = network.double(), permutation_groups(network)
    image = torch.rand(1, 4 if isinstance(network, networks.StudyNetwork) else 1, 64, 96, dtype=torch.float64)
    expected, before = network(image), network.state_dict()
    permutation = random_permutation(groups, torch.Generator().manual_seed(1))
    after = permute(before, groups, permutation)
    assert all(
        not torch.equal(after[name], before[name]) for name, axes in groups.axes.items() if "stream" in str(axes)
    )
    network.load_state_dict(after)
    outputs = network(image)
    if isinstance(expected, torch.Tensor):
        outputs, expected = {"": outputs}, {"": expected}
    for name, output in outputs.items():
        tolerance = 1e-10 if output.dtype == torch.float64 else 1e-5  # detection computes boxes in float32
        assert (output - expected[name]).abs().max() <= tolerance * expected[name].abs().max(), name


def test_blocks_move_as_a_whole():
    moved = random_permutation(TREE, torch.Generator().manual_seed(0))
    assert sorted(moved["units"].tolist()) == list(range(6))
    assert torch.equal(moved["units"].reshape(3, 2) // 2, moved["blocks"][:, None].expand(3, 2))


def test_every_order_that_keeps_blocks_is_drawn():
    generator = torch.Generator().manual_seed(0)
    drawn = {tuple(random_permutation(TREE, generator)["units"].tolist()) for _ in range(1000)}
    assert len(drawn) == 6 * 2**3  # orders of three blocks, and of the two units in each


def test_by_hand():
    rows = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]])
    permutation = {"blocks": torch.tensor([2, 0, 1]), "units": torch.tensor([4, 5, 1, 0, 2, 3])}
    permuted = permute({"w": rows, "steps": torch.tensor(7)}, TREE, permutation)
    assert permuted["w"].flatten().tolist() == [4.0, 5.0, 1.0, 0.0, 2.0, 3.0]
    assert permuted["steps"].item() == 7


def test_inverse_and_composition(shipped):
    network = shipped["transformer"]
    groups, state = permutation_groups(network), network.state_dict()
    one, two = random_permutation(groups), random_permutation(groups)
    in_turn = permute(permute(state, groups, one), groups, two)
    at_once = permute(state, groups, compose(one, two))
    assert all(torch.equal(at_once[name], value) for name, value in in_turn.items())
    assert is_identity(compose(one, invert(one)))
    assert not is_identity(one)
    back = permute(permute(state, groups, one), groups, invert(one))
    assert all(torch.equal(back[name], value) for name, value in state.items())


def test_the_identity_hands_on_what_came():
    value = torch.rand(6, 2)
    assert permute({"w": value}, TREE, identity_permutation(TREE))["w"] is value


def test_training_continues_as_if_nothing_had_moved():
    plain, moved = small_network().double(), small_network().double()
    image = torch.rand(1, 1, 64, 64, dtype=torch.float64)
    optimizers = [torch.optim.AdamW(network.parameters()) for network in (plain, moved)]
    groups = permutation_groups(plain)
    permutation = random_permutation(groups)
    for step in range(3):
        for network, optimizer in zip((plain, moved), optimizers, strict=True):
            network.eval().zero_grad()
            sum(output.tanh().mean() for output in network(image).values()).backward()
            optimizer.step()
        if step == 0:
            moved.load_state_dict(permute(moved.state_dict(), groups, permutation))
            permute_optimizer(optimizers[1], moved, groups, permutation)
    expected = permute(plain.state_dict(), groups, permutation)
    assert all((value - expected[name]).abs().max() < 1e-6 for name, value in moved.state_dict().items())


def test_a_name_of_another_network_is_refused():
    with pytest.raises(KeyError, match=r"tensors \['v'\] are not in the network"):
        permute({"v": torch.zeros(6)}, TREE, identity_permutation(TREE))


def test_a_buffer_that_nobody_named_is_refused():
    network = small_network()
    network.encoder.register_buffer("seen", torch.zeros(()))
    network.encoder.stages[0].extra = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"encoder.stages.0.extra.weight.*'encoder.seen'"):
        permutation_groups(network)
