"""Control variates: corrections of each client's gradients, and their mean over clients, weighted by images.

Clients send the changes of `n c` and `n`, so the server's mean covers all clients that ever took part, present or
absent, but for those that have withdrawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mtmedformer_monai.federated.message import Message, TensorKind, Weights, key
from mtmedformer_monai.federated.running_sum import RunningSum
from mtmedformer_monai.federated.strategy import ServerRule


class OwnControls:
    """A client's control variates, stored as `n c`."""

    def __init__(self) -> None:
        self._scaled: Weights = {}
        self._counts: dict[str, int] = {}

    def get(self, name: str, like: Tensor) -> Tensor:
        """Returns c; 0 if it was never set."""
        if name not in self._scaled:
            return torch.zeros_like(like)
        if self._scaled[name].device != like.device:
            self._scaled[name] = self._scaled[name].to(like.device)
        return self._scaled[name] / self._counts[name]

    def replace(self, controls: Mapping[str, Tensor], counts: Mapping[str, int]) -> Message:
        """Sets some control variates, and returns the changes to send.

        Args:
            controls: {parameter: c}.
            counts: {parameter: n, above 0}.
        """
        message: Message = {}
        for name, control in controls.items():
            scaled, count = (counts[name] * control).float().cpu(), counts[name]
            before = self._scaled.get(name, torch.zeros_like(scaled)).cpu()
            message[key(TensorKind.CONTROL, name)] = scaled - before
            message[key(TensorKind.COUNT, name)] = torch.tensor(float(count - self._counts.get(name, 0)))
            self._scaled[name], self._counts[name] = scaled, count
        return message

    def withdraw(self) -> Message:
        """Forgets all control variates, and returns the changes that take them out of the server's mean."""
        scaled = {key(TensorKind.CONTROL, name): -value.cpu() for name, value in self._scaled.items()}
        counts = {key(TensorKind.COUNT, name): torch.tensor(-float(count)) for name, count in self._counts.items()}
        self._scaled, self._counts = {}, {}
        return scaled | counts

    def state_dict(self) -> dict[str, Any]:
        """Returns all control variates."""
        return {"scaled": {name: value.cpu() for name, value in self._scaled.items()}, "counts": dict(self._counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the control variates."""
        self._scaled, self._counts = dict(state["scaled"]), dict(state["counts"])


class ControlServer(ServerRule):
    """Computes weighted means of the weights in each round, and of the control variates over all rounds.

    Args:
        weights: initial weights.
        finish: computes the next weights from the round's mean and the mean control variate, in float64.
        sends_controls: whether the mean control variates are broadcast.
    """

    def __init__(
        self, weights: Mapping[str, Tensor], finish: Callable[[Tensor, Tensor], Tensor], sends_controls: bool
    ) -> None:
        self._weights = {name: value.detach().clone() for name, value in weights.items()}
        shapes = {name: value.shape for name, value in weights.items()}
        self._sum = RunningSum(shapes, kinds=(TensorKind.PRECISION_MEAN, TensorKind.PRECISION))
        self._controls = RunningSum(shapes, kinds=(TensorKind.CONTROL,), scalars=(TensorKind.COUNT,))
        self._finish, self._sends_controls = finish, sends_controls
        self._sent: Weights = {}  # as of the end of the last round: all clients of a round have one correction

    def add(self, message: Mapping[str, Tensor]) -> None:
        """Adds the terms of one client."""
        kinds = (f"{TensorKind.CONTROL}/", f"{TensorKind.COUNT}/")
        mine = {name: value for name, value in message.items() if name.startswith(kinds)}
        others = {name: value for name, value in message.items() if name not in mine}
        self._controls.check(mine)
        self._sum.add(others)
        self._controls.add(mine)

    def close_round(self) -> None:
        """Computes the means and applies `finish`."""
        before = {name: value.double() if value.is_floating_point() else value for name, value in self._weights.items()}
        means, controls, trained = self._sum.weighted_means(before), self._means(), self._sum.names()
        for name, value in self._weights.items():
            if name in trained:
                mean = means[name]
                if name in controls:  # rows of classes that no client of the round knows stay what they are
                    mean = torch.where(self._sum.is_weighed(name), self._finish(mean, controls[name]), mean)
                self._weights[name] = mean.to(value.dtype)
        self._sum.clear()
        self._sent = {name: value.float() for name, value in controls.items()} if self._sends_controls else {}

    def broadcast(self) -> Message:
        """Returns the weights, and the mean control variates at the end of the last round if clients use them."""
        message = {key(TensorKind.MEAN, name): value for name, value in self._weights.items()}
        return message | {key(TensorKind.CONTROL, name): value for name, value in self._sent.items()}

    def state_dict(self) -> dict[str, Any]:
        """Returns the weights, the control variates and the messages added in this round."""
        controls, total = dict(self._controls.total), dict(self._sum.total)
        return {"weights": dict(self._weights), "controls": controls, "sent": dict(self._sent), "total": total}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state."""
        self._weights, self._sum.total = dict(state["weights"]), dict(state["total"])
        self._controls.total = dict(state["controls"])
        self._sent = dict(state["sent"])

    def _means(self) -> Weights:
        """Returns {parameter: sum of n c divided by the sum of n}, float64."""
        total = self._controls.total
        return {
            name: total[key(TensorKind.CONTROL, name)] / total[key(TensorKind.COUNT, name)]
            for name in sorted(self._controls.names())
            if float(total[key(TensorKind.COUNT, name)]) > 0
        }
