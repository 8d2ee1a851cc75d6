"""Sites whose training is one line, for engines: a strategy's client that goes halfway to its own target."""

from __future__ import annotations

import torch

from mtmedformer_monai.federated.aggregator import Aggregator
from mtmedformer_monai.federated.exchange import IMAGES_BY_TASK, ROUND, round_of, to_exchange, to_message
from mtmedformer_monai.federated.server_session import ServerSession
from mtmedformer_monai.federated.strategies import make_strategy
from mtmedformer_monai.federated.strategy import LocalTraining

NUM_ROUNDS = 6


class ScriptedSite:
    """Keeps the means that it has received for training."""

    def __init__(self, tasks, target):
        self.counts, self.target = dict.fromkeys(tasks, 100), torch.tensor(target)
        self.rule = make_strategy("bayesian", num_rounds=NUM_ROUNDS).client()
        self.received = []

    def measure(self, broadcast):
        losses = {f"loss_{kind}/{task}": torch.tensor(1.0) for task in self.counts for kind in ("sum", "count")}
        return to_exchange(losses, {IMAGES_BY_TASK: self.counts})

    def train(self, broadcast):
        start = self.rule.receive(to_message(broadcast))["w"]
        self.received.append(to_message(broadcast)["mean/w"].clone())
        trained = {"w": start + 0.5 * (self.target - start)}
        self.rule.after_step(trained, 1, 1)
        training = LocalTraining(trained, {"w": 100}, images_by_task=self.counts, relative_loss=0.5)
        return to_exchange(self.rule.send(training), {ROUND: round_of(broadcast), IMAGES_BY_TASK: self.counts})


def two_groups():
    """Returns two sites with different tasks, whose groups part, and a later one with a task of the first."""
    first, second = ScriptedSite(["boxes", "masks"], [1.0, 0.0]), ScriptedSite(["classes"], [0.0, 2.0])
    return {"a": first, "b": second}, ScriptedSite(["masks"], [1.0, 0.0])


def open_session(folder, distillation_rounds=0):
    strategy = make_strategy("bayesian", num_rounds=NUM_ROUNDS, distillation_rounds=distillation_rounds)
    return ServerSession(Aggregator(strategy, {"w": torch.zeros(2)}), folder, {})


def assert_started_from_its_group(session, sites, late):
    """Asserts that a late site's first mean was its group's, which is not the global one, and no scale has changed."""
    assert torch.equal(late.received[0], sites["a"].received[-len(late.received)])
    assert not torch.allclose(late.received[0], sites["b"].received[-len(late.received)], atol=0.1)
    scales = session.aggregator.state_dict()["scales"]
    assert float(scales["loss_count/masks"]) == 1.0
