"""Personal layers: parameters that stay at their client, for any strategy.

Local heads and representations as in FedPer (Arivazhagan et al., arXiv 1912.00818) and FedRep (Collins et al., ICML
2021); local norm layers are FedBN (`fedbn.py`); keeping all parameters local is training without exchange.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor

from mtmedformer_monai.federated.message import Message, Weights
from mtmedformer_monai.federated.strategy import ClientRule, LocalTraining, Strategy
from mtmedformer_monai.layers.permutation_groups import PermutationGroups

from .wrapped import WrappedClient, WrappedStrategy


class KeepLocal(WrappedStrategy):
    """Wraps a strategy; clients keep some parameters and buffers local.

    Args:
        strategy: for all other parameters.
        patterns: shell-style patterns of names, such as "decoders.lung.*" or "*norm*"; plain names match themselves.
    """

    def __init__(self, strategy: Strategy, patterns: Sequence[str]) -> None:
        if isinstance(patterns, str) or not patterns:
            raise ValueError(f"patterns expects a list of names or patterns, got {patterns!r}.")
        super().__init__(strategy)
        self.is_personal = True
        self._patterns = tuple(patterns)

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """Returns a client that keeps its local parameters."""
        return KeepingClient(self._strategy.client(groups), self._patterns)


class KeepingClient(WrappedClient):
    """Starts each round from its own values of local parameters, and does not send them.

    Args:
        rule: client of the wrapped strategy.
        patterns: of the local names.
    """

    def __init__(self, rule: ClientRule, patterns: tuple[str, ...]) -> None:
        super().__init__(rule)
        self._patterns = patterns
        self._kept: Weights = {}
        self._keeps: dict[str, bool] = {}

    def receive(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """Returns the strategy's weights with the local parameters; in the first round, those are as broadcast."""
        received = self._rule.receive(broadcast)
        return {name: self._kept.get(name, value) for name, value in received.items()}

    def inference_weights(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """Returns the strategy's weights with the local parameters."""
        received = self._rule.inference_weights(broadcast)
        return {name: self._kept.get(name, value) for name, value in received.items()}

    def correct(self, name: str, weight: Tensor, gradient: Tensor, num_samples: int) -> Tensor:
        """Delegates shared parameters to the strategy; gradients of local parameters are unchanged."""
        return gradient if self._is_kept(name) else self._rule.correct(name, weight, gradient, num_samples)

    def after_step(self, weights: Mapping[str, Tensor], step: int, num_steps: int) -> None:
        """Passes shared parameters to the strategy."""
        self._rule.after_step(self._shared(weights), step, num_steps)

    def send(self, training: LocalTraining) -> Message:
        """Returns the strategy's message for shared parameters. Local values that are not finite are not stored."""
        kept = {name: value for name, value in training.weights.items() if self._is_kept(name)}
        if all(bool(torch.isfinite(value).all()) for value in kept.values()):
            self._kept = {name: value.clone() for name, value in kept.items()}
        shared = dataclasses.replace(
            training,
            weights=self._shared(training.weights),
            num_samples=self._shared(training.num_samples),
            squared_gradient=self._shared(training.squared_gradient),
            input_gram=self._shared(training.input_gram),
        )
        return self._rule.send(shared)

    def state_dict(self) -> dict[str, Any]:
        """Returns the local parameters and the strategy's state."""
        return {"kept": dict(self._kept), "rule": self._rule.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the local parameters and the strategy's state."""
        self._kept = dict(state["kept"])
        self._rule.load_state_dict(state["rule"])

    def _is_kept(self, name: str) -> bool:
        if name not in self._keeps:
            self._keeps[name] = any(fnmatchcase(name, pattern) for pattern in self._patterns)
        return self._keeps[name]

    def _shared(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if not self._is_kept(name)}
