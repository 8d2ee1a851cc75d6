"""The server of a federation, whatever carries its messages: it adds what sites send as it arrives.

    aggregator = Aggregator(strategy, network.state_dict())
    for site in sites:  # in any order, one after another or as they come
        site.train(aggregator.broadcast())
        aggregator.add(site.get_weights(), "site_1")
    aggregator.close_round()

Memory: the strategy's running sums, whatever the number of sites. Plain `MonaiAlgo` clients may take part, see `add`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.fl.utils.constants import FlStatistics, WeightType
from monai.fl.utils.exchange_object import ExchangeObject
from torch import Tensor

from mtmedformer_monai.io.atomic_files import load_checkpoint, save_checkpoint

from .client.loss_scales import LossScales
from .client.plain_clients import PlainClients
from .exchange import ROUND, round_of, to_exchange, to_message, whole_number
from .strategy import Strategy, Weights


class Aggregator:
    """Adds, closes rounds, broadcasts.

    Args:
        strategy: the same as the sites'.
        weights: all parameters and buffers of the network, to start from.
        plain_precision: of an image of a plain client, in every weight. 1 makes it an image among images for averages;
            for posteriors take the strategy's isotropic precision of an image.

    Attributes:
        round: rounds that are closed.
        clients: that have sent in this round.
    """

    def __init__(self, strategy: Strategy, weights: Mapping[str, Tensor], plain_precision: float = 1.0) -> None:
        self._server = strategy.server(weights)
        self._scales = LossScales()
        self._plain = PlainClients(plain_precision, strategy.sends_changes)
        self._measured: list[str] = []
        self.round = 0
        self.clients: list[str] = []

    def broadcast(self) -> ExchangeObject:
        """What sites receive."""
        return to_exchange({**self._server.broadcast(), **self._scales.broadcast()}, {ROUND: self.round})

    def broadcast_plain(self) -> ExchangeObject:
        """The weights under their plain names, for stock `MonaiAlgo` clients."""
        return to_exchange(self.weights(), {ROUND: self.round})

    def add_initial_losses(self, exchange: ExchangeObject, client: str) -> None:
        """Adds what a site measured before the first round; see `BayesianMonaiAlgo.measure_losses`.

        Args:
            exchange: of `measure_losses`.
            client: its name; tells a site that sends twice.

        Raises:
            ValueError: the site has sent its losses already.
        """
        if client in self._measured:
            raise ValueError(f"client {client!r} has sent its initial losses already; they are measured once.")
        if exchange.weights:
            self._scales.add(to_message(exchange))
        self._measured.append(client)

    def add(self, exchange: ExchangeObject, client: str) -> None:
        """Adds what a site sends, whole or not at all.

        A plain `MonaiAlgo` client sends weights, or their difference to the broadcast ones. It counts as a Gaussian
        around its weights, of one precision in all of them: `plain_precision` times its images, which it tells as
        `data_count` in its statistics, else 1. For an average that is its share. Beside PVI clients it is a guess
        of what the client knows, all weights alike; as it isn't told what others believe, and forgets its part from
        round to round, the fixed point is that of an average for it, not of the pooled data.

        Args:
            exchange: of `get_weights`.
            client: its name; tells a site that sends twice.

        Raises:
            ValueError: the site has sent in this round, or sends what belongs to another one; or numbers that are not
                finite, or of other shapes.
            KeyError: a tensor that the federation doesn't have.
            TypeError: something that is neither a tensor nor a number.
        """
        self._check(exchange, client)
        message = to_message(exchange)
        plain = PlainClients.is_plain(message)
        if plain:
            is_difference = exchange.weight_type == WeightType.WEIGHT_DIFF
            images = _images_of(exchange, client)
            message = self._plain.terms(client, message, self.weights() if is_difference else None, images)
        self._server.add(message)
        if plain:
            self._plain.accept(client)
        self.clients.append(client)

    def close_round(self) -> None:
        """Makes the next global weights."""
        self._server.close_round()
        self.round += 1
        self.clients = []

    def weights(self) -> Weights:
        """The global weights."""
        return self._server.weights()

    def state_dict(self) -> dict[str, Any]:
        """All that the server knows, also in the middle of a round."""
        plain = self._plain.state_dict()
        own = {"round": self.round, "clients": list(self.clients), "scales": dict(self._scales.total), "plain": plain}
        return {**own, "measured": list(self._measured), "server": self._server.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores it."""
        self._server.load_state_dict(state["server"])
        self._plain.load_state_dict(state["plain"])
        self._scales.total, self._measured = dict(state["scales"]), list(state["measured"])
        self.round, self.clients = int(state["round"]), list(state["clients"])

    def save(self, path: str | Path) -> None:
        """Writes the state, atomically."""
        save_checkpoint(self.state_dict(), path)

    def restore(self, path: str | Path) -> None:
        """Goes on from what `save` wrote."""
        self.load_state_dict(load_checkpoint(path))

    def _check(self, exchange: ExchangeObject, client: str) -> None:
        if client in self.clients:
            raise ValueError(f"client {client!r} has sent in round {self.round} already; each site sends once a round.")
        number = round_of(exchange)
        if number is not None and number != self.round:
            raise ValueError(
                f"client {client!r} sends for round {number}, but round {self.round} is open; train it on the newest "
                "broadcast, or restore it from the checkpoint of this round."
            )


def _images_of(exchange: ExchangeObject, client: str) -> int:
    """Images of a plain client; 1 where it doesn't tell."""
    images = whole_number(exchange, FlStatistics.DATA_COUNT)
    if images is not None and images < 1:
        raise ValueError(f"client {client!r} expects a data_count of 1 image or more, got {images}.")
    return 1 if images is None else images
