import pytest
import torch

from mtmedformer_monai.federated.pvi import PVI
from mtmedformer_monai.federated.strategies import FedAvg, FedProx, KeepLocal
from tests.federated.strategies.exact_clients import (
    assert_it_resumes_after_restoring,
    federate,
    fixed,
    random_client,
    three_tensors,
)

START = {"encoder.w": torch.zeros(1), "decoders.lung.w": torch.zeros(1)}


def two_clients():
    return [
        fixed({"encoder.w": 1.0, "decoders.lung.w": 10.0}),
        fixed({"encoder.w": 3.0, "decoders.lung.w": 20.0}),
    ]


def test_a_head_stays_and_the_rest_is_averaged():
    server, rules = federate(KeepLocal(FedAvg(), ["decoders.lung.*"]), START, two_clients())
    assert server.weights() == {"encoder.w": torch.tensor([2.0]), "decoders.lung.w": torch.tensor([0.0])}
    received = [rule.receive(server.broadcast()) for rule in rules]
    assert [each["encoder.w"].item() for each in received] == [2.0, 2.0]
    assert [each["decoders.lung.w"].item() for each in received] == [10.0, 20.0]


def test_nothing_of_what_is_kept_is_sent():
    rule = KeepLocal(FedAvg(), ["decoders.*"]).client()
    start = rule.receive({f"mean/{name}": value for name, value in START.items()})
    assert set(rule.send(two_clients()[0](rule, start))) == {"precision_mean/encoder.w", "precision/encoder.w"}


def test_the_rest_is_corrected_by_the_strategy_and_what_is_kept_is_not():
    rule = KeepLocal(FedProx(proximal=1.0), ["decoders.*"]).client()
    rule.receive({f"mean/{name}": value for name, value in START.items()})
    five, none = torch.tensor([5.0]), torch.tensor([0.0])
    assert rule.correct("encoder.w", five, none, 1).item() == 5.0
    assert rule.correct("decoders.lung.w", five, none, 1).item() == 0.0


def test_values_that_are_not_finite_are_not_kept():
    rule = KeepLocal(PVI(prior_precision=0.001), ["decoders.*"]).client()
    broadcast = PVI().server(START).broadcast()
    for value in (10.0, float("nan")):
        rule.send(fixed({"encoder.w": 1.0, "decoders.lung.w": value})(rule, rule.receive(broadcast)))
    assert rule.receive(broadcast)["decoders.lung.w"].item() == 10.0


def test_a_site_of_the_strategy_withdraws_through_it():
    server, rules = federate(KeepLocal(PVI(prior_precision=0.001), ["decoders.*"]), START, two_clients(), 2)
    assert set(rules[0].own_factor({})) == {"precision_mean/encoder.w", "precision/encoder.w"}
    for rule in rules:
        server.add(rule.withdraw())
    server.close_round()
    torch.testing.assert_close(server.weights(), START, rtol=0, atol=1e-6)


def test_it_resumes_after_restoring():
    strategy = KeepLocal(PVI(), ["lung"])
    assert_it_resumes_after_restoring(strategy, three_tensors(), [random_client(seed) for seed in range(3)])


@pytest.mark.parametrize("patterns", ["decoders.*", []], ids=["a string", "none"])
def test_patterns_are_a_list(patterns):
    with pytest.raises(ValueError, match="patterns expects a list of names or patterns"):
        KeepLocal(FedAvg(), patterns)
