"""Groups of clients that train different tasks: a mean per group around a global mean."""

import dataclasses

import pytest
import torch

from mtmedformer_monai.federated.pvi import PVI
from mtmedformer_monai.federated.strategies import FedAvg
from mtmedformer_monai.federated.strategy import LocalTraining
from tests.federated.pvi.test_strategy import EXACT, close, linear_client
from tests.federated.strategies.exact_clients import logistic_clients, pooled_optimum, random_client, three_tensors

MASKS, BOXES = {"masks": 1}, {"boxes": 1}


def of(tasks, site):
    """Returns the client with the given tasks."""

    def train(rule, start) -> LocalTraining:
        return dataclasses.replace(site(rule, start), images_by_task=tasks)

    return train


def federate(strategy, start, sites, num_rounds=1):
    """Returns the server after some rounds; `sites` is a list of (tasks, client)."""
    server, rules = strategy.server(start), [strategy.client() for _ in sites]
    for _ in range(num_rounds):
        play(server, rules, sites)
    return server, rules


def play(server, rules, sites):
    broadcasts = [server.broadcast_for(tasks) for tasks, _ in sites]
    for rule, broadcast, (tasks, site) in zip(rules, broadcasts, sites, strict=True):
        server.add(rule.send(of(tasks, site)(rule, rule.receive(broadcast))))
    server.close_round()


def group_mean(server, tasks, name="w"):
    return server.broadcast_for(tasks)[f"mean/{name}"]


def linear_sites():
    return [
        (MASKS, linear_client([4.0, 1.0], [8.0, 0.0])),
        (MASKS, linear_client([1.0, 2.0], [-1.0, 6.0])),
        (BOXES, linear_client([2.0, 8.0], [3.0, 4.0])),
    ]


def hierarchical_means(share: float, within: float = 0.0):
    """Returns the exact posterior means of the two groups, weight by weight, from the joint Gaussian of all weights.

    Unknowns: the mean of masks, the mean of boxes, and one weight per client around them.
    """
    precisions = torch.tensor([[4.0, 1.0], [1.0, 2.0], [2.0, 8.0]], dtype=torch.float64)
    offsets = torch.tensor([[8.0, 0.0], [-1.0, 6.0], [3.0, 4.0]], dtype=torch.float64)
    member = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    groups = (1 - share) / 0.5 * torch.ones(2, 2, dtype=torch.float64) + share / 0.5 * torch.eye(2, dtype=torch.float64)
    clients = member @ groups @ member.T + within * torch.eye(3, dtype=torch.float64)
    across = groups @ member.T
    means = []
    for weight in range(2):
        noise = precisions[:, weight].reciprocal().diag()
        observed = offsets[:, weight] / precisions[:, weight]
        means.append(1.0 + across @ torch.linalg.solve(clients + noise, observed - 1.0))  # the prior's mean is 1
    return torch.stack(means, dim=1)


@pytest.mark.parametrize("within", [0.0, 0.4])
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_exact_curvature_gives_the_hierarchical_posterior_in_one_round(share, within):
    strategy = PVI(**EXACT, rate=1.0, prior_precision=0.5, between=share, within=within)
    server, _ = federate(strategy, {"w": torch.ones(2)}, linear_sites())
    expected = hierarchical_means(share, within)
    close(group_mean(server, MASKS), expected[0])
    close(group_mean(server, BOXES), expected[1])


@pytest.mark.parametrize("within", [0.0, 0.4])
def test_it_stays_there(within):
    strategy = PVI(**EXACT, rate=1.0, prior_precision=0.5, between=0.2, within=within)
    server, _ = federate(strategy, {"w": torch.ones(2)}, linear_sites(), 4)
    close(group_mean(server, MASKS), hierarchical_means(0.2, within)[0], 1e-5)
    close(group_mean(server, BOXES), hierarchical_means(0.2, within)[1], 1e-5)


def test_damped_rounds_reach_it_too():
    strategy = PVI(**EXACT, prior_precision=0.5, between=0.2, within=0.4)
    server, _ = federate(strategy, {"w": torch.ones(2)}, linear_sites(), 60)
    close(group_mean(server, MASKS), hierarchical_means(0.2, 0.4)[0], 1e-4)
    close(group_mean(server, BOXES), hierarchical_means(0.2, 0.4)[1], 1e-4)


def test_full_pooling_reaches_the_pooled_optimum_whatever_the_groups():
    sites = list(zip((MASKS, BOXES, MASKS), logistic_clients(), strict=True))
    strategy = PVI(isotropic=0.3, curvature=0.0, prior_precision=0.5, between=0.0, within=0.0)
    server, _ = federate(strategy, {"w": torch.zeros(3)}, sites, 250)
    for tasks in (MASKS, BOXES):
        close(group_mean(server, tasks), pooled_optimum(logistic_clients(), 0.5), 2e-5)
    close(server.weights()["w"], pooled_optimum(logistic_clients(), 0.5), 2e-5)


def test_no_pooling_is_a_federation_per_group():
    first, second, third = logistic_clients()
    strategy = PVI(isotropic=0.3, curvature=0.0, prior_precision=0.5, between=1.0, within=0.0)
    server, _ = federate(strategy, {"w": torch.zeros(3)}, [(MASKS, first), (MASKS, third), (BOXES, second)], 20)
    alone, _ = federate(strategy, {"w": torch.zeros(3)}, [(MASKS, first), (MASKS, third)], 20)
    assert torch.equal(group_mean(server, MASKS), alone.weights()["w"])


def test_without_memory_groups_do_not_matter_and_it_is_federated_averaging():
    sites = [(tasks, random_client(seed)) for seed, tasks in enumerate((MASKS, BOXES, MASKS))]
    strategy = PVI(isotropic=1.0, curvature=0.0, memory=False)
    found, expected = (federate(each, three_tensors(), sites, 3)[0].weights() for each in (strategy, FedAvg()))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_groups_that_agree_are_pooled_and_groups_that_differ_are_not():
    """Two clients per group; in `encoder` all scatter alike, in `lung` the groups' means are far apart."""

    def site(seed: int, shift: float):
        def train(rule, start):
            generator = torch.Generator().manual_seed(seed)
            weights = dict(start)
            for step in range(1, 9):
                for name, distance in (("encoder", 0.0), ("lung", shift)):
                    weights[name] = 0.3 * torch.randn(40, 50, generator=generator) + distance
                rule.after_step(weights, step, 8)
            return LocalTraining(weights, {"encoder": 50, "lung": 50})

        return train

    start = {name: torch.zeros(40, 50) for name in ("encoder", "lung")}
    sites = [(MASKS, site(0, 2.0)), (MASKS, site(1, 2.0)), (BOXES, site(2, -2.0)), (BOXES, site(3, -2.0))]
    server, _ = federate(PVI(), start, sites)
    shares = server.shares()
    assert shares["encoder"] < 0.001
    assert shares["lung"] > 20 * shares["encoder"]
    distance = [(group_mean(server, MASKS, name) - group_mean(server, BOXES, name)).mean() for name in start]
    assert abs(distance[0]) < 0.05
    assert distance[1] > 3.0


def test_a_tensor_that_one_group_trains_is_the_same_for_all():
    sites = [(MASKS, random_client(0, ["encoder", "lung"])), (BOXES, random_client(1, ["encoder"]))]
    server, _ = federate(PVI(between=0.5), three_tensors(), sites, 2)
    assert torch.equal(group_mean(server, MASKS, "lung"), server.weights()["lung"])
    assert torch.equal(group_mean(server, BOXES, "lung"), server.weights()["lung"])
    assert not torch.equal(group_mean(server, MASKS, "encoder"), group_mean(server, BOXES, "encoder"))


def test_any_order_of_clients_gives_equal_bits():
    sites = [(tasks, random_client(seed)) for seed, tasks in enumerate((MASKS, BOXES, MASKS))]
    expected = federate(PVI(), three_tensors(), sites, 3)[0]
    for order in ([2, 1, 0], [1, 0, 2], [1, 2, 0]):
        found = federate(PVI(), three_tensors(), [sites[place] for place in order], 3)[0]
        for tasks in (MASKS, BOXES):
            assert all(torch.equal(v, expected.broadcast_for(tasks)[k]) for k, v in found.broadcast_for(tasks).items())


def test_it_resumes_half_way_through_a_round():
    sites = [(tasks, random_client(seed)) for seed, tasks in enumerate((MASKS, BOXES, MASKS))]
    server, rules = federate(PVI(), three_tensors(), sites, 2)
    broadcasts = [server.broadcast_for(tasks) for tasks, _ in sites]
    messages = [
        rule.send(of(tasks, site)(rule, rule.receive(broadcast)))
        for rule, broadcast, (tasks, site) in zip(rules, broadcasts, sites, strict=True)
    ]
    server.add(messages[0])
    restored = PVI().server(three_tensors())
    restored.load_state_dict(server.state_dict())
    for each in (server, restored):
        each.add(messages[1])
        each.add(messages[2])
        each.close_round()
    for tasks in (MASKS, BOXES):
        expected = server.broadcast_for(tasks)
        assert all(torch.equal(value, expected[name]) for name, value in restored.broadcast_for(tasks).items())


def test_a_group_whose_clients_withdraw_leaves_no_trace_with_exact_curvature():
    strategy = PVI(**EXACT, rate=1.0, prior_precision=0.5, between=0.2)
    server, rules = federate(strategy, {"w": torch.ones(2)}, linear_sites())
    server.add(rules[2].withdraw())
    server.close_round()
    without, _ = federate(strategy, {"w": torch.ones(2)}, linear_sites()[:2])
    close(group_mean(server, MASKS), group_mean(without, MASKS))


@pytest.mark.parametrize("prior_rounds", [0, 1])
def test_groups_that_a_client_has_merged_part_when_it_withdraws(prior_rounds):
    """They are groups of their own again, around the mean of the prior that they had together."""
    both = {"masks": 1, "boxes": 1}
    strategy = PVI(**EXACT, rate=1.0, prior_precision=0.5, between=1.0, prior_rounds=prior_rounds)
    sites = [*linear_sites()[1:], (both, linear_client([3.0, 3.0], [9.0, 0.0]))]
    server, rules = federate(strategy, {"w": torch.ones(2)}, sites, num_rounds=prior_rounds)
    center = server.weights()["w"]
    play(server, rules, sites)
    assert sorted(server.group_networks()) == ["boxes+masks"]
    server.add(rules[2].withdraw())
    server.close_round()
    assert sorted(server.group_networks()) == ["boxes", "masks"]
    close(group_mean(server, MASKS), (0.5 * center + torch.tensor([-1.0, 6.0])) / torch.tensor([1.5, 2.5]))
    close(group_mean(server, BOXES), (0.5 * center + torch.tensor([3.0, 4.0])) / torch.tensor([2.5, 8.5]))
    play(server, rules[:2], sites[:2])  # goes on without it
    for rule in rules[:2]:
        server.add(rule.withdraw())
    server.close_round()
    assert server.group_networks() == {}
    close(server.weights()["w"], center)


def test_a_message_without_a_factor_merges_no_groups():
    server, _ = federate(PVI(between=1.0), {"w": torch.ones(2)}, linear_sites())
    server.add({"group/masks": torch.ones(()), "group/boxes": torch.ones(())})
    zeros = {"precision_mean/w": torch.zeros(2), "precision/w": torch.zeros(2)}
    server.add({"group/masks": torch.ones(()), "group/boxes": torch.ones(()), "group/classes": torch.ones(()), **zeros})
    server.close_round()
    assert sorted(server.group_networks()) == ["boxes", "masks"]
    assert server.group_of(["masks"]) == "masks"


@pytest.mark.parametrize(
    ("moments", "error"),
    [
        (torch.ones(3), "expect 9 finite numbers"),
        (torch.full((9,), torch.nan), "expect 9 finite numbers"),
        (torch.full((9,), 1e200, dtype=torch.float64), r"expect 9 finite numbers up to 1e\+36"),
        (torch.tensor([1.0] * 4 + [1e-200] + [1.0] * 4, dtype=torch.float64), "expect 9 finite numbers"),
    ],
    ids=["shape", "NaN", "extreme", "divisor of almost 0"],
)
def test_broken_moments_are_refused_with_the_whole_message(moments, error):
    server = PVI().server(three_tensors())
    before = server.broadcast()
    rule = PVI().client()
    message = rule.send(of(MASKS, random_client(0))(rule, rule.receive(before)))
    with pytest.raises(ValueError, match=error):
        server.add({**message, "moments/encoder": moments})
    server.close_round()
    assert all(torch.equal(value, before[name]) for name, value in server.broadcast().items())


def test_clients_with_nested_tasks_share_a_mean():
    first, second, third = (site for _, site in linear_sites())
    both = {"masks": 1, "boxes": 1}
    settings = {**EXACT, "rate": 1.0, "prior_precision": 0.5, "between": 1.0}
    sites = [(MASKS, first), (both, second), ({"classes": 1}, third)]
    server, _ = federate(PVI(**settings), {"w": torch.ones(2)}, sites)
    expected = (0.5 + torch.tensor([7.0, 6.0])) / (0.5 + torch.tensor([5.0, 3.0]))
    close(group_mean(server, MASKS), expected)
    assert torch.equal(group_mean(server, MASKS), group_mean(server, both))
    assert sorted(server.group_networks()) == ["boxes+masks", "classes"]
    assert torch.equal(group_mean(server, BOXES), group_mean(server, both))  # a client that has sent nothing yet


def test_groups_merge_when_a_client_annotates_the_tasks_of_both():
    """A client joins in the second round; from then on, there is one mean, that of all three clients."""
    first, second, third = (site for _, site in linear_sites())
    both = {"masks": 1, "boxes": 1}
    strategy = PVI(**{**EXACT, "rate": 1.0, "prior_precision": 0.5, "between": 1.0})
    server, rules = federate(strategy, {"w": torch.ones(2)}, [(MASKS, first), (BOXES, third)])
    assert not torch.equal(group_mean(server, MASKS), group_mean(server, BOXES))
    rules.append(strategy.client())
    for _ in range(2):
        play(server, rules, [(MASKS, first), (BOXES, third), (both, second)])
    expected = (0.5 + torch.tensor([10.0, 10.0])) / (0.5 + torch.tensor([7.0, 11.0]))
    for tasks in (MASKS, BOXES, both):
        close(group_mean(server, tasks), expected, 1e-5)
    assert list(server.group_networks()) == ["boxes+masks"]
