"""Any strategy, with messages in few bytes on their way to the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mtmedformer_monai.federated.strategy import ClientRule, LocalTraining, Message, ServerRule, Strategy, Weights
from mtmedformer_monai.federated.wire import Wire, decode
from mtmedformer_monai.layers.permutation_groups import PermutationGroups


class Compressed(Strategy):
    """A strategy whose sites send packets (`federated/wire.py`).

    Precision other than a constant takes a byte: give PVI `coded_precision=True`, so that their means are
    made for it.

    Args:
        strategy: whose messages are sent.
        half_mean: whether precision-weighted means take two bytes instead of four.
    """

    def __init__(self, strategy: Strategy, half_mean: bool = False) -> None:
        self._strategy, self._half_mean = strategy, half_mean
        self.sends_changes = strategy.sends_changes

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """A site that encodes."""
        return EncodingClient(self._strategy.client(groups), Wire(self._half_mean))

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """A server that decodes."""
        return DecodingServer(self._strategy.server(weights))


class EncodingClient(ClientRule):
    """A site of the strategy, whose messages are encoded.

    Args:
        rule: of the strategy.
        wire: with what rounding took.
    """

    def __init__(self, rule: ClientRule, wire: Wire) -> None:
        self._rule, self._wire = rule, wire
        self.needs_squared_gradient = rule.needs_squared_gradient

    def receive(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """As the strategy does."""
        return self._rule.receive(broadcast)

    def correct(self, name: str, weight: Tensor, gradient: Tensor, num_samples: int) -> Tensor:
        """As the strategy does."""
        return self._rule.correct(name, weight, gradient, num_samples)

    def after_step(self, weights: Mapping[str, Tensor], step: int, num_steps: int) -> None:
        """As the strategy does."""
        self._rule.after_step(weights, step, num_steps)

    def send(self, training: LocalTraining) -> Message:
        """The strategy's message, encoded."""
        return self._wire.encode(self._rule.send(training))

    def own_factor(self) -> Message:
        """The strategy's."""
        return self._rule.own_factor()

    def withdraw(self) -> Message:
        """The strategy's, unrounded, with what rounding took before."""
        return self._wire.encode_last(self._rule.withdraw())

    def state_dict(self) -> dict[str, Any]:
        """The strategy's memory, and what rounding took."""
        return {"rule": self._rule.state_dict(), "wire": self._wire.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores both."""
        self._rule.load_state_dict(state["rule"])
        self._wire.load_state_dict(state["wire"])


class DecodingServer(ServerRule):
    """The strategy's server behind the decoder.

    Args:
        rule: of the strategy.
    """

    def __init__(self, rule: ServerRule) -> None:
        self._rule = rule

    def add(self, message: Mapping[str, Tensor]) -> None:
        """Decodes and adds one site's packet."""
        self._rule.add(decode(message))

    def close_round(self) -> None:
        """As the strategy does."""
        self._rule.close_round()

    def broadcast(self) -> Message:
        """As the strategy does; not encoded."""
        return self._rule.broadcast()

    def state_dict(self) -> dict[str, Any]:
        """The strategy's."""
        return self._rule.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores it."""
        self._rule.load_state_dict(state)
