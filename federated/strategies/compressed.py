"""Compression of client messages, for any strategy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mtmedformer_monai.federated.message import Message, Weights
from mtmedformer_monai.federated.pvi.messages import prior_number_of
from mtmedformer_monai.federated.strategy import ClientRule, LocalTraining, ServerRule, Strategy
from mtmedformer_monai.federated.wire import Wire, decode
from mtmedformer_monai.layers.permutation_groups import PermutationGroups

from .wrapped import WrappedClient, WrappedServer, WrappedStrategy


class Compressed(WrappedStrategy):
    """Wraps a strategy; its clients send compressed packets (`federated/wire.py`).

    Precisions that are not constant take one byte per weight. For PVI, set `coded_precision=True`, so that the means
    match the rounded precisions.

    Args:
        strategy: to wrap.
        half_mean: whether precision-weighted means take two bytes instead of four.
    """

    def __init__(self, strategy: Strategy, half_mean: bool = False) -> None:
        super().__init__(strategy)
        self._half_mean = half_mean

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """Returns a client that encodes its messages."""
        return EncodingClient(self._strategy.client(groups), Wire(self._half_mean))

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """Returns a server that decodes messages."""
        return DecodingServer(self._strategy.server(weights))


class EncodingClient(WrappedClient):
    """A client of the wrapped strategy whose messages are encoded.

    Args:
        rule: client of the wrapped strategy.
        wire: encoder, with its rounding error.
    """

    def __init__(self, rule: ClientRule, wire: Wire) -> None:
        super().__init__(rule)
        self._wire = wire
        self._prior_number: int | None = None
        self.sends_weights_alone = rule.sends_weights_alone

    def receive(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """Returns the strategy's weights; forgets the rounding error of a factor that has ended."""
        number = prior_number_of(broadcast)
        if number != self._prior_number:
            self._wire.clear()
            self._prior_number = number
        return self._rule.receive(broadcast)

    def send(self, training: LocalTraining) -> Message:
        """Returns the strategy's message, encoded."""
        return self._wire.encode(self._rule.send(training))

    def withdraw(self) -> Message:
        """Returns the strategy's message without rounding, including earlier rounding errors."""
        return self._wire.encode_last(self._rule.withdraw())

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of the strategy, the rounding error, and the prior to which it belongs."""
        own = {"wire": self._wire.state_dict(), "prior_number": self._prior_number}
        return {"rule": self._rule.state_dict(), **own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state and the rounding error."""
        self._rule.load_state_dict(state["rule"])
        self._wire.load_state_dict(state["wire"])
        self._prior_number = state["prior_number"]


class DecodingServer(WrappedServer):
    """The wrapped strategy's server, which receives decoded messages.

    Args:
        rule: server of the wrapped strategy.
    """

    def add(self, message: Mapping[str, Tensor]) -> None:
        """Decodes a client's packet and adds it."""
        self._rule.add(decode(message))

    def decoded(self, message: Mapping[str, Tensor]) -> Message:
        """Returns the decoded packet."""
        return self._rule.decoded(decode(message))
