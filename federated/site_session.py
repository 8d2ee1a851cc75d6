"""A site of a federation that may be killed at any time, and whose messages may be lost, late or refused.

The client's state after each round is on disk. Every broadcast states the last round of which the server has accepted
a message from the site (`ACCEPTED`), and the client returns to its state after that round before it trains or
evaluates. A strategy whose clients send changes therefore never counts on a message that the server does not have. A
message that was computed but not delivered is sent again instead of being trained again.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from monai.fl.utils.exchange_object import ExchangeObject

from mtmedformer_monai.federated.server_session import FEDERATION
from mtmedformer_monai.io.atomic_files import load_checkpoint, save_checkpoint

from .client.bayesian_monai_algo import MEMORY, BayesianMonaiAlgo
from .exchange import ACCEPTED, NO_ROUND, REFUSED, read_exchange, round_of, to_message, whole_number, write_exchange

MESSAGE: Final = "message.pt"
"""File name of the last message."""
MODEL: Final = "model.pt"
"""File name of the weights with which the site infers, as of the last evaluation."""

logger = logging.getLogger("mtmedformer")


class SiteSession:
    """A client with its states and its last message on disk.

    Args:
        make_client: returns a new, initialized client.
        folder: for the files.

    Attributes:
        client: the client, in the state after the last step.
    """

    def __init__(self, make_client: Callable[[], BayesianMonaiAlgo], folder: Path) -> None:
        self.client, self._folder = make_client(), folder
        self._federation: str | None = None
        self._round = NO_ROUND

    def measure(self, broadcast: ExchangeObject) -> ExchangeObject:
        """Returns the tasks' initial losses at the broadcast weights."""
        self._begin(broadcast)
        return self.client.measure_losses(broadcast)

    def evaluate(self, broadcast: ExchangeObject) -> dict[str, float]:
        """Writes the site's inference weights, and returns their metrics on its own validation images.

        Raises:
            ValueError: the state that the broadcast builds upon is missing.
        """
        self._begin(broadcast)
        self._return_to(_accepted(broadcast))
        metrics = self.client.evaluate(broadcast).metrics or {}
        save_checkpoint(dict(self.client.inference_weights(to_message(broadcast))), self._folder / MODEL)
        return {str(name): float(value) for name, value in metrics.items() if isinstance(value, int | float)}

    def train(self, broadcast: ExchangeObject) -> ExchangeObject:
        """Trains one round and returns the message; a message of this round that was not delivered is returned again.

        It is computed anew if the server has refused it, or if the site has changed since then what may leave it: its
        filters, its budget, or that it leaves.

        Raises:
            ValueError: the broadcast has no round, or the state that it builds upon is missing.
        """
        self._begin(broadcast)
        number = round_of(broadcast)
        if number is None:
            raise ValueError("train expects a broadcast with its round, got none; send the result of broadcast().")
        if self._computed() == number and not whole_number(broadcast, REFUSED):
            logger.info("Round %d: the message is sent again.", number + 1)
            return read_exchange(self._folder / MESSAGE)
        accepted = _accepted(broadcast)
        self._return_to(accepted)
        self.client.train(broadcast)
        message = self.client.get_weights()
        self.client.save(self._state(number))
        self._round = number
        write_exchange(message, self._folder / MESSAGE, round=number, terms=self._terms())
        self._forget_all_but(number, accepted)
        return message

    def _begin(self, broadcast: ExchangeObject) -> None:
        """Discards the files of another federation, and keeps the initial state of a new one."""
        federation = str((broadcast.statistics or {}).get(FEDERATION, ""))
        if self._federation == federation:
            return
        file = self._folder / "federation.pt"
        if not file.is_file() or load_checkpoint(file)["federation"] != federation:
            self._start_anew(federation, file)
        else:
            self._round = self._latest()
            self.client.restore(self._state(self._round))
        self._federation = federation

    def _start_anew(self, federation: str, file: Path) -> None:
        if self._federation is not None:
            raise ValueError("this process has trained for another federation; start a new one.")
        (self._folder / MESSAGE).unlink(missing_ok=True)
        self._forget_all_but()
        self.client.save(self._state(NO_ROUND))
        save_checkpoint({"federation": federation}, file)

    def _return_to(self, number: int) -> None:
        """Restores the state after a round, unless the client is in it."""
        if self._round == number:
            return
        if not (self._state(number) / MEMORY).is_file():
            raise ValueError(
                f"the server has accepted a message of round {number + 1}, but {self._folder} has no state after it; "
                "restore the folder from a backup, or join under another name."
            )
        self.client.restore(self._state(number))
        self._round = number

    def _latest(self) -> int:
        """Returns the round of the latest state; the folder of one that was being written at a kill has no file yet."""
        files = self._folder.glob(f"state_*/{MEMORY}")
        return max((int(path.parent.name.partition("_")[2]) for path in files), default=NO_ROUND)

    def _state(self, number: int) -> Path:
        return self._folder / f"state_{number}"

    def _forget_all_but(self, *numbers: int) -> None:
        kept = {self._state(number) for number in numbers}
        for path in set(self._folder.glob("state_*")) - kept:
            shutil.rmtree(path)

    def _computed(self) -> int | None:
        """Returns the round of the last message; None if there is none on the site's present terms."""
        path = self._folder / MESSAGE
        if not path.is_file():
            return None
        content = load_checkpoint(path)
        return int(content["round"]) if content.get("terms", "") == self._terms() else None

    def _terms(self) -> str:
        """Returns what the site's options say about what may leave it, as text."""
        options = self.client.options
        return repr((list(options.update_filters), dict(options.privacy_budget), options.leave))


def _accepted(broadcast: ExchangeObject) -> int:
    """Returns the last round of which the server has accepted a message from this site."""
    accepted = whole_number(broadcast, ACCEPTED)
    return NO_ROUND if accepted is None else accepted
