"""The messages of a round that is screened: they are kept until it is closed, so that outliers can be taken out."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from torch import Tensor

from .client_factors import ClientFactors
from .exchange import NO_ROUND
from .message import Message, TensorKind, pick
from .screening import Screening, Sent, outliers
from .strategy import ServerRule


class ScreenedRound:
    """Keeps the messages of a round. Memory: one model per site, and another one if the server keeps factors.

    Messages are added to the server as they arrive, so that a bad one is refused at once. If some are outliers, the
    server returns to its state before the round, and adds the others again: sums have no order, so the result is as if
    the outliers had never arrived.

    Two kinds of messages are added without being compared: those of stock clients; and withdrawals, whose step undoes
    all earlier ones of the client, and whose sender has no factor any more. A withdrawal is recognized by the sum of
    what its sender has sent (`ClientFactors`): without being compared, a poisoned site can take back its own
    contribution, and nothing else.

    Args:
        settings: of the screening.
        sends_changes: `Strategy.sends_changes`.
    """

    def __init__(self, settings: Screening, sends_changes: bool) -> None:
        self._settings = settings
        self._factors = ClientFactors() if sends_changes else None
        self._opening: dict[str, Any] = {}
        self._unscreened: dict[str, Message] = {}
        self._messages: dict[str, Message] = {}
        self._images: dict[str, int] = {}
        self._accepted: dict[str, int] = {}

    def begin(self, server: ServerRule) -> None:
        """Keeps the server's state before the first message of a round."""
        if not self._opening:
            self._opening = server.state_dict()

    def keep_unscreened(self, client: str, message: Mapping[str, Tensor]) -> None:
        """Keeps a message that was added and is not compared, such as that of a stock client."""
        self._unscreened[client] = dict(message)

    def keep(
        self, client: str, message: Mapping[str, Tensor], decoded: Mapping[str, Tensor], images: int, accepted: int
    ) -> None:
        """Keeps a message that was added, and decides whether it is compared with the others.

        Args:
            client: its sender.
            message: as it was added.
            decoded: its terms (`ServerRule.decoded`).
            images: number of the client's training images.
            accepted: last round before this one of which a message of the client was accepted.
        """
        if self._factors is not None and self._factors.is_withdrawal(client, decoded):
            self._factors.add(client, decoded)
            self.keep_unscreened(client, message)
            return
        self._messages[client] = dict(message)
        self._images[client], self._accepted[client] = images, accepted

    def end(
        self, server: ServerRule, tasks: Mapping[str, list[str]], accepted: MutableMapping[str, int]
    ) -> dict[str, str]:
        """Takes the outliers out of the server's sums; returns {client: reason}.

        Args:
            server: before it closes the round.
            tasks: {client: tasks for which it has labels}.
            accepted: {client: last round of which a message was accepted}, which is set back for outliers.
        """
        found = outliers(
            {client: self._sent(server, client, tasks.get(client)) for client in self._messages}, self._settings
        )
        kept = {client: message for client, message in self._messages.items() if client not in found}
        if found:
            server.load_state_dict(self._opening)
            for message in [*self._unscreened.values(), *kept.values()]:
                server.add(message)
        if self._factors is not None:
            for client, message in kept.items():
                self._factors.add(client, server.decoded(message))
        for client in found:
            accepted.pop(client, None)
            if self._accepted[client] != NO_ROUND:
                accepted[client] = self._accepted[client]
        self._opening, self._unscreened, self._messages, self._images, self._accepted = {}, {}, {}, {}, {}
        return found

    def forget_factors(self) -> None:
        """Forgets what clients have sent, when the server has ended all factors."""
        if self._factors is not None:
            self._factors.forget()

    def state_dict(self) -> dict[str, Any]:
        """Returns the messages, the server's state before them, and what clients have sent in earlier rounds."""
        messages, unscreened = (
            {client: dict(message) for client, message in each.items()} for each in (self._messages, self._unscreened)
        )
        return {
            "opening": self._opening,
            "messages": messages,
            "unscreened": unscreened,
            "images": dict(self._images),
            "accepted": dict(self._accepted),
            "factors": self._factors.state_dict() if self._factors is not None else {},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state."""
        self._opening = dict(state["opening"])
        self._messages, self._unscreened = (
            {client: dict(message) for client, message in state[name].items()} for name in ("messages", "unscreened")
        )
        self._images, self._accepted = dict(state["images"]), dict(state["accepted"])
        if self._factors is not None:
            self._factors.load_state_dict(state["factors"])

    def _sent(self, server: ServerRule, client: str, tasks: list[str] | None) -> Sent:
        broadcast = server.broadcast() if tasks is None else server.broadcast_for(tasks)
        terms = server.decoded(self._messages[client])
        return Sent(terms, pick(broadcast, TensorKind.MEAN), self._images[client])
