"""What precision each client has sent, so that none takes away more than it has given.

Clients of a posterior send changes of their factor, which may be negative. A factor's precision is 0 or more, so the
sum of a client's changes is, too. The ledger keeps its mean over each tensor: one number per client and tensor. For
precisions that are constant over a tensor the check is complete; otherwise it is necessary, and negative sums of a
group are caught when the round is closed (`pvi/posterior.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .tensor_sums import Terms

ROUNDING: Final = 1e-3
"""Share of the largest precision that a client has had in a tensor by which rounding may make its sum negative."""


class PrecisionLedger:
    """Mean precision of each client's factor, by tensor, and the largest one that it has had."""

    def __init__(self) -> None:
        self._sums: dict[str, dict[str, list[float]]] = {}

    def check(self, client: str, precisions: Terms) -> dict[str, list[float]]:
        """Returns the client's entries after a message with these precisions, for `accept`.

        Raises:
            ValueError: the message takes away more precision than the client has given.
        """
        known, after = self._sums.get(client, {}), {}
        for name, mean in precisions.means().items():
            before, most = known.get(name, [0.0, 0.0])
            total = before + mean
            if total < -ROUNDING * most:
                raise ValueError(
                    f"client {client!r} takes {before - total:.3g} of the precision of {name!r} away, of which it has "
                    f"given {before:.3g}; a factor with a negative precision is no likelihood."
                )
            after[name] = [total, max(most, total)]
        return after

    def accept(self, client: str, entries: Mapping[str, list[float]]) -> None:
        """Stores the entries after a message that was added."""
        self._sums[client] = {**self._sums.get(client, {}), **entries}

    def holds(self, client: str) -> bool:
        """Returns whether a client has given precision that it has not taken away."""
        return any(total > ROUNDING * most for total, most in self._sums.get(client, {}).values())

    def entries(self, client: str) -> dict[str, list[float]]:
        """Returns a client's entries, to which `put_back` returns."""
        return dict(self._sums.get(client, {}))

    def put_back(self, client: str, entries: Mapping[str, list[float]]) -> None:
        """Returns to a client's earlier entries."""
        self._sums[client] = dict(entries)

    def state_dict(self) -> dict[str, Any]:
        """Returns the entries."""
        return {client: dict(entries) for client, entries in self._sums.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the entries."""
        self._sums = {client: {name: list(pair) for name, pair in each.items()} for client, each in state.items()}
