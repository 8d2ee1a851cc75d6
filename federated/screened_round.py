"""The messages of a round that is screened: they are kept until it is closed, so that outliers can be taken out."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from torch import Tensor

from .exchange import NO_ROUND
from .screening import Screening, Sent, outliers
from .strategy import Message, ServerRule, TensorKind, pick


class ScreenedRound:
    """Keeps the messages of a round. Memory: one model per site.

    Messages are added to the server as they arrive, so that a bad one is refused at once. If some are outliers, the
    server returns to its state before the round, and adds the others again: sums have no order, so the result is as if
    the outliers had never arrived.

    Args:
        settings: of the screening.
    """

    def __init__(self, settings: Screening) -> None:
        self._settings = settings
        self._opening: dict[str, Any] = {}
        self._messages: dict[str, Message] = {}
        self._images: dict[str, int] = {}
        self._accepted: dict[str, int] = {}

    def begin(self, server: ServerRule) -> None:
        """Keeps the server's state before the first message of a round."""
        if not self._opening:
            self._opening = server.state_dict()

    def keep(self, client: str, message: Mapping[str, Tensor], images: int, accepted: int) -> None:
        """Keeps a message that was added.

        Args:
            client: its sender.
            message: as it was added.
            images: number of the client's training images.
            accepted: last round before this one of which a message of the client was accepted.
        """
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
        if found:
            server.load_state_dict(self._opening)
            for client, message in self._messages.items():
                if client not in found:
                    server.add(message)
        for client in found:
            accepted.pop(client, None)
            if self._accepted[client] != NO_ROUND:
                accepted[client] = self._accepted[client]
        self._opening, self._messages, self._images, self._accepted = {}, {}, {}, {}
        return found

    def state_dict(self) -> dict[str, Any]:
        """Returns the messages and the server's state before them."""
        messages = {client: dict(message) for client, message in self._messages.items()}
        return {
            "opening": self._opening,
            "messages": messages,
            "images": dict(self._images),
            "accepted": dict(self._accepted),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state."""
        self._opening = dict(state.get("opening", {}))
        self._messages = {client: dict(message) for client, message in state.get("messages", {}).items()}
        self._images, self._accepted = dict(state.get("images", {})), dict(state.get("accepted", {}))

    def _sent(self, server: ServerRule, client: str, tasks: list[str] | None) -> Sent:
        broadcast = server.broadcast() if tasks is None else server.broadcast_for(tasks)
        terms = server.decoded(self._messages[client])
        return Sent(terms, pick(broadcast, TensorKind.MEAN), self._images[client])
