"""Personal parts: parameters that stay at their site, whatever the strategy does with the rest.

Local heads and representations as in FedPer (Arivazhagan et al., arXiv 1912.00818) and FedRep (Collins et al., ICML
2021); local norms are FedBN (`fedbn.py`); all of it is a site on its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor

from mtmedformer_monai.federated.strategy import ClientRule, LocalTraining, Message, ServerRule, Strategy, Weights
from mtmedformer_monai.layers.permutation_groups import PermutationGroups


class KeepLocal(Strategy):
    """A strategy whose sites keep some parameters and buffers for themselves.

    Args:
        strategy: of the rest.
        patterns: of names, as of a shell: "decoders.lung.*", "*norm*"; plain names match themselves.
    """

    def __init__(self, strategy: Strategy, patterns: Sequence[str]) -> None:
        if isinstance(patterns, str) or not patterns:
            raise ValueError(f"patterns expects a list of names or patterns, got {patterns!r}.")
        self._strategy, self._patterns = strategy, tuple(patterns)
        self.sends_changes = strategy.sends_changes

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """A site that keeps its own."""
        return KeepingClient(self._strategy.client(groups), self._patterns)

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """The strategy's own server, which hears nothing of what sites keep."""
        return self._strategy.server(weights)


class KeepingClient(ClientRule):
    """Starts each round from its own values of what it keeps, and doesn't send them.

    Args:
        rule: of the rest.
        patterns: of names that stay.
    """

    def __init__(self, rule: ClientRule, patterns: tuple[str, ...]) -> None:
        self._rule, self._patterns = rule, patterns
        self._kept: Weights = {}
        self._keeps: dict[str, bool] = {}
        self.needs_squared_gradient = rule.needs_squared_gradient

    def receive(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """What the strategy would start from, with what the site keeps; in its first round, as broadcast."""
        received = self._rule.receive(broadcast)
        return {name: self._kept.get(name, value) for name, value in received.items()}

    def correct(self, name: str, weight: Tensor, gradient: Tensor, num_samples: int) -> Tensor:
        """The strategy's correction of what is shared; none of what is kept."""
        return gradient if self._is_kept(name) else self._rule.correct(name, weight, gradient, num_samples)

    def after_step(self, weights: Mapping[str, Tensor], step: int, num_steps: int) -> None:
        """Shows the strategy what is shared."""
        self._rule.after_step(self._shared(weights), step, num_steps)

    def send(self, training: LocalTraining) -> Message:
        """What the strategy tells of the rest. Values that are not finite are not kept."""
        kept = {name: value for name, value in training.weights.items() if self._is_kept(name)}
        if all(bool(torch.isfinite(value).all()) for value in kept.values()):
            self._kept = {name: value.clone() for name, value in kept.items()}
        shared = dataclasses.replace(
            training,
            weights=self._shared(training.weights),
            num_samples=self._shared(training.num_samples),
            squared_gradient=self._shared(training.squared_gradient),
        )
        return self._rule.send(shared)

    def own_factor(self) -> Message:
        """The strategy's."""
        return self._rule.own_factor()

    def withdraw(self) -> Message:
        """The strategy's."""
        return self._rule.withdraw()

    def state_dict(self) -> dict[str, Any]:
        """What is kept, and the strategy's memory."""
        return {"kept": dict(self._kept), "rule": self._rule.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores both."""
        self._kept = dict(state["kept"])
        self._rule.load_state_dict(state["rule"])

    def _is_kept(self, name: str) -> bool:
        if name not in self._keeps:
            self._keeps[name] = any(fnmatchcase(name, pattern) for pattern in self._patterns)
        return self._keeps[name]

    def _shared(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if not self._is_kept(name)}
