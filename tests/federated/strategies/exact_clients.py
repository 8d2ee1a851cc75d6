"""Clients whose local training is exact, to test any strategy by its interface."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import torch

from mtmedformer_monai.federated.strategy import ClientRule, LocalTraining, Strategy

Train = Callable[[ClientRule, dict[str, torch.Tensor]], LocalTraining]
"""(the client's rule, the weights that it received) -> its trained weights."""


def fixed(weights: Mapping[str, float], count: int = 1, **more) -> Train:
    """A client that ends at given weights, whatever its start."""
    tensors = {name: torch.tensor([value]) for name, value in weights.items()}
    return lambda rule, start: LocalTraining({**start, **tensors}, dict.fromkeys(tensors, count), **more)


def federate(strategy: Strategy, start: Mapping[str, torch.Tensor], sites: Sequence[Train], num_rounds: int = 1):
    """Returns the server after some rounds, and the rules of the clients."""
    server, rules = strategy.server(start), [strategy.client() for _ in sites]
    for _ in range(num_rounds):
        play(server, rules, sites)
    return server, rules


def play(server, rules, sites) -> None:
    broadcast = server.broadcast()
    for rule, train in zip(rules, sites, strict=True):
        server.add(rule.send(train(rule, rule.receive(broadcast))))
    server.close_round()


def assert_any_order_is_the_same(strategy: Strategy, start, sites, num_rounds: int = 3) -> None:
    """Asserts that the order of clients does not change a bit over several rounds."""
    expected = federate(strategy, start, sites, num_rounds)[0].broadcast()
    for order in itertools.permutations(sites):
        reached = federate(strategy, start, order, num_rounds)[0].broadcast()
        assert all(torch.equal(reached[name], expected[name]) for name in expected)


def assert_it_resumes_after_restoring(strategy: Strategy, start, sites) -> None:
    """Asserts that a federation restored from state dicts continues bit for bit like the original."""
    server, rules = federate(strategy, start, sites, 2)
    restored, others = strategy.server(start), [strategy.client() for _ in sites]
    restored.load_state_dict(server.state_dict())
    for other, rule in zip(others, rules, strict=True):
        other.load_state_dict(rule.state_dict())
    play(server, rules, sites)
    play(restored, others, sites)
    assert all(torch.equal(restored.broadcast()[name], value) for name, value in server.broadcast().items())


def random_client(seed: int, names: Sequence[str] = ("encoder", "lung")) -> Train:
    """A client that takes a random, corrected step."""

    def train(rule: ClientRule, start):
        generator = torch.Generator().manual_seed(seed)
        count = 5 + seed
        weights = dict(start)
        for name in names:
            gradient = torch.randn(start[name].shape, generator=generator)
            weights[name] = start[name] - 0.1 * rule.correct(name, start[name], gradient, count)
        rule.after_step(weights, 1, 1)
        squares = {name: torch.rand(start[name].shape, generator=generator) for name in names}
        counts = dict.fromkeys(names, count)
        return LocalTraining(weights, counts, squares, num_steps=1, learning_rate=0.1)

    return train


def three_tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(99)
    return {name: torch.randn(3, 2, generator=generator) for name in ("encoder", "lung", "opacity")}


class Logistic:
    """A client with logistic data, trained to its optimum by Newton's method.

    inputs: (N, 3); labels: (N,).
    """

    def __init__(self, inputs: torch.Tensor, labels: torch.Tensor) -> None:
        self.inputs, self.labels = inputs, labels

    def gradient(self, weights: torch.Tensor) -> torch.Tensor:
        """Returns the gradient of the mean loss."""
        return self.inputs.T @ (torch.sigmoid(self.inputs @ weights) - self.labels) / len(self.labels)

    def curvature(self, weights: torch.Tensor) -> torch.Tensor:
        chance = torch.sigmoid(self.inputs @ weights)
        return (self.inputs * (chance * (1 - chance))[:, None]).T @ self.inputs / len(self.labels)

    def __call__(self, rule: ClientRule, start) -> LocalTraining:
        count, weights = len(self.labels), start["w"].double()
        flat, ones = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
        slope = rule.correct("w", ones, flat, count) - rule.correct("w", flat, flat, count)  # the correction is affine
        for _ in range(3):  # Newton steps; each round adds more
            corrected = rule.correct("w", weights, self.gradient(weights), count)
            weights = weights - torch.linalg.solve(self.curvature(weights) + slope.diag(), corrected)
        square = self.curvature(weights).diagonal().float()
        return LocalTraining({"w": weights.float()}, {"w": count}, {"w": square})


def logistic_clients(seed: int = 0) -> list[Logistic]:
    """Returns three heterogeneous clients."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.tensor([1.5, -1.0, 0.3], dtype=torch.float64)
    sites = []
    for index, size in enumerate((40, 15, 80)):
        inputs = torch.randn(size, 3, generator=generator, dtype=torch.float64) * (1 + index) * 0.7
        inputs[:, 0] += index - 1  # each client has a different range of inputs
        chance = torch.sigmoid(inputs @ truth)
        labels = (torch.rand(size, generator=generator, dtype=torch.float64) < chance).double()
        sites.append(Logistic(inputs, labels))
    return sites


def pooled_optimum(sites: Sequence[Logistic], prior_precision: float = 0.0) -> torch.Tensor:
    """Returns the optimum of the summed loss with a prior around 0."""
    pooled = Logistic(torch.cat([site.inputs for site in sites]), torch.cat([site.labels for site in sites]))
    count, weights = len(pooled.labels), torch.zeros(3, dtype=torch.float64)
    for _ in range(12):
        gradient = count * pooled.gradient(weights) + prior_precision * weights
        weights = weights - torch.linalg.solve(
            count * pooled.curvature(weights) + prior_precision * torch.eye(3, dtype=torch.float64), gradient
        )
    return weights
