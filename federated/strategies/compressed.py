"""Compression of client messages, for any strategy."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from mtmedformer_monai.federated.strategy import ClientRule, LocalTraining, Message, ServerRule, Strategy, Weights
from mtmedformer_monai.federated.teaching import Teaching
from mtmedformer_monai.federated.wire import Wire, decode
from mtmedformer_monai.layers.permutation_groups import PermutationGroups


class Compressed(Strategy):
    """Wraps a strategy; its clients send compressed packets (`federated/wire.py`).

    Precisions that are not constant take one byte per weight. For PVI, set `coded_precision=True`, so that the means
    match the rounded precisions.

    Args:
        strategy: to wrap.
        half_mean: whether precision-weighted means take two bytes instead of four.
    """

    def __init__(self, strategy: Strategy, half_mean: bool = False) -> None:
        self._strategy, self._half_mean = strategy, half_mean
        self.sends_changes, self.sends_sums = strategy.sends_changes, strategy.sends_sums

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """Returns a client that encodes its messages."""
        return EncodingClient(self._strategy.client(groups), Wire(self._half_mean))

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """Returns a server that decodes messages."""
        return DecodingServer(self._strategy.server(weights))


class EncodingClient(ClientRule):
    """A client of the wrapped strategy whose messages are encoded.

    Args:
        rule: client of the wrapped strategy.
        wire: encoder, with its rounding error.
    """

    def __init__(self, rule: ClientRule, wire: Wire) -> None:
        self._rule, self._wire = rule, wire
        self.needs_squared_gradient, self.needs_input_gram = rule.needs_squared_gradient, rule.needs_input_gram

    def receive(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """Delegates to the wrapped strategy."""
        return self._rule.receive(broadcast)

    def teaching(self) -> Teaching | None:
        """Delegates to the wrapped strategy."""
        return self._rule.teaching()

    def inference_weights(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """Delegates to the wrapped strategy."""
        return self._rule.inference_weights(broadcast)

    def correct(self, name: str, weight: Tensor, gradient: Tensor, num_samples: int) -> Tensor:
        """Delegates to the wrapped strategy."""
        return self._rule.correct(name, weight, gradient, num_samples)

    def after_step(self, weights: Mapping[str, Tensor], step: int, num_steps: int) -> None:
        """Delegates to the wrapped strategy."""
        self._rule.after_step(weights, step, num_steps)

    def send(self, training: LocalTraining) -> Message:
        """Returns the strategy's message, encoded."""
        return self._wire.encode(self._rule.send(training))

    def own_factor(self) -> Message:
        """Delegates to the wrapped strategy."""
        return self._rule.own_factor()

    def withdraw(self) -> Message:
        """Returns the strategy's message without rounding, including earlier rounding errors."""
        return self._wire.encode_last(self._rule.withdraw())

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of the strategy and the rounding error."""
        return {"rule": self._rule.state_dict(), "wire": self._wire.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state and the rounding error."""
        self._rule.load_state_dict(state["rule"])
        self._wire.load_state_dict(state["wire"])


class DecodingServer(ServerRule):
    """The wrapped strategy's server, which receives decoded messages.

    Args:
        rule: server of the wrapped strategy.
    """

    def __init__(self, rule: ServerRule) -> None:
        self._rule = rule

    def add(self, message: Mapping[str, Tensor]) -> None:
        """Decodes a client's packet and adds it."""
        self._rule.add(decode(message))

    def close_round(self) -> None:
        """Delegates to the wrapped strategy."""
        self._rule.close_round()

    def broadcast(self) -> Message:
        """Delegates to the wrapped strategy; the broadcast is not compressed."""
        return self._rule.broadcast()

    def group_networks(self) -> dict[str, tuple[Weights, Weights]]:
        """Delegates to the wrapped strategy."""
        return self._rule.group_networks()

    def broadcast_for(self, tasks: Collection[str]) -> Message:
        """Delegates to the wrapped strategy."""
        return self._rule.broadcast_for(tasks)

    def state_dict(self) -> dict[str, Any]:
        """Delegates to the wrapped strategy."""
        return self._rule.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Delegates to the wrapped strategy."""
        self._rule.load_state_dict(state)
