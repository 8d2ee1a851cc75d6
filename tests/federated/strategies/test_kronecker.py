from __future__ import annotations

import itertools

import pytest
import torch

from mtmedformer_monai.federated.alignment.permutation import permute, random_permutation
from mtmedformer_monai.federated.client.local_training import LocalTrainingHandler
from mtmedformer_monai.federated.client.own_weights import groups_of, join_with_own_weights
from mtmedformer_monai.federated.client.ownership import own
from mtmedformer_monai.federated.strategies import Compressed, FedAvg, KeepLocal, KroneckerMerging
from mtmedformer_monai.federated.strategy import LocalTraining
from tests.federated.client.test_own_weights import make_perceptron_trainer

EXACT = {"shrinkage": 0.0, "ridge": 0.0}


class Regression:
    """A client with a linear layer of 3 inputs and 2 outputs, trained to its least-squares solution."""

    def __init__(self, seed: int, size: int = 12) -> None:
        generator = torch.Generator().manual_seed(seed)
        scale = 0.2 + torch.rand(3, generator=generator, dtype=torch.float64)
        inputs = torch.randn(size, 3, generator=generator, dtype=torch.float64) * scale + seed
        self.inputs = torch.cat([inputs, torch.ones(size, 1, dtype=torch.float64)], dim=1)
        self.targets = torch.randn(size, 2, generator=generator, dtype=torch.float64) + self.inputs[:, :2]

    def __call__(self, rule, start) -> LocalTraining:
        rule.receive({f"mean/{name}": value for name, value in start.items()})
        solution = torch.linalg.lstsq(self.inputs, self.targets).solution.T
        weights = {"layer.weight": solution[:, :3], "layer.bias": solution[:, 3]}
        counts, gram = dict.fromkeys(weights, len(self.inputs)), self.inputs.T @ self.inputs / len(self.inputs)
        return LocalTraining({**start, **weights}, counts, input_gram={"layer.weight": gram})


def start_weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    shapes = {"layer.weight": (2, 3), "layer.bias": (2,), "norm.weight": (3,)}
    return {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}


def one_round(strategy, sites, start=None):
    server = strategy.server(start or start_weights())
    for site in sites:
        rule = strategy.client()
        server.add(rule.send(site(rule, rule.receive(server.broadcast()))))
    server.close_round()
    return server


def test_rows_of_classes_that_a_client_does_not_know_carry_no_weight():
    """Of 20 and 60 images, each with inputs of unit Gram matrix; the larger client's second row is no evidence."""
    server = KroneckerMerging(**EXACT).server({"layer.weight": torch.zeros(2, 2)})
    for value, count, unknown in ((4.0, 20, {}), (0.0, 60, {"layer.weight": torch.tensor([False, True])})):
        rule = KroneckerMerging(**EXACT).client()
        rule.receive(server.broadcast())
        trained, gram = {"layer.weight": torch.full((2, 2), value)}, {"layer.weight": torch.eye(2)}
        server.add(rule.send(LocalTraining(trained, {"layer.weight": count}, input_gram=gram, unlearned=unknown)))
    server.close_round()
    torch.testing.assert_close(server.weights()["layer.weight"], torch.tensor([[1.0, 1.0], [4.0, 4.0]]))


def pooled(sites) -> torch.Tensor:
    inputs, targets = torch.cat([s.inputs for s in sites]), torch.cat([s.targets for s in sites])
    return torch.linalg.lstsq(inputs, targets).solution.T


def solution_of(server) -> torch.Tensor:
    weights = server.weights()
    return torch.cat([weights["layer.weight"], weights["layer.bias"][:, None]], dim=1)


SITES = [Regression(0, 8), Regression(1, 20), Regression(2, 40)]


def test_regression_at_several_sites_is_the_pooled_least_squares_solution():
    """Messages are float32, and the condition number of the pooled inputs is about 1e3."""
    torch.testing.assert_close(
        solution_of(one_round(KroneckerMerging(**EXACT), SITES)), pooled(SITES), rtol=0, atol=1e-3
    )
    plain = solution_of(one_round(FedAvg(), SITES))
    assert float((plain - pooled(SITES)).abs().max()) > 0.1


def test_the_small_ridge_and_shrinkage_stay_near_it():
    near = (solution_of(one_round(KroneckerMerging(), SITES)) - pooled(SITES)).norm()
    plain = (solution_of(one_round(FedAvg(), SITES)) - pooled(SITES)).norm()
    assert float(near) < float(plain)


@pytest.mark.parametrize("settings", [{}, EXACT], ids=["defaults", "exact"])
def test_matrices_proportional_to_the_identity_give_federated_averaging(settings):
    def isotropic(site):
        def train(rule, start):
            found = site(rule, start)
            return LocalTraining(found.weights, found.num_samples, input_gram={"layer.weight": 3.0 * torch.eye(4)})

        return train

    sites = [isotropic(site) for site in SITES]
    merged, plain = one_round(KroneckerMerging(**settings), sites), one_round(FedAvg(), SITES)
    torch.testing.assert_close(merged.weights(), plain.weights(), rtol=1e-5, atol=1e-6)


def test_one_client_alone_gets_its_own_weights_back():
    server = one_round(KroneckerMerging(), SITES[:1])
    torch.testing.assert_close(solution_of(server), pooled(SITES[:1]), rtol=1e-4, atol=1e-4)


def test_the_order_of_clients_never_matters():
    """Sums in float64 of terms in float32 are exact for terms of similar size."""
    expected = one_round(KroneckerMerging(), SITES).weights()
    for order in itertools.permutations(SITES):
        found = one_round(KroneckerMerging(), order).weights()
        assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_weights_that_nobody_trained_stay_bit_for_bit():
    server = one_round(KroneckerMerging(), SITES)
    assert torch.equal(server.weights()["norm.weight"], start_weights()["norm.weight"])
    before = server.weights()
    server.close_round()
    assert all(torch.equal(server.weights()[name], value) for name, value in before.items())


def test_a_client_may_join_in_a_later_round():
    """Its change is relative to the broadcast that it joins, so the merge does not depend on the earlier rounds."""
    strategy = KroneckerMerging(**EXACT)
    server = one_round(strategy, SITES[:2])
    for site in SITES:
        rule = strategy.client()
        server.add(rule.send(site(rule, rule.receive(server.broadcast()))))
    server.close_round()
    torch.testing.assert_close(solution_of(server), pooled(SITES), rtol=0, atol=1e-3)


def test_a_server_resumes_in_the_middle_of_a_round():
    strategy = KroneckerMerging()
    expected, first, second = (
        one_round(strategy, SITES),
        strategy.server(start_weights()),
        strategy.server(start_weights()),
    )
    for index, site in enumerate(SITES):
        rule, server = strategy.client(), second if index else first
        server.add(rule.send(site(rule, rule.receive(server.broadcast()))))
        if not index:
            second.load_state_dict(first.state_dict())
    second.close_round()
    assert all(torch.equal(second.weights()[name], value) for name, value in expected.weights().items())


def test_clients_without_a_matrix_count_as_if_they_had_the_mean_of_the_others():
    """With the same matrix at all clients, the merge is the plain mean by images, whoever sends a matrix."""
    gram = Regression(3, 30)(KroneckerMerging().client(), start_weights()).input_gram

    def train(value, count, sends):
        def client(rule, start):
            weights = {"layer.weight": torch.full((2, 3), value), "layer.bias": torch.full((2,), -value)}
            return LocalTraining(weights, dict.fromkeys(weights, count), input_gram=gram if sends else {})

        return client

    start = {name: value.float() for name, value in start_weights().items()}
    sites = [train(1.0, 10, True), train(3.0, 10, True), train(9.0, 20, False)]
    weights = one_round(KroneckerMerging(), sites, start).weights()
    torch.testing.assert_close(weights["layer.weight"], torch.full((2, 3), 5.5))
    torch.testing.assert_close(weights["layer.bias"], torch.full((2,), -5.5))


def test_a_client_whose_bias_is_not_trained_sends_plain_means():
    """Its change of the bias is 0, so the bias of the other client is halved with the same matrix."""
    gram = {"layer.weight": torch.eye(4)}

    def whole(rule, start):
        weights = {"layer.weight": torch.ones(2, 3), "layer.bias": torch.ones(2)}
        return LocalTraining(weights, dict.fromkeys(weights, 10), input_gram=gram)

    def frozen(rule, start):
        return LocalTraining({**start, "layer.weight": 3.0 * torch.ones(2, 3)}, {"layer.weight": 10}, input_gram=gram)

    start = {"layer.weight": torch.zeros(2, 3), "layer.bias": torch.zeros(2)}
    weights = one_round(KroneckerMerging(), [whole, frozen], start).weights()
    torch.testing.assert_close(weights["layer.weight"], torch.full((2, 3), 2.0))
    torch.testing.assert_close(weights["layer.bias"], torch.full((2,), 0.5))


@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
def test_it_can_be_compressed_and_layers_kept_local(half):
    plain = one_round(KroneckerMerging(), SITES)
    compressed = one_round(Compressed(KroneckerMerging(), half), SITES)
    torch.testing.assert_close(compressed.weights(), plain.weights())
    strategy = KeepLocal(KroneckerMerging(), ["layer.*"])
    assert strategy.client().needs_input_gram == KroneckerMerging().client().needs_input_gram
    kept = one_round(strategy, SITES)
    assert all(torch.equal(kept.weights()[name], value) for name, value in start_weights().items())


def test_a_permuted_copy_that_joins_sends_the_same_message(tmp_path):
    """Units are aligned before training, so weights, changes and matrices need no permutation."""
    messages, reference = [], make_perceptron_trainer().network.state_dict()
    own_weights = {name: value + 0.01 * torch.randn_like(value) for name, value in reference.items()}
    groups = groups_of(make_perceptron_trainer().network)
    order = random_permutation(groups, torch.Generator().manual_seed(0))
    for index, weights in enumerate((own_weights, permute(own_weights, groups, order))):
        torch.save(weights, tmp_path / f"{index}.pt")
        trainer, rule = make_perceptron_trainer(), KroneckerMerging().client()
        training = LocalTrainingHandler(rule, own(trainer))
        training.attach(trainer)
        rule.receive({f"mean/{name}": value for name, value in reference.items()})
        join_with_own_weights(tmp_path / f"{index}.pt", trainer, trainer.network, reference, {})
        trainer.run()
        messages.append(rule.send(training.finish()))
    assert {name.partition("/")[0] for name in messages[0]} == {"gram", "gram_mean", "change", "count"}
    torch.testing.assert_close(messages[1], messages[0], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_inputs": -1}, "max_inputs expects 0 or more, got -1"),
        ({"max_images": 0}, "max_images 1 or more, got 0"),
        ({"shrinkage": 1.5}, "shrinkage expects a share from 0 to 1, got 1.5"),
        ({"ridge": -0.1}, "ridge expects 0 or more, got -0.1"),
    ],
)
def test_settings_out_of_range_are_rejected(settings, message):
    with pytest.raises(ValueError, match=message):
        KroneckerMerging(**settings)
