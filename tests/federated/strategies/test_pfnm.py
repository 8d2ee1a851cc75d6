from __future__ import annotations

import itertools

import pytest
import torch

from mtmedformer_monai.federated.alignment.permutation import identity_permutation, permute, random_permutation
from mtmedformer_monai.federated.strategies import PFNM, Compressed, FedAvg, KeepLocal
from mtmedformer_monai.federated.strategies.pfnm import hidden_slots
from mtmedformer_monai.federated.strategy import LocalTraining
from mtmedformer_monai.layers.group_declaration import permutation_groups
from mtmedformer_monai.layers.permutation_groups import FIXED, Group, PermutationGroups
from tests.networks.small import small_network

GROUPS = PermutationGroups(
    {"mlp.hidden": Group(8), "stream": Group(3)},
    {
        "a.weight": (("mlp.hidden",), FIXED),
        "a.bias": (("mlp.hidden",),),
        "b.weight": (("stream",), ("mlp.hidden",)),
        "c.weight": (("stream",),),
    },
)
SHAPES = {"a.weight": (8, 5), "a.bias": (8,), "b.weight": (3, 8), "c.weight": (3,)}


def weights(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def shuffled(values: dict[str, torch.Tensor], seed: int, groups=GROUPS) -> dict[str, torch.Tensor]:
    drawn = random_permutation(groups, torch.Generator().manual_seed(seed))
    hidden = {label: order for label, order in drawn.items() if label.endswith("hidden")}
    return permute(values, groups, {**identity_permutation(groups), **hidden})


def server_of(strategy, clients, groups=GROUPS, start=None):
    """Returns the server after one round; clients: (weights, number of images)."""
    server = strategy.server(start or weights(99))
    for trained, count in clients:
        rule = strategy.client(groups)
        rule.receive(server.broadcast())
        server.add(rule.send(LocalTraining(trained, dict.fromkeys(trained, count))))
    server.close_round()
    return server


def test_shuffled_copies_are_merged_in_the_largest_clients_order():
    clients = [(shuffled(weights(), 1), 10), (shuffled(weights(), 2), 50), (shuffled(weights(), 3), 20)]
    found = server_of(PFNM(), clients).weights()
    for name, value in clients[1][0].items():
        torch.testing.assert_close(found[name], value)


def test_rows_of_classes_that_a_client_does_not_know_carry_no_weight():
    start, rule = {"last.weight": torch.zeros(2, 1)}, PFNM().client(PermutationGroups({}, {}))
    server = PFNM().server(start)
    for value, count, unknown in ((4.0, 20, {}), (0.0, 60, {"last.weight": torch.tensor([False, True])})):
        trained = {"last.weight": torch.full((2, 1), value)}
        server.add(rule.send(LocalTraining(trained, {"last.weight": count}, unlearned=unknown)))
    server.close_round()
    assert server.weights()["last.weight"].tolist() == [[1.0], [4.0]]


def test_of_noisy_copies_it_is_the_mean_of_matched_units():
    noisy = [{name: value + 0.05 * torch.randn_like(value) for name, value in weights().items()} for _ in range(3)]
    counts = (30, 10, 20)
    expected = server_of(FedAvg(), list(zip(noisy, counts, strict=True))).weights()
    mixed = [noisy[0], shuffled(noisy[1], 1), shuffled(noisy[2], 2)]
    found = server_of(PFNM(), list(zip(mixed, counts, strict=True))).weights()
    torch.testing.assert_close(found, expected)


def test_from_common_weights_it_is_federated_averaging_bit_for_bit():
    clients = [({name: value + 0.01 * seed for name, value in weights().items()}, 5 + seed) for seed in range(3)]
    found, expected = server_of(PFNM(), clients).weights(), server_of(FedAvg(), clients).weights()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_the_order_of_clients_never_matters():
    clients = [(weights(seed), count) for seed, count in enumerate((7, 7, 30))]
    expected = server_of(PFNM(), clients).weights()
    for order in itertools.permutations(clients):
        found = server_of(PFNM(), order).weights()
        assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_whole_transformer_keeps_its_function():
    network = small_network().eval()
    for parameter in network.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    groups, image = permutation_groups(network), torch.rand(1, 1, 32, 32)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    slots = hidden_slots(groups)
    assert len({group for group, _ in slots.values()}) == 4  # one MLP per stage
    assert {name.rpartition("mlp.")[2] for name in slots} == {
        "expand.weight", "expand.bias", "depthwise.weight", "depthwise.bias", "contract.weight"
    }  # fmt: skip
    with torch.no_grad():
        before = network(image)
        clients = [(shuffled(state, seed, groups), 10 - seed) for seed in range(3)]
        network.load_state_dict(server_of(PFNM(), clients, groups, state).weights())
        after = network(image)
    assert any(not torch.equal(value, state[name]) for name, value in clients[0][0].items())
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=1e-3, atol=1e-4)


def test_groups_that_cannot_be_matched_alone_are_left_out():
    groups = PermutationGroups(
        {"plain.hidden": Group(4), "both.hidden": Group(4), "joined.hidden": Group(2), "more": Group(2),
         "heads.hidden": Group(2), "inner": Group(4, "heads.hidden"), "stream": Group(4)},
        {"a": (("plain.hidden",), ("stream",)), "b": (("both.hidden",), ("both.hidden",)),
         "c": (("joined.hidden", "more"),), "d": (("heads.hidden",),), "e": (("stream",),)},
    )  # fmt: skip
    assert hidden_slots(groups) == {"a": (0, 0)}


def test_clients_that_lack_a_tensor_of_a_group_are_averaged_as_they_are():
    """Another client kept `b.weight` local, so its hidden units cannot be matched."""
    strategy, server = PFNM(), PFNM().server(weights(99))
    for rule, count in ((strategy.client(GROUPS), 10), (KeepLocal(strategy, ["b.weight"]).client(GROUPS), 30)):
        rule.receive(server.broadcast())
        trained = weights() if count == 10 else shuffled(weights(), 1)
        server.add(rule.send(LocalTraining(trained, dict.fromkeys(trained, count))))
    server.close_round()
    expected = (10 * weights()["a.bias"] + 30 * shuffled(weights(), 1)["a.bias"]) / 40
    torch.testing.assert_close(server.weights()["a.bias"], expected)


def test_weights_that_nobody_trained_stay_bit_for_bit():
    trained = {name: value for name, value in weights().items() if name != "c.weight"}
    assert torch.equal(server_of(PFNM(), [(trained, 4), (trained, 5)]).weights()["c.weight"], weights(99)["c.weight"])


def test_stock_clients_take_part_in_the_matching():
    strategy = PFNM()
    server, rule = strategy.server(weights(99)), strategy.client(GROUPS)
    rule.receive(server.broadcast())
    server.add(rule.send(LocalTraining(weights(), dict.fromkeys(SHAPES, 20))))
    for name, value in shuffled(weights(), 1).items():
        assert value.shape == SHAPES[name]
    plain = {f"precision_mean/{name}": 10 * value for name, value in shuffled(weights(), 1).items()}
    server.add({**plain, **{f"precision/{name}": torch.full(shape, 10.0) for name, shape in SHAPES.items()}})
    server.close_round()
    torch.testing.assert_close(server.weights(), weights())


def test_it_resumes_in_the_middle_of_a_round():
    strategy, clients = PFNM(), [(weights(seed), 5 + seed) for seed in range(2)]
    expected, first, second = server_of(strategy, clients), strategy.server(weights(99)), strategy.server(weights(99))
    for index, (trained, count) in enumerate(clients):
        message = strategy.client(GROUPS).send(LocalTraining(trained, dict.fromkeys(trained, count)))
        (second if index else first).add(message)
        if not index:
            second.load_state_dict(first.state_dict())
    second.close_round()
    assert all(torch.equal(second.weights()[name], value) for name, value in expected.weights().items())


def test_compressed_messages_are_decoded_before_the_matching():
    """Float16 has 11 bits; the server sees each client's decoded weights, so nothing has to be refused."""
    clients = [(shuffled(weights(), 1), 30), (shuffled(weights(), 2), 10)]
    found = server_of(Compressed(PFNM(), half_mean=True), clients).weights()
    for name, value in clients[0][0].items():
        torch.testing.assert_close(found[name], value, rtol=2e-3, atol=2e-3)


def test_it_declares_that_its_server_sees_the_clients_weights():
    assert not PFNM().sends_sums
    assert not Compressed(PFNM()).sends_sums
    assert not KeepLocal(PFNM(), ["c.*"]).sends_sums
    assert FedAvg().sends_sums


WRONG = {
    "incomplete": ({"precision/a.bias": None}, KeyError, "expects precision_mean and precision"),
    "no images": ({"precision/a.bias": torch.zeros(8)}, ValueError, "above 0, got 0"),
    "axis": ({"units/a.bias": torch.tensor([0, 1])}, ValueError, r"axis below 1, got \[0, 1\]"),
    "length": ({"units/a.weight": torch.tensor([0, 1])}, ValueError, "as of group 0, got"),
    "shape": ({"units/a.bias": torch.tensor(0)}, ValueError, "expect a group and an axis below 1, got 0"),
    "extreme": (
        {"precision/a.bias": torch.full((8,), 1e-300, dtype=torch.float64)},
        ValueError,
        "divided by its precision",
    ),
    "unknown": ({"units/d": torch.tensor([0, 0])}, KeyError, "no tensor 'd'"),
    "not finite": ({"precision_mean/a.bias": torch.full((8,), torch.nan)}, ValueError, "not finite"),
}


@pytest.mark.parametrize(("changes", "error", "match"), WRONG.values(), ids=WRONG)
def test_a_rejected_message_adds_nothing(changes, error, match):
    strategy, server = PFNM(), PFNM().server(weights(99))
    message = strategy.client(GROUPS).send(LocalTraining(weights(), dict.fromkeys(SHAPES, 3)))
    server.add(message)
    with pytest.raises(error, match=match):
        server.add({name: value for name, value in {**message, **changes}.items() if value is not None})
    assert len(server.state_dict()["messages"]) == 1


def test_a_client_that_states_other_units_does_not_decide_for_the_others():
    """It comes first, with the most images and numbers of 16 bits; the others are matched, and it is averaged."""
    strategy, server = PFNM(), PFNM().server(weights(99))
    networks = [shuffled(weights(), seed) for seed in range(3)]
    for seed, trained in enumerate(networks):
        message = strategy.client(GROUPS).send(LocalTraining(trained, dict.fromkeys(SHAPES, 10 - seed)))
        if seed == 0:
            message |= {"units/a.bias": torch.tensor([1, 0]), "units/c.weight": torch.tensor([2, 0])}
            message["precision/a.bias"] = message["precision/a.bias"].bfloat16()
        server.add(message)
    server.close_round()
    for name, found in server.weights().items():
        torch.testing.assert_close(found, (10 * networks[0][name] + 17 * networks[1][name]) / 27)


def test_a_network_without_groups_is_refused():
    with pytest.raises(ValueError, match="declares its permutation groups"):
        PFNM().client()
