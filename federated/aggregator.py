"""The server of a federation, independent of transport: aggregates client messages as they arrive.

    aggregator = Aggregator(strategy, network.state_dict())
    for name, client in clients.items():  # in any order, sequentially or concurrently
        client.train(aggregator.broadcast(name))
        aggregator.add(client.get_weights(), name)
    aggregator.close_round()

Memory: the strategy's running sums, independent of the number of clients. Stock `MonaiAlgo` clients can take part, see
`Aggregator.add`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.fl.utils.constants import FlStatistics, WeightType
from monai.fl.utils.exchange_object import ExchangeObject
from torch import Tensor

from mtmedformer_monai.io.atomic_files import load_checkpoint, save_state

from .client.loss_scales import LossScales
from .client.plain_clients import PlainClients
from .exchange import ACCEPTED, NO_ROUND, ROUND, images_by_task_of, round_of, to_exchange, to_message, whole_number
from .image_limit import ImageLimit
from .message import Message, TensorKind, Weights, pick
from .precision_ledger import PrecisionLedger
from .pvi.messages import split_group, tasks_with_images
from .screened_round import ScreenedRound
from .screening import Screening
from .strategy import Strategy
from .tensor_sums import Terms


class Aggregator:
    """Adds client messages to the strategy's running sums, closes rounds and broadcasts the global weights.

    Args:
        strategy: the strategy that all clients use.
        weights: all parameters and buffers of the initial network.
        plain_precision: precision that each image of a stock `MonaiAlgo` client adds to every weight. For averaging
            strategies, 1 weighs its images like those of other clients; for posteriors, use the strategy's isotropic
            precision. None: their messages are refused, as where any site could pose as one (`job/session.py`).
        screening: leaves out sites whose steps are outliers; None: as the strategy says (`Strategy.screening`).

    Attributes:
        round: number of closed rounds.
        clients: names of the clients that have sent a message in the current round.
        images_by_task: {client: {task: number of training images with its label}}, as far as clients have told.
        measured: names of the clients that have sent their initial losses.
        accepted: {client: last round of which a message was accepted}.
        left_out: {client: reason} of the messages that screening left out of the last closed round.
    """

    def __init__(
        self,
        strategy: Strategy,
        weights: Mapping[str, Tensor],
        plain_precision: float | None = 1.0,
        screening: Screening | None = None,
    ) -> None:
        self._strategy = strategy
        self._server = strategy.server(weights)
        chosen = screening or strategy.screening
        self._screened = ScreenedRound(chosen, strategy.sends_changes) if chosen else None
        self._ledger = PrecisionLedger() if strategy.sends_changes else None
        unit = strategy.image_precision
        self._limit = ImageLimit(strategy.most_images, unit, weights) if strategy.most_images and unit else None
        self._earlier: dict[str, dict[str, list[float]]] = {}
        self.left_out: dict[str, str] = {}
        self._scales = LossScales()
        self._plain = PlainClients(plain_precision, strategy.sends_changes)
        self.measured: list[str] = []
        self.images_by_task: dict[str, dict[str, int]] = {}
        self._tasks: dict[str, str] = {}  # of the client's factor
        self.accepted: dict[str, int] = {}
        self.round = 0
        self.clients: list[str] = []

    def broadcast(self, client: str | None = None) -> ExchangeObject:
        """Returns the message for a client.

        Args:
            client: name of the client, whose group's weights are sent if the strategy has groups; its tasks are known
                from its initial losses, from `introduce`, or from its first message. None: the global weights.
        """
        counts = self.images_by_task.get(client or "")
        sent = self._server.broadcast() if counts is None else self._server.broadcast_for(tasks_with_images(counts))
        statistics = {ROUND: self.round} | ({} if client is None else {ACCEPTED: self.accepted.get(client, NO_ROUND)})
        return to_exchange({**sent, **self._scales.broadcast()}, statistics)

    def broadcast_plain(self) -> ExchangeObject:
        """Returns the weights under their plain names, for stock `MonaiAlgo` clients."""
        return to_exchange(self.weights(), {ROUND: self.round})

    def add_initial_losses(self, exchange: ExchangeObject, client: str) -> None:
        """Adds the losses that a client measured before the first round; see `BayesianMonaiAlgo.measure_losses`.

        Args:
            exchange: returned by `measure_losses`.
            client: name of the client, used to detect duplicates.

        Raises:
            ValueError: the client has already sent its losses.
        """
        if client in self.measured:
            raise ValueError(f"client {client!r} has sent its initial losses already; they are measured once.")
        counts = images_by_task_of(exchange)
        if exchange.weights:
            self._scales.add(to_message(exchange))
        self.measured.append(client)
        self._remember(client, counts)

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Replaces the initial weights before the first message; initial losses that clients have sent remain.

        Args:
            weights: all parameters and buffers of the network.

        Raises:
            ValueError: a client has sent a message.
        """
        if self.accepted:
            raise ValueError("the federation has begun; set its initial weights before the first message.")
        self._server = self._strategy.server(weights)

    def introduce(self, exchange: ExchangeObject, client: str) -> None:
        """Learns the tasks of a client that joins after the first round, so that it starts from its group's weights.

        Its losses are not added, because the scales of the tasks' losses are fixed by then.

        Args:
            exchange: returned by `measure_losses` or `get_data_stats`; only its number of images by task is used.
            client: name of the client.

        Raises:
            TypeError: the number of images by task is something else.
        """
        self._remember(client, images_by_task_of(exchange))

    def add(self, exchange: ExchangeObject, client: str) -> None:
        """Adds a client's message. A rejected message leaves the state unchanged.

        A stock `MonaiAlgo` client sends weights, or their difference from the broadcast weights. They are treated as
        the mean of a Gaussian with the same precision for every weight: `plain_precision` times the number of images,
        which is `data_count` in the client's statistics, or 1 if missing. For averages, this is the client's share.
        Next to PVI clients, it is only a guess of how certain the client is. Such a client neither receives the cavity
        nor keeps a factor between rounds, so for it the fixed point is that of averaging, not of the pooled data. It is
        not screened.

        Args:
            exchange: returned by `get_weights`.
            client: name of the client, used to detect duplicates.

        Raises:
            ValueError: the client has already sent a message in this round, the message belongs to another round, the
                client has changed its tasks while the server keeps its factor, or its numbers are not finite or have
                other shapes.
            KeyError: a tensor that the federation does not have.
            TypeError: a value that is neither a tensor nor a number.
        """
        self._check(exchange, client)
        counts, message = images_by_task_of(exchange), to_message(exchange)
        if PlainClients.is_plain(message):
            self._add_plain(exchange, message, client)
        else:
            self._add_own(message, client, counts or self.images_by_task.get(client) or {})
        self._remember(client, counts)
        self.accepted[client] = self.round
        self.clients.append(client)

    def _add_own(self, message: Message, client: str, counts: Mapping[str, int]) -> None:
        """Adds the message of a client of this package.

        Args:
            message: as the client sent it.
            client: its name.
            counts: its number of images by task.
        """
        decoded = self._server.decoded(message)
        ended = self._server.has_ended(decoded)  # the server leaves it out
        entries = None if ended else self._check_precisions(decoded, client)
        if self._screened is not None:
            self._screened.begin(self._server)
        self._server.add(message)
        if self._screened is not None and not ended:
            images = max(counts.values(), default=1)
            self._screened.keep(client, message, decoded, images, self.accepted.get(client, NO_ROUND))
        if self._ledger is not None and entries is not None:
            if self._screened is not None:
                self._earlier[client] = self._ledger.entries(client)
            self._ledger.accept(client, entries)
            self._tasks[client], _ = split_group(decoded)

    def _add_plain(self, exchange: ExchangeObject, message: Message, client: str) -> None:
        """Adds the weights of a stock client, as terms of a Gaussian."""
        if self._ledger is not None and self._server.averages():
            raise ValueError(
                f"client {client!r} sent plain weights, but this round distills the groups' networks into one; a stock "
                "client, which cannot be taught, takes part in the rounds before."
            )
        images = _images_of(exchange, client)
        if self._limit is not None:
            self._limit.check_images(client, images)
        start = self.weights() if exchange.weight_type == WeightType.WEIGHT_DIFF else None
        terms = self._plain.terms(client, message, start, images)
        if self._screened is not None:
            self._screened.begin(self._server)
        self._server.add(terms)
        if self._screened is not None:
            self._screened.keep_unscreened(client, terms)
        self._plain.accept(client)

    def _check_precisions(self, decoded: Message, client: str) -> dict[str, list[float]] | None:
        """Checks how much precision a message adds or takes away.

        Returns:
            The ledger's new entries of the client; None if the message does not change a factor.

        Raises:
            ValueError: more than the client has, or than the limit of images.
        """
        averages, is_first = self._server.averages(), client not in self.accepted
        ledger = self._ledger if decoded and not averages else None
        is_needed = is_first or ledger is not None or self._limit is not None
        precisions = Terms.of(pick(decoded, TensorKind.PRECISION) if is_needed else {})
        if is_first:
            _check_first(precisions, client)
        entries = None
        if ledger is not None:
            self._check_tasks(client, split_group(decoded)[0], ledger)
            entries = ledger.check(client, precisions)
        if self._limit is not None:
            totals = {name: total for name, (total, _) in entries.items()} if entries else precisions.means()
            self._limit.check(client, totals, in_images=averages)
            self._limit.check_clients(client, pick(decoded, TensorKind.MOMENTS))
        return entries

    def close_round(self) -> None:
        """Computes the next global weights.

        With screening, messages of outliers are taken out first, as if they had never arrived: their senders return to
        the state of their last accepted message, as after a message that was lost.
        """
        self.left_out = {}
        if self._screened is not None:
            tasks = {client: tasks_with_images(counts) for client, counts in self.images_by_task.items()}
            self.left_out = self._screened.end(self._server, tasks, self.accepted)
        if self._ledger is not None:
            for client in self.left_out.keys() & self._earlier.keys():  # others have changed no factor
                self._ledger.put_back(client, self._earlier[client])
        self._earlier = {}
        before = self._server.prior_number()
        self._server.close_round()
        if self._server.prior_number() != before:  # all factors have ended
            self._plain.forget()
            if self._screened is not None:
                self._screened.forget_factors()
            if self._ledger is not None:
                self._ledger, self._tasks = PrecisionLedger(), {}
        self.round += 1
        self.clients = []

    def rounds_left(self, num_rounds: int) -> int:
        """Returns how many rounds a federation of so many rounds still has, with those that its strategy adds."""
        return num_rounds + self._server.extra_rounds() - self.round

    def weights(self) -> Weights:
        """Returns the global weights."""
        return self._server.weights()

    def group_weights(self) -> dict[str, Weights]:
        """Returns {group: weights} of the networks that clients with nested sets of tasks share; see `ServerRule`."""
        return {group: weights for group, (weights, _) in self.group_networks().items()}

    def group_networks(self) -> dict[str, tuple[Weights, Weights]]:
        """Returns {group: (weights, precisions)} of these networks; see `ServerRule`."""
        return self._server.group_networks()

    def state_dict(self) -> dict[str, Any]:
        """Returns the complete server state, which may be saved in the middle of a round."""
        plain = self._plain.state_dict()
        own = {"round": self.round, "clients": list(self.clients), "scales": dict(self._scales.total), "plain": plain}
        own["images_by_task"] = {client: dict(counts) for client, counts in self.images_by_task.items()}
        own["accepted"] = dict(self.accepted)
        own["ledger"] = self._ledger.state_dict() if self._ledger is not None else {}
        own["earlier"], own["tasks"] = dict(self._earlier), dict(self._tasks)
        own["screened"] = self._screened.state_dict() if self._screened is not None else {}
        return {**own, "measured": list(self.measured), "server": self._server.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the server state."""
        self._server.load_state_dict(state["server"])
        self._plain.load_state_dict(state["plain"])
        self._scales.total, self.measured = dict(state["scales"]), list(state["measured"])
        self.images_by_task = {client: dict(counts) for client, counts in state["images_by_task"].items()}
        self.accepted = dict(state["accepted"])
        self.round, self.clients = int(state["round"]), list(state["clients"])
        if self._ledger is not None:
            self._ledger.load_state_dict(state["ledger"])
        self._earlier, self._tasks = dict(state["earlier"]), dict(state["tasks"])
        if self._screened is not None:
            self._screened.load_state_dict(state["screened"])

    def save(self, path: str | Path) -> None:
        """Writes the state to a file atomically."""
        save_state(self.state_dict(), path)

    def restore(self, path: str | Path) -> None:
        """Resumes from a file written by `save`."""
        self.load_state_dict(load_checkpoint(path))

    def _check_tasks(self, client: str, tasks: str, ledger: PrecisionLedger) -> None:
        """Checks that a factor stays in its group: the change of another group's sum would lack what it changes."""
        before = self._tasks.get(client, tasks)
        if tasks != before and ledger.holds(client):
            raise ValueError(
                f"client {client!r} has labels of {tasks or 'no task'}, but the server keeps its factor for {before}; "
                "restore its annotations until the federation ends, or let the client withdraw first."
            )

    def _remember(self, client: str, counts: dict[str, int] | None) -> None:
        if counts is not None:
            self.images_by_task[client] = counts

    def _check(self, exchange: ExchangeObject, client: str) -> None:
        if client in self.clients:
            raise ValueError(
                f"client {client!r} has sent in round {self.round} already; a client sends one message per round."
            )
        number = round_of(exchange)
        if number is not None and number != self.round:
            raise ValueError(
                f"client {client!r} sent a message for round {number}, but the current round is {self.round}; train it "
                "on the latest broadcast, or restore it from the checkpoint of this round."
            )


def _check_first(precisions: Terms, client: str) -> None:
    """Raises a ValueError if a client's first message takes away precision; later ones may send negative changes."""
    bad = precisions.negative()
    if bad is not None:
        raise ValueError(
            f"client {client!r} sent a negative precision of {bad!r}; its first message adds a factor, whose precision "
            "is 0 or more."
        )


def _images_of(exchange: ExchangeObject, client: str) -> int:
    """Returns the number of images of a stock client; 1 if it is not given."""
    images = whole_number(exchange, FlStatistics.DATA_COUNT)
    if images is not None and images < 1:
        raise ValueError(f"client {client!r} expects a data_count of 1 image or more, got {images}.")
    return 1 if images is None else images
