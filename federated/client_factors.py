"""The sum of what each client of a posterior has sent, by which the server recognizes a client that withdraws.

A client withdraws by taking back all changes of its factor at once (`PVIClient.withdraw`). This is recognized by what
the message does: afterwards, the sum of the client's changes is 0 in every weight. A message cannot claim it, so a
client gains nothing but the removal of its own contribution. The sums are those of one set of tasks, because a client
must not give precision to one group and take it from another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from .message import Message, TensorKind, key
from .pvi.messages import PRIOR_NUMBER, split_group
from .tensor_sums import TensorSums, Terms

ROUNDING: Final = 1e-3
"""Norm of what rounding may leave of a tensor, as a share of the largest norm that the client's sum of it has had."""


class ClientFactors:
    """Sums of the changes of each client. Memory: one posterior per client, and one number per constant precision."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], TensorSums] = {}  # by client and set of tasks
        self._largest: dict[tuple[str, str], dict[str, float]] = {}

    def is_withdrawal(self, client: str, message: Mapping[str, Tensor]) -> bool:
        """Returns whether a message takes back what the client has sent, and contains nothing else.

        Args:
            client: its sender.
            message: decoded; not added yet.
        """
        tasks, change, others = _parts(message)
        sums = self._sums.get((client, tasks))
        if sums is None or others:
            return False
        largest = self._largest[client, tasks]
        return all(
            _norm(sums.get(name), change.get(name)) <= ROUNDING * largest.get(name, 0.0) for name in {*sums, *change}
        )

    def add(self, client: str, message: Mapping[str, Tensor]) -> None:
        """Adds a decoded message that was accepted."""
        tasks, change, _ = _parts(message)
        if not change:
            return
        sums = self._sums.setdefault((client, tasks), TensorSums())
        largest = self._largest.setdefault((client, tasks), {})
        sums.add(Terms.of(change, repeated=key(TensorKind.PRECISION, "")))
        for name in change:
            largest[name] = max(largest.get(name, 0.0), _norm(sums.get(name)))

    def forget(self) -> None:
        """Forgets all sums, when the server has ended the factors."""
        self._sums, self._largest = {}, {}

    def state_dict(self) -> dict[str, Any]:
        """Returns {client: {set of tasks: [sums, largest norms]}}."""
        state: dict[str, Any] = {}
        for (client, tasks), sums in self._sums.items():
            state.setdefault(client, {})[tasks] = [sums.tensors(), dict(self._largest[client, tasks])]
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the sums."""
        self.forget()
        for client, by_tasks in state.items():
            for tasks, (sums, largest) in by_tasks.items():
                self._sums[client, tasks], self._largest[client, tasks] = TensorSums(sums), dict(largest)


def _parts(message: Mapping[str, Tensor]) -> tuple[str, Message, list[str]]:
    """Returns the sender's set of tasks, the change of its factor, and the names of all other tensors."""
    tasks, rest = split_group(message)
    rest.pop(PRIOR_NUMBER, None)
    kinds = (TensorKind.PRECISION_MEAN, TensorKind.PRECISION)
    change = {name: value for name, value in rest.items() if name.partition("/")[0] in kinds}
    return tasks, change, [name for name in rest if name not in change]


def _norm(*terms: Tensor | None) -> float:
    """Returns the Euclidean norm of a sum, in which None is 0."""
    known = [value.double() for value in terms if value is not None]
    return float(torch.linalg.vector_norm(sum(known[1:], known[0])))
