"""First rounds that learn the means of the groups' priors."""

import pytest
import torch

from mtmedformer_monai.federated.pvi import PVI
from mtmedformer_monai.federated.strategies import FedAvg, make_strategy
from mtmedformer_monai.federated.strategy import LocalTraining
from tests.federated.pvi.test_groups import BOXES, MASKS, federate, group_mean, linear_sites, play
from tests.federated.pvi.test_strategy import EXACT, close
from tests.federated.strategies.exact_clients import random_client, three_tensors

CLASSES = {"classes": 1}
WIDE = {"isotropic": 1.0, "prior_precision": 1e-9}
"""With these settings, the prior doesn't hold weights back."""


def steps(distance: float, loss: float, images: int = 10, name: str = "w"):
    """A client whose weights move by a distance, with a relative loss."""

    def train(rule, start):
        return LocalTraining({**start, name: start[name] + distance}, {name: images}, relative_loss=loss)

    return train


def zeros():
    return {"w": torch.zeros(2)}


def mean(server, tasks):
    return group_mean(server, tasks)[0].item()


def test_two_groups_by_hand():
    """Masks move by 4 and explain 0.75 of the loss, boxes by 1 and 0.25; mu = (4 + 1) / 2, of one client each."""
    sites = [(MASKS, steps(4.0, 0.25)), (BOXES, steps(1.0, 0.75))]
    server, rules = federate(PVI(**WIDE, prior_rounds=1), zeros(), sites)
    assert server.weights()["w"].tolist() == pytest.approx([2.5, 2.5])
    assert mean(server, MASKS) == pytest.approx(0.75 * 4 + 0.25 * 2.5)
    assert mean(server, BOXES) == pytest.approx(0.25 * 1 + 0.75 * 2.5)
    assert mean(server, CLASSES) == pytest.approx(2.5)  # a group that has sent nothing yet

    play(server, rules, sites)  # from there on, no pooling is seen in two equal steps from far apart priors
    assert mean(server, MASKS) > 0.75 * 4 + 0.25 * 2.5 + 3.9


def test_clients_of_a_group_count_by_images_and_groups_by_clients():
    """Masks: (30 * 2 + 10 * 6) / 40 = 3, loss (30 * 0.2 + 10 * 0.6) / 40 = 0.3; boxes have learned nothing."""
    sites = [(MASKS, steps(2.0, 0.2, 30)), (MASKS, steps(6.0, 0.6, 10)), (BOXES, steps(-5.0, 1.3, 1000))]
    server, _ = federate(PVI(**WIDE, prior_rounds=1), zeros(), sites)
    mu = (2 * 3 - 5) / 3
    assert server.weights()["w"][0].item() == pytest.approx(mu)
    assert mean(server, MASKS) == pytest.approx(0.7 * 3 + 0.3 * mu)
    assert mean(server, BOXES) == pytest.approx(-0.01 * 5 + 0.99 * mu)


def test_a_group_that_is_absent_keeps_its_mean():
    sites = [(MASKS, steps(4.0, 0.25)), (BOXES, steps(1.0, 0.75))]
    server, rules = federate(PVI(**WIDE, prior_rounds=3), zeros(), sites)
    before = [mean(server, tasks) for tasks in (MASKS, BOXES)]
    play(server, rules[:1], sites[:1])
    assert mean(server, MASKS) == pytest.approx(before[0] + 4)
    assert mean(server, BOXES) == pytest.approx(before[1])
    play(server, rules, sites)
    expected = (before[0] + 8 + before[1] + 1) / 2
    assert server.weights()["w"][0].item() == pytest.approx(expected)


def test_groups_part_from_priors_of_their_own():
    """With exact curvature and no pooling, the last round is exact inference from the learned means."""
    strategy = PVI(**EXACT, rate=1.0, prior_precision=0.5, between=1.0, prior_rounds=1)
    server, rules = federate(strategy, {"w": torch.ones(2)}, linear_sites())
    centers = [group_mean(server, tasks) for tasks in (MASKS, BOXES)]
    assert not torch.equal(*centers)
    play(server, rules, linear_sites())
    masks, boxes = torch.tensor([5.0, 3.0]), torch.tensor([2.0, 8.0])  # sums of the clients' precisions
    close(group_mean(server, MASKS), (0.5 * centers[0] + torch.tensor([7.0, 6.0])) / (0.5 + masks))
    close(group_mean(server, BOXES), (0.5 * centers[1] + torch.tensor([3.0, 4.0])) / (0.5 + boxes))


def test_partly_pooled_groups_share_their_distance_from_the_priors():
    """The joint Gaussian of both means, counted from the learned ones, has the covariance 2 (0.6 + 0.4 I)."""
    strategy = PVI(**EXACT, rate=1.0, prior_precision=0.5, between=0.4, prior_rounds=1)
    sites = linear_sites()[1:]
    server, rules = federate(strategy, {"w": torch.ones(2)}, sites)
    centers = torch.stack([group_mean(server, tasks) for tasks in (MASKS, BOXES)]).double()
    play(server, rules, sites)
    covariance = 2 * (0.6 * torch.ones(2, 2) + 0.4 * torch.eye(2)).double()
    precision = torch.tensor([[1.0, 2.0], [2.0, 8.0]]).double()  # of masks and boxes, by weight
    offset = torch.tensor([[-1.0, 6.0], [3.0, 4.0]]).double()
    for weight in range(2):
        noise = precision[:, weight].reciprocal()
        observed = offset[:, weight] * noise - centers[:, weight]
        moved = covariance @ torch.linalg.solve(covariance + noise.diag(), observed)
        for row, tasks in enumerate((MASKS, BOXES)):
            assert group_mean(server, tasks)[weight].item() == pytest.approx(
                float(centers[row, weight] + moved[row]), abs=1e-5
            )


def test_a_group_that_joins_where_the_others_are_is_no_spread_between_groups():
    """The prior's means are about 100; distances from them, which the shares are estimated from, are about 0."""

    def train(rule, start):
        rule.after_step({"w": start["w"] - 0.1}, 1, 2)
        rule.after_step({"w": start["w"] + 0.1}, 2, 2)
        return LocalTraining({"w": start["w"] + 0.1}, {"w": 10}, relative_loss=0.5)

    sites = [(MASKS, train), (BOXES, train)]
    server, rules = federate(PVI(**WIDE, prior_rounds=1), {"w": torch.full((2,), 100.0)}, sites)
    play(server, rules, sites)
    joined = [*sites, (CLASSES, train)]
    play(server, [*rules, PVI(**WIDE, prior_rounds=1).client()], joined)
    assert server.shares()["w"] < 1e-10  # a variance of 0.1 between groups; counted from 0, it would be 100 squared / 3
    assert mean(server, CLASSES) == pytest.approx(mean(server, MASKS), abs=0.1)


def test_one_group_is_federated_averaging():
    sites = [({"masks": 1}, random_client(seed)) for seed in range(3)]
    strategy = PVI(**WIDE, prior_rounds=3)
    found, expected = (federate(each, three_tensors(), sites, 3)[0].weights() for each in (strategy, FedAvg()))
    for name in expected:
        close(found[name], expected[name], 1e-6)


def test_a_client_that_missed_the_last_change_of_the_prior_forgets_its_factor():
    sites = linear_sites()
    strategy = PVI(**EXACT, rate=1.0, prior_precision=0.5, between=1.0, prior_rounds=2)
    server, rules = federate(strategy, {"w": torch.ones(2)}, sites)
    play(server, rules[:2], sites[:2])
    play(server, rules[:2], sites[:2])
    center = group_mean(server, BOXES)
    play(server, rules, sites)
    close(group_mean(server, BOXES), (0.5 * center + torch.tensor([3.0, 4.0])) / torch.tensor([2.5, 8.5]))


def test_withdrawing_a_factor_that_has_ended_changes_nothing(caplog):
    sites = [(MASKS, steps(4.0, 0.25)), (BOXES, steps(1.0, 0.75))]
    server, rules = federate(PVI(**WIDE, prior_rounds=2), zeros(), sites)
    expected = [mean(server, tasks) for tasks in (MASKS, BOXES)]
    with caplog.at_level("INFO"):
        server.add(rules[1].withdraw())
    assert "the round that it belongs to has ended" in caplog.text
    server.close_round()
    assert [mean(server, tasks) for tasks in (MASKS, BOXES)] == pytest.approx(expected)


def test_groups_that_merge_start_from_the_mean_of_their_priors():
    both = {**MASKS, **BOXES}
    sites = [(MASKS, steps(4.0, 0.25)), (BOXES, steps(1.0, 0.75))]
    strategy = PVI(**WIDE, prior_rounds=1)
    server, rules = federate(strategy, zeros(), sites)
    middle = (mean(server, MASKS) + mean(server, BOXES)) / 2
    play(server, [*rules, strategy.client()], [*sites, (both, steps(7.0, 0.5))])
    starts = [mean(server, tasks) for tasks in (MASKS, BOXES, both)]
    assert starts == pytest.approx([starts[0]] * 3)
    weights = [0.75 * 4 + 0.25 * 2.5 + 4, 0.25 + 0.75 * 2.5 + 1, 2.5 + 7]  # where the clients ended, from their starts
    assert starts[0] == pytest.approx(sum(weights) / 3, abs=1e-3)
    assert middle != pytest.approx(starts[0])


@pytest.mark.parametrize("order", [[2, 1, 0], [1, 0, 2]])
def test_any_order_of_clients_gives_equal_bits(order):
    sites = [(tasks, random_client(seed)) for seed, tasks in enumerate((MASKS, BOXES, MASKS))]
    strategy = PVI(num_rounds=3)
    expected = federate(strategy, three_tensors(), sites, 3)[0]
    found = federate(strategy, three_tensors(), [sites[place] for place in order], 3)[0]
    for tasks in (MASKS, BOXES):
        assert all(torch.equal(v, expected.broadcast_for(tasks)[k]) for k, v in found.broadcast_for(tasks).items())


def test_an_interrupted_federation_goes_on_alike():
    strategy = PVI(**EXACT, rate=1.0, prior_precision=0.5, between=0.5, prior_rounds=2)
    expected, _ = federate(strategy, {"w": torch.ones(2)}, linear_sites(), 4)
    server, rules = strategy.server({"w": torch.ones(2)}), [strategy.client() for _ in range(3)]
    for _ in range(4):
        play(server, rules, linear_sites())
        state, states = server.state_dict(), [rule.state_dict() for rule in rules]
        server, rules = strategy.server({"w": torch.zeros(2)}), [strategy.client() for _ in range(3)]
        server.load_state_dict(state)
        for rule, each in zip(rules, states, strict=True):
            rule.load_state_dict(each)
    for tasks in (MASKS, BOXES):
        assert torch.equal(group_mean(server, tasks), group_mean(expected, tasks))


@pytest.mark.parametrize(
    ("settings", "rounds"),
    [
        ({"num_rounds": 3}, 2),
        ({}, 0),
        ({"num_rounds": 3, "between": 0.0}, 0),
        ({"num_rounds": 3, "rate": 1.0}, 0),
        ({"num_rounds": 6, "distillation_rounds": 3}, 2),
        ({"num_rounds": 3, "prior_rounds": 0}, 0),
    ],
)
def test_the_number_of_rounds_decides_how_many_learn_the_prior(settings, rounds):
    """The broadcast counts them."""
    strategy = make_strategy("bayesian", **settings)
    sites = [(MASKS, steps(4.0, 0.25)), (BOXES, steps(1.0, 0.75))]
    server, _ = federate(strategy, zeros(), sites, 2)
    assert int(server.broadcast().get("setting/prior_number", 0)) == rounds


@pytest.mark.parametrize("settings", [{"prior_rounds": -1}, {"prior_rounds": 3, "num_rounds": 3}])
def test_a_wrong_number_of_rounds(settings):
    with pytest.raises(ValueError, match="prior_rounds expects at least 0 and less than the number of rounds"):
        PVI(**settings)
