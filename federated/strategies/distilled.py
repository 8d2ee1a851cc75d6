"""Rounds after a federation's own, in which the posteriors of groups of clients teach one network for all tasks.

A strategy that keeps a network per group of clients with nested tasks serves every task best by its owners, but it is
not one network. In `distillation_rounds` further rounds, all clients therefore train one shared network, by federated
averaging, on their own labels and, where an image lacks a label, on what the groups' networks say. These are the
outputs of a group's posterior mean on each augmented image (knowledge distillation: Hinton et al., arXiv 1503.02531);
or labels that are completed at the start of a round, which are accepted if two draws of the weights agree on them
(`federated/client/completion.py`). A weak teacher's boxes are hardly ever accepted as labels, while its outputs still
say where they may be. The learning rate has a schedule of its own in each of these rounds
(`federated/client/extra_rate.py`).

The server freezes the wrapped strategy's posterior when the phase starts, and broadcasts the groups' networks with the
shared one: two tensors per parameter and group. Without groups, the global posterior teaches every task. Clients go on
inferring with networks of their own: `DistilledClient.served` reads their group's posterior from the broadcast.

Stock `MonaiAlgo` clients take no part in the phase: they know no teachers.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor

from mtmedformer_monai.federated.message import Message, TensorKind, Weights, key, pick, without
from mtmedformer_monai.federated.strategy import ClientRule, LocalTraining, ServerRule, Strategy
from mtmedformer_monai.federated.teaching import (
    EVERY_TASK,
    GROUP_MEAN,
    GROUP_PRECISION,
    Distillation,
    Teaching,
    teachers_of_groups,
)
from mtmedformer_monai.layers.permutation_groups import PermutationGroups

from .fedavg import AveragingClient, AveragingServer
from .wrapped import WrappedClient, WrappedServer, WrappedStrategy

_logger = logging.getLogger("mtmedformer")

DISTILLS: Final = key(TensorKind.SETTING, "distills")
"""Broadcast: present in rounds of the phase."""

SERVED: Final = "served_"
"""Prefix in a client's broadcast in the phase: what the wrapped strategy broadcasts to it, but for the means."""

OWN_GROUP: Final = "own_group"
"""Kind of a number in such a broadcast, named by the client's group, whose teacher has the means."""

OUTPUTS: Final = Distillation({})
"""Teaching by default, without teachers."""


class Distilled(WrappedStrategy):
    """Wraps a strategy; further rounds distill its networks into one.

    Args:
        strategy: of the rounds before.
        num_rounds: of the rounds before, 1 or more.
        distillation_rounds: of the phase, 1 or more.
        teaching: of the phase, without teachers.
        temperature: of the posteriors from which checks are drawn; `uncertainty/temperature.py` fits it.
        if_parted: whether the phase is left out if there is nothing to distill: a single group, or clients that have
            not told their tasks, such as stock ones.

    Raises:
        ValueError: a number of rounds below 1.
    """

    def __init__(
        self,
        strategy: Strategy,
        num_rounds: int,
        distillation_rounds: int,
        teaching: Teaching = OUTPUTS,
        temperature: float = 1.0,
        if_parted: bool = False,
    ) -> None:
        if num_rounds < 1 or distillation_rounds < 1:
            raise ValueError(
                f"num_rounds and distillation_rounds expect 1 or more, got {num_rounds} and {distillation_rounds}; the "
                "teachers have to be trained first."
            )
        super().__init__(strategy)
        self._before, self._phase, self._if_parted = num_rounds, distillation_rounds, if_parted
        self._teaching, self._temperature = teaching, temperature

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """Returns a client of the wrapped strategy that averages in the phase."""
        return DistilledClient(self._strategy.client(groups), self._teaching, self._temperature)

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """Returns a server of the wrapped strategy that averages in the phase."""
        return DistilledServer(self._strategy.server(weights), self._before, self._phase, self._if_parted)


class DistilledClient(WrappedClient):
    """The wrapped strategy's client; in the phase, federated averaging with teachers.

    The phase is known from each broadcast, so that the state is the wrapped client's.

    Args:
        rule: client of the wrapped strategy.
        teaching: of the phase, without teachers.
        temperature: of the posteriors.
    """

    def __init__(self, rule: ClientRule, teaching: Teaching, temperature: float) -> None:
        super().__init__(rule)
        self.sends_weights_alone = rule.sends_weights_alone
        self._without_teachers, self._temperature = teaching, temperature
        self._averaging: ClientRule | None = None
        self._teaching: Teaching | None = None

    def receive(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """Returns the weights from which training starts, and keeps the teachers of the round."""
        if not is_distilled(broadcast):
            self._averaging = self._teaching = None  # after a return to an earlier state
            return self._rule.receive(broadcast)
        self._teaching = replace(self._without_teachers, teachers=teachers_of_groups(broadcast, self._temperature))
        self._averaging = AveragingClient()
        return self._averaging.receive(broadcast)

    @property
    def is_extra(self) -> bool:
        """Whether this round belongs to the phase."""
        return self._averaging is not None

    def served(self, broadcast: Mapping[str, Tensor]) -> Message:
        """Returns the strategy's broadcast; in the phase, the one that its group had before it.

        A client whose tasks belong to no group is served by the shared network.
        """
        if not is_distilled(broadcast):
            return self._rule.served(broadcast)
        group = next(iter(pick(broadcast, OWN_GROUP)), None)
        if group is None:
            return dict(broadcast)
        means = pick(broadcast, f"{GROUP_MEAN}{group}")
        others = {name.removeprefix(SERVED): value for name, value in broadcast.items() if name.startswith(SERVED)}
        return self._rule.served({key(TensorKind.MEAN, name): value for name, value in means.items()} | others)

    def inference_weights(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """Returns the strategy's weights; of the shared network, the broadcast ones."""
        return pick(broadcast, TensorKind.MEAN) if is_distilled(broadcast) else self._rule.inference_weights(broadcast)

    def teaching(self) -> Teaching | None:
        """Returns how the groups' networks teach in the phase."""
        return self._rule.teaching() if self._averaging is None else self._teaching

    def correct(self, name: str, weight: Tensor, gradient: Tensor, num_samples: int) -> Tensor:
        """Delegates to the wrapped strategy; in the phase, gradients are unchanged."""
        return gradient if self._averaging else self._rule.correct(name, weight, gradient, num_samples)

    def after_step(self, weights: Mapping[str, Tensor], step: int, num_steps: int) -> None:
        """Delegates to the wrapped strategy before the phase."""
        if self._averaging is None:
            self._rule.after_step(weights, step, num_steps)

    def send(self, training: LocalTraining) -> Message:
        """Returns the strategy's message; in the phase, terms of the average."""
        return (self._averaging or self._rule).send(training)

    def own_factor(self, broadcast: Mapping[str, Tensor]) -> Message:
        """Returns the strategy's factor; empty for the shared network, which has no posterior."""
        return {} if is_distilled(broadcast) else self._rule.own_factor(broadcast)

    def withdraw(self) -> Message:
        """Returns the strategy's message; empty in the phase, in which the teachers are frozen."""
        return {} if self._averaging else self._rule.withdraw()


class DistilledServer(WrappedServer):
    """The wrapped strategy's server; in the phase, it averages and broadcasts the frozen teachers.

    Args:
        rule: server of the wrapped strategy.
        rounds: number of rounds before the phase.
        extra_rounds: number of rounds of the phase.
        if_parted: whether the phase is left out if there are no groups that have parted.
    """

    def __init__(self, rule: ServerRule, rounds: int, extra_rounds: int, if_parted: bool) -> None:
        super().__init__(rule)
        self._rounds, self._extra_rounds, self._closed = rounds, extra_rounds, 0
        self._if_parted = if_parted
        self._averaging: AveragingServer | None = None
        self._answered = False
        self._teachers: Message = {}

    def extra_rounds(self) -> int:
        """Returns the number of rounds of the phase, once it has started."""
        return self._extra_rounds if self._averaging is not None else 0

    def add(self, message: Mapping[str, Tensor]) -> None:
        """Adds a client's message."""
        (self._averaging or self._rule).add(message)
        self._answered |= bool(message)

    def averages(self) -> bool:
        """Returns whether the phase has started."""
        return self._averaging is not None

    def close_round(self) -> None:
        """Computes the next weights; freezes the teachers before the first round of the phase.

        A phase in whose first round no client sends anything ends at once, and leaves the strategy's own networks.
        """
        (self._averaging or self._rule).close_round()
        self._closed += 1
        if self._averaging is not None and not self._answered:
            _logger.warning("No site has taken part in the distillation, so there is no network for all tasks.")
            self._averaging, self._teachers = None, {}
        if self._closed == self._rounds and (not self._if_parted or self._has_parted()):
            self._start()

    def broadcast(self) -> Message:
        """Returns the strategy's broadcast; in the phase, the shared weights and the teachers."""
        if self._averaging is None:
            return self._rule.broadcast()
        return {**self._averaging.broadcast(), **self._teachers, DISTILLS: torch.ones(())}

    def broadcast_for(self, tasks: Collection[str]) -> Message:
        """Returns the strategy's broadcast for a group; in the phase, also what `DistilledClient.served` needs."""
        if self._averaging is None:
            return self._rule.broadcast_for(tasks)
        group = self.group_of(tasks)
        if not any(name.startswith(f"{GROUP_MEAN}{group}/") for name in self._teachers):
            return self.broadcast()
        before = without(self._rule.broadcast_for(tasks), TensorKind.MEAN)
        served = {f"{SERVED}{name}": value for name, value in before.items()}
        return {**self.broadcast(), **served, key(OWN_GROUP, group): torch.ones(())}

    def group_networks(self) -> dict[str, tuple[Weights, Weights]]:
        """Returns the strategy's networks of groups; in the phase, those that teach."""
        return self._rule.group_networks()

    def state_dict(self) -> dict[str, Any]:
        """Returns the states of both servers, and the number of rounds."""
        averaging = self._averaging.state_dict() if self._averaging else {}
        own = {"closed": self._closed, "answered": self._answered}
        return {**own, "rule": self._rule.state_dict(), "averaging": averaging}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state; the wrapped strategy's did not change since the phase started."""
        self._rule.load_state_dict(state["rule"])
        self._closed, self._averaging, self._teachers = int(state["closed"]), None, {}
        if state["averaging"] and self._closed >= self._rounds:  # else the federation goes on with more rounds
            self._start()
            self._averaging.load_state_dict(state["averaging"])  # type: ignore[attr-defined]
        self._answered = bool(state["answered"])

    def _has_parted(self) -> bool:
        """Returns whether there are several networks, of groups whose tasks are known."""
        networks = {group: weights for group, (weights, _) in self._rule.group_networks().items()}
        return "" not in networks and have_parted(list(networks.values()))

    def _start(self) -> None:
        teachers = frozen_teachers(self._rule)
        self._averaging, self._answered = AveragingServer(first_weights(self._rule)), False
        self._teachers = teachers


def frozen_teachers(rule: ServerRule) -> Message:
    """Returns a strategy's teachers as tensors that `teachers_of_groups` reads.

    These are the networks of its groups, named `group_mean@<tasks>/<parameter>` and
    `group_precision@<tasks>/<parameter>`; without groups, its global mean, which teaches every task. The network of
    clients that have not told their tasks teaches every task, too.
    """
    networks = rule.group_networks() or {EVERY_TASK: (rule.weights(), {})}
    return {
        f"{kind}{group or EVERY_TASK}/{name}": value.clone()
        for group, network in networks.items()
        for kind, values in zip((GROUP_MEAN, GROUP_PRECISION), network, strict=True)
        for name, value in values.items()
    }


def have_parted(networks: Sequence[Weights]) -> bool:
    """Returns whether the weights of groups differ; those of a single group, or of none, do not."""
    return any(not torch.equal(value, networks[0][name]) for each in networks[1:] for name, value in each.items())


def is_distilled(broadcast: Mapping[str, Tensor]) -> bool:
    """Returns whether a broadcast's weights are those of the one network that the groups teach."""
    return DISTILLS in broadcast


def first_weights(rule: ServerRule) -> Weights:
    """Returns the weights from which the shared network starts.

    The groups' networks may lie too far apart to be averaged. The shared network therefore starts from the network of
    the group with the most tasks (of several, the one with the most evidence); tensors that other groups train alone,
    their decoders, are taken from these.
    """
    networks = rule.group_networks()
    shared = rule.weights()
    if len(networks) < 2:
        return shared

    def rank(group: str) -> tuple[int, float]:
        precision = networks[group][1]
        return group.count("+"), sum(float(value.mean()) for value in precision.values())

    chosen = max(sorted(networks), key=rank)
    return {**shared, **networks[chosen][0]}
