"""The server of a federation that may be killed at any time, and whose sites may fail, be late or send bad messages.

An engine asks which sites still have to answer (`missing`), sends each of them `broadcast`, and passes every answer to
`add_losses`, `introduce` or `add`. An accepted message is on disk before the next one is added, and the whole state
after each round and after every `MOST_MESSAGES` messages, so a restarted server resumes in the middle of a round with
an equal result. A message that is not accepted leaves the state unchanged and is logged with its reason; the round
continues without it.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from monai.fl.utils.exchange_object import ExchangeObject

from mtmedformer_monai.io.atomic_files import load_checkpoint, save_state

from .aggregator import Aggregator
from .exchange import REFUSED, one_line, received
from .message_journal import Entry, MessageJournal

FEDERATION: Final = "federation"
"""Key in the statistics of a broadcast: identifier of the federation, so that sites do not mix two of them."""

STATE: Final = "server.pt"
"""File name of the server's state."""

FORMAT: Final = 2
"""Entry `format` of states; increases when older ones can no longer be resumed."""

MOST_MESSAGES: Final = 16
"""Messages beside the state: a state is several times as large as a message, and is therefore written less often."""

BAD_MESSAGE: Final = (ValueError, TypeError, KeyError)
"""Errors of a message that is refused, while the round continues without it."""

LOSSES, TASKS, TRAINING = "losses", "tasks", "training"
"""Steps that a message answers."""

logger = logging.getLogger("mtmedformer")


class ServerSession:
    """An aggregator with its state on disk.

    Args:
        aggregator: of the federation, in its initial state; the state on disk replaces it.
        folder: for the state.
        settings: of the federation; a state that was written with other settings is not resumed.

    Attributes:
        aggregator: the aggregator.
        refused: {site: reason} of the messages that were refused in the current round.
        notes: values of the engine that are saved along, such as the id of a tracked run.

    Raises:
        ValueError: the folder contains the state of a federation with other settings.
    """

    def __init__(self, aggregator: Aggregator, folder: Path, settings: Mapping[str, Any]) -> None:
        self.aggregator, self._path = aggregator, folder / STATE
        self._journal = MessageJournal(folder)
        self._settings = dict(settings)
        self._federation = uuid.uuid4().hex
        self.refused: dict[str, str] = {}
        self.notes: dict[str, Any] = {}
        if self._path.is_file():
            self._restore()

    def missing(self, sites: Iterable[str]) -> list[str]:
        """Returns the sites whose message of the current round has not been accepted."""
        return [site for site in sites if site not in self.aggregator.clients]

    def unmeasured(self, sites: Iterable[str]) -> list[str]:
        """Returns the sites whose initial losses have not been accepted."""
        return [site for site in sites if site not in self.aggregator.measured]

    def unknown(self, sites: Iterable[str]) -> list[str]:
        """Returns the sites that have told nothing yet, neither losses nor tasks nor a message."""
        server = self.aggregator
        known = {*server.measured, *server.images_by_task, *server.accepted}
        return [site for site in sites if site not in known]

    def broadcast(self, site: str) -> ExchangeObject:
        """Returns the message for a site; see `Aggregator.broadcast`."""
        sent = self.aggregator.broadcast(site)
        statistics = {**(sent.statistics or {}), FEDERATION: self._federation}
        if site in self.refused:
            statistics[REFUSED] = 1
        return ExchangeObject(sent.weights, weight_type=sent.weight_type, statistics=statistics)

    def add_losses(self, exchange: ExchangeObject, site: str) -> bool:
        """Adds a site's initial losses and saves them; returns whether they were accepted."""
        return self._accept(LOSSES, exchange, site)

    def introduce(self, exchange: ExchangeObject, site: str) -> bool:
        """Adds the tasks of a site that joins later and saves them; returns whether they were accepted."""
        return self._accept(TASKS, exchange, site)

    def add(self, exchange: ExchangeObject, site: str) -> bool:
        """Adds a site's message and saves it; returns whether it was accepted."""
        return self._accept(TRAINING, exchange, site)

    def refuse(self, site: str, reason: str) -> None:
        """Logs and remembers why a site's message was not accepted."""
        self.refused[site] = one_line(reason)
        log_refused(self.aggregator.round + 1, site, reason)

    def close_round(self) -> None:
        """Computes the next global weights and saves the state."""
        self.aggregator.close_round()
        log_left_out(self.aggregator)
        self.refused = {}
        self.save()

    def save(self) -> None:
        """Writes the state atomically."""
        own = {"format": FORMAT, "settings": self._settings}
        own |= {"federation": self._federation, "notes": dict(self.notes), "refused": dict(self.refused)}
        save_state({**own, "server": self.aggregator.state_dict()}, self._path)
        self._journal.clear()  # the state contains these messages

    def _accept(self, step: str, exchange: ExchangeObject, site: str) -> bool:
        if not self._path.is_file():
            self.save()
        try:
            exchange = received(exchange)
            self._add(step, exchange, site)
        except BAD_MESSAGE as error:
            self.refuse(site, reason_of(error))
            self.save()  # a restarted server asks the site for another message
            return False
        self.refused.pop(site, None)
        if len(self._journal) < MOST_MESSAGES:
            self._journal.append(Entry(step, self.aggregator.round, site, exchange))
        else:
            self.save()
        return True

    def _add(self, step: str, exchange: ExchangeObject, site: str) -> None:
        if step == LOSSES:
            self.aggregator.add_initial_losses(exchange, site)
        elif step == TASKS:
            self.aggregator.introduce(exchange, site)
        else:
            self.aggregator.add(exchange, site)

    def _restore(self) -> None:
        saved = load_checkpoint(self._path)
        check_state(saved, self._settings, self._path.parent)
        self._federation, self.notes = saved["federation"], dict(saved["notes"])
        self.refused = dict(saved["refused"])
        self.aggregator.load_state_dict(saved["server"])
        known = {
            LOSSES: self.aggregator.measured,
            TASKS: self.aggregator.images_by_task,
            TRAINING: self.aggregator.clients,
        }
        for entry in self._journal.entries():
            # else it is part of the state
            if entry.number == self.aggregator.round and entry.site not in known[entry.step]:
                self._add(entry.step, entry.exchange, entry.site)
                self.refused.pop(entry.site, None)
        logger.info(
            "Resuming after round %d, with %d messages of the next one.",
            self.aggregator.round,
            len(self.aggregator.clients),
        )


def check_state(state: Mapping[str, Any], given: Mapping[str, Any], folder: Path) -> None:
    """Checks that a federation is resumed from a state of this format, and with its settings.

    Args:
        state: with the entries `format` and `settings`, {name: value}.
        given: settings with which it is resumed.
        folder: of the state.

    Raises:
        ValueError: another version has written the state, or a setting has another value.
    """
    if state.get("format") != FORMAT:
        raise ValueError(
            f"the state in {folder} was written by another version of this package; finish the federation with that "
            "version, or choose another output folder."
        )
    saved = state["settings"]
    changed = [name for name in sorted({*saved, *given}) if saved.get(name) != given.get(name)]
    if changed:
        raise ValueError(
            f"the state in {folder} belongs to a federation with another value of {', '.join(changed)}; restore the "
            "settings to resume it, or choose another output folder."
        )


def reason_of(error: Exception) -> str:
    """Returns why a message is refused, from one of the errors in `BAD_MESSAGE`.

    Example:
        >>> reason_of(KeyError("the federation has no tensor 'w'"))
        "KeyError: the federation has no tensor 'w'"
    """
    return f"{type(error).__name__}: {error.args[0] if error.args else error}"


def log_refused(number: int, site: str, reason: str) -> None:
    """Logs that a site's message was refused in a round, whose number starts at 1."""
    logger.warning("Round %d: the message of %s is refused: %s", number, site, one_line(reason))


def log_left_out(aggregator: Aggregator) -> None:
    """Logs which messages screening left out of the last closed round."""
    for site, reason in aggregator.left_out.items():
        logger.warning("Round %d: the message of %s is left out: %s", aggregator.round, site, reason)
