"""Messages of the current round on disk: a server that was killed restores from them what its state lacks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from monai.fl.utils.exchange_object import ExchangeObject

from mtmedformer_monai.io.atomic_files import load_checkpoint

from .exchange import exchange_of, write_exchange

PATTERN: Final = "message_*.pt"


@dataclass(frozen=True)
class Entry:
    """An accepted message.

    Attributes:
        step: what it answers.
        number: of the round, as `Aggregator.round`.
        site: its sender.
        exchange: the message.
    """

    step: str
    number: int
    site: str
    exchange: ExchangeObject


class MessageJournal:
    """Files of accepted messages, in the order in which they were added.

    Args:
        folder: for the files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = len(self._files())

    def __len__(self) -> int:
        return self._count

    def append(self, entry: Entry) -> None:
        """Writes a message atomically."""
        path = self._folder / f"message_{self._count:04d}.pt"
        write_exchange(entry.exchange, path, step=entry.step, number=entry.number, site=entry.site)
        self._count += 1

    def entries(self) -> Iterator[Entry]:
        """Reads the messages in order."""
        for path in self._files():
            saved = load_checkpoint(path)
            yield Entry(saved["step"], int(saved["number"]), saved["site"], exchange_of(saved))

    def clear(self) -> None:
        """Deletes all messages, the last one first, so that what remains after a kill has no gap."""
        for path in reversed(self._files()):
            path.unlink()
        self._count = 0

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob(PATTERN))
