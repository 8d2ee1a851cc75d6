import pytest
import torch

from mtmedformer_monai.federated.message import TensorKind, pick
from mtmedformer_monai.federated.pvi import PVI
from mtmedformer_monai.federated.strategies import FedAvg
from mtmedformer_monai.federated.strategy import LocalTraining
from tests.federated.strategies.exact_clients import (
    assert_any_order_is_the_same,
    assert_it_resumes_after_restoring,
    federate,
    fixed,
    logistic_clients,
    play,
    pooled_optimum,
    random_client,
    three_tensors,
)

EXACT = {"isotropic": 0.0, "curvature": 1.0, "average": 0.0}
"""With these settings, a client's precision is n times the squared gradient that it reports."""


def linear_client(
    precision: list[float], precision_mean: list[float], reported: list[float] | None = None, count: int = 10
):
    """A client with the total loss `w' A w / 2 - b' w`, A diagonal, trained to its optimum.

    It reports A, or the given values.
    """
    curvature, offset = torch.tensor(precision, dtype=torch.float64), torch.tensor(precision_mean, dtype=torch.float64)

    def train(rule, start):
        zero = torch.zeros_like(offset)
        ones = torch.ones_like(offset)
        constant = count * rule.correct("w", zero, zero, count)  # of the cavity's gradient, which is affine
        slope = count * rule.correct("w", ones, zero, count) - constant
        trained = (offset - constant) / (curvature + slope)
        square = torch.tensor(reported or precision) / count
        return LocalTraining({**start, "w": trained.float()}, {"w": count}, {"w": square})

    return train


def three_linear_clients():
    return [
        linear_client([4.0, 1.0], [8.0, 0.0]),
        linear_client([1.0, 2.0], [-1.0, 6.0]),
        linear_client([2.0, 8.0], [3.0, 4.0]),
    ]


def close(actual: torch.Tensor, expected, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(actual.double(), torch.as_tensor(expected).double(), rtol=tolerance, atol=tolerance)


def test_exact_curvature_gives_the_pooled_posterior_in_one_round():
    server, _ = federate(PVI(**EXACT, rate=1.0, prior_precision=0.5), {"w": torch.ones(2)}, three_linear_clients())
    close(server.broadcast()["precision/w"], [7.5, 11.5])  # 4 + 1 + 2 and the prior's, once
    close(server.weights()["w"], [10.5 / 7.5, 10.5 / 11.5])  # (8 - 1 + 3 + 0.5 * 1) / 7.5


def test_more_rounds_change_nothing_then():
    server, _ = federate(PVI(**EXACT, rate=1.0, prior_precision=0.5), {"w": torch.ones(2)}, three_linear_clients(), 4)
    close(server.weights()["w"], [10.5 / 7.5, 10.5 / 11.5])
    close(server.broadcast()["precision/w"], [7.5, 11.5])


@pytest.mark.parametrize("reported", [[8.0, 8.0], [3.0, 9.0]], ids=["overconfident", "distorted"])
def test_wrong_precisions_reach_the_pooled_mean_over_rounds(reported):
    sites = [linear_client([4.0, 1.0], [8.0, 0.0], reported), linear_client([1.0, 2.0], [-1.0, 6.0], reported)]
    strategy = PVI(**EXACT, rate=0.5, prior_precision=0.5)
    server, _ = federate(strategy, {"w": torch.ones(2)}, sites, 80)
    close(server.weights()["w"], [7.5 / 5.5, 6.5 / 3.5], 1e-4)


@pytest.mark.parametrize(("rate", "num_rounds"), [(None, 250), (0.5, 70)], ids=["share", "half"])
@pytest.mark.parametrize(
    "settings",
    [
        EXACT,
        {"isotropic": 0.3, "curvature": 0.0},
        {"isotropic": 0.03, "curvature": 2.0},
        {"isotropic": 0.01, "curvature": 1.0, "power": 0.5},
    ],
    ids=["diagonal of the Hessian", "isotropic", "mixed", "root"],
)
def test_logistic_sites_reach_the_pooled_optimum(settings, rate, num_rounds):
    sites = logistic_clients()
    strategy = PVI(**settings, prior_precision=0.5, rate=rate)
    server, _ = federate(strategy, {"w": torch.zeros(3)}, sites, num_rounds)
    close(server.weights()["w"], pooled_optimum(sites, 0.5), 2e-5)  # messages are float32


def test_coded_precision_reaches_it_too():
    sites = logistic_clients()
    strategy = PVI(isotropic=0.03, curvature=2.0, prior_precision=0.5, rate=0.5, coded_precision=True)
    server, _ = federate(strategy, {"w": torch.zeros(3)}, sites, 70)
    close(server.weights()["w"], pooled_optimum(sites, 0.5), 2e-5)


def test_without_memory_isotropic_is_federated_averaging_bit_for_bit():
    sites = [random_client(seed) for seed in range(3)]
    strategy = PVI(isotropic=1.0, curvature=0.0, memory=False)
    reached, expected = (federate(each, three_tensors(), sites, 3)[0].weights() for each in (strategy, FedAvg()))
    assert all(torch.equal(reached[name], expected[name]) for name in expected)


def test_the_prior_is_not_multiplied_by_the_sites():
    for num_sites in (1, 4):
        sites = [linear_client([1.0], [0.0])] * num_sites
        server, _ = federate(PVI(**EXACT, rate=1.0, prior_precision=0.5), {"w": torch.zeros(1)}, sites)
        close(server.broadcast()["precision/w"], [num_sites + 0.5])


def test_an_untrained_task_keeps_weights_and_prior_precision_bit_for_bit():
    start = three_tensors()
    server, _ = federate(PVI(prior_precision=0.05), start, [random_client(0), random_client(1)], 3)
    assert torch.equal(server.weights()["opacity"], start["opacity"])
    assert torch.equal(server.broadcast()["precision/opacity"], torch.full((3, 2), 0.05))
    assert (server.broadcast()["precision/lung"] > 0.05).all()


def test_a_round_without_messages_changes_nothing():
    server, _ = federate(PVI(), three_tensors(), [random_client(0)], 2)
    before = server.broadcast()
    server.close_round()
    assert all(torch.equal(value, before[name]) for name, value in server.broadcast().items())


def test_an_absent_sites_factor_persists():
    sites = three_linear_clients()
    server, rules = federate(PVI(**EXACT, rate=1.0, prior_precision=0.5), {"w": torch.ones(2)}, sites)
    play(server, rules[1:], sites[1:])
    close(server.weights()["w"], [10.5 / 7.5, 10.5 / 11.5])


def test_a_site_that_withdraws_leaves_what_would_have_been_without_it():
    strategy = PVI(**EXACT, rate=1.0, prior_precision=0.5)
    server, rules = federate(strategy, {"w": torch.ones(2)}, three_linear_clients(), 2)
    server.add(rules[0].withdraw())
    server.close_round()
    without, _ = federate(strategy, {"w": torch.ones(2)}, three_linear_clients()[1:], 2)
    for name, value in without.broadcast().items():
        close(server.broadcast()[name], value)
    assert server.broadcast()["setting/damping"] == 1.0  # no alarm
    assert rules[0].own_factor({}) == {}
    assert rules[0].withdraw() == {}


def test_order_of_clients_never_matters():
    assert_any_order_is_the_same(PVI(), three_tensors(), [random_client(seed) for seed in range(3)])


def test_grouping_of_clients_never_matters_at_a_given_rate():
    strategy, sites = PVI(rate=0.5), [random_client(seed) for seed in range(4)]
    one, other = strategy.server(three_tensors()), strategy.server(three_tensors())
    broadcast = one.broadcast()
    rules = [strategy.client() for _ in sites]
    messages = [rule.send(site(rule, rule.receive(broadcast))) for rule, site in zip(rules, sites, strict=True)]
    for message in messages:
        one.add(message)
    for first, second in (messages[:2], messages[2:]):
        other.add({name: first[name].double() + second[name].double() for name in first})
    one.close_round()
    other.close_round()
    assert all(torch.equal(value, other.broadcast()[name]) for name, value in one.broadcast().items())


def test_it_resumes_after_restoring():
    assert_it_resumes_after_restoring(PVI(), three_tensors(), [random_client(seed) for seed in range(3)])


def test_a_round_that_is_restored_half_way_closes_alike():
    strategy, site = PVI(), random_client(0)
    server, rule = strategy.server(three_tensors()), strategy.client()
    server.add(rule.send(site(rule, rule.receive(server.broadcast()))))
    restored = strategy.server(three_tensors())
    restored.load_state_dict(server.state_dict())
    server.close_round()
    restored.close_round()
    assert all(torch.equal(value, restored.broadcast()[name]) for name, value in server.broadcast().items())


def test_the_site_and_the_server_hold_the_same_factors():
    server, rules = federate(PVI(prior_precision=0.05), three_tensors(), [random_client(0), random_client(1)], 30)
    own = [rule.own_factor({}) for rule in rules]
    for name in ("encoder", "lung"):
        total = sum(each[f"precision/{name}"].double() for each in own) + 0.05
        close(server.broadcast()[f"precision/{name}"], total)
        start = 0.05 * three_tensors()[name].double()
        mean = (sum(each[f"precision_mean/{name}"].double() for each in own) + start) / total
        close(server.weights()[name], mean)


def test_statistics_are_averaged_by_images_and_have_no_posterior():
    start = {"w": torch.zeros(1), "norm.running_mean": torch.zeros(1), "norm.num_batches_tracked": torch.tensor([0])}
    sites = [
        fixed({"w": 0.0, "norm.running_mean": 1.0, "norm.num_batches_tracked": 4}, count=10),
        fixed({"w": 0.0, "norm.running_mean": 5.0, "norm.num_batches_tracked": 8}, count=30),
    ]
    server, rules = federate(PVI(), start, sites, 2)
    assert server.weights()["norm.running_mean"].tolist() == [4.0]
    assert server.weights()["norm.num_batches_tracked"].tolist() == [7]
    assert set(pick(server.broadcast(), TensorKind.PRECISION)) == {"w"}
    server.add(rules[0].withdraw())
    server.close_round()
    assert server.weights()["norm.running_mean"].tolist() == [5.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"isotropic": 0.0, "curvature": 0.0}, "one of them above 0"),
        ({"average": 1.0}, "average expects a share"),
        ({"power": 0.0}, "power expects a number above 0"),
        ({"rate": 0.0}, "rate expects a share above 0"),
        ({"prior_precision": 0.0}, "prior_precision expects a number above 0"),
        ({"between": 1.5}, "between expects a share"),
        ({"within": -1.0}, "within expects a variance"),
        ({"noise_steps": 2.0}, "noise_steps expects a share"),
        ({"memory": False, "rate": 0.5, "between": 1.0}, "got between, rate; leave them out"),
    ],
)
def test_settings_that_make_no_posterior_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        PVI(**settings)


def test_squared_gradients_are_asked_for_where_they_count():
    assert PVI(curvature=1.0).client().needs_squared_gradient
    assert not PVI(curvature=0.0).client().needs_squared_gradient
