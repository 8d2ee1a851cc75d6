"""SCAFFOLD (Karimireddy et al., ICML 2020, algorithm 1, option II): averaging with correction of client drift.

Clients step along `gradient - c_k + c`; after K steps of rate lr from x to y, `c_k+ = c_k - c + (x - y) / (K lr)`. The
server's c is the mean of all c_k. Here means are weighted by images, and clients that never took part have no c_k yet;
with equal numbers of images and all clients present from the first round, it is the paper's algorithm with a server
rate of 1.

Option II uses (x - y) / (K lr) as the mean gradient, which is correct for plain SGD, but not for Adam or momentum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mtmedformer_monai.federated.message import Message, TensorKind, Weights, pick
from mtmedformer_monai.federated.strategy import ClientRule, LocalTraining, ServerRule, Strategy
from mtmedformer_monai.layers.permutation_groups import PermutationGroups

from .averaged import is_averaged
from .controls import ControlServer, OwnControls
from .fedavg import weighted_terms


class Scaffold(Strategy):
    """Averaging with control variates; for SGD without momentum."""

    image_precision = 1.0

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """Returns a client whose control variate is 0."""
        return ScaffoldClient()

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """Returns a server that averages weights and control variates."""
        return ControlServer(weights, finish=lambda mean, control: mean, sends_controls=True)


class ScaffoldClient(ClientRule):
    """Corrects each gradient by the difference of the mean control variate and its own.

    State: its own control variate, as `n c_k`.
    """

    def __init__(self) -> None:
        self._own = OwnControls()
        self._start: Weights = {}
        self._corrections: Weights = {}

    def receive(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """Returns the broadcast weights."""
        self._start, mean = {}, pick(broadcast, TensorKind.CONTROL)
        for name, value in pick(broadcast, TensorKind.MEAN).items():
            if not is_averaged(name, value):
                self._start[name] = value.cpu().clone()
                own = self._own.get(name, self._start[name])
                self._corrections[name] = mean[name] - own if name in mean else -own
        return pick(broadcast, TensorKind.MEAN)

    def correct(self, name: str, weight: Tensor, gradient: Tensor, num_samples: int) -> Tensor:
        """Returns `gradient - c_k + c`."""
        if self._corrections[name].device != weight.device:
            self._corrections[name] = self._corrections[name].to(weight.device)
        return gradient + self._corrections[name]

    def send(self, training: LocalTraining) -> Message:
        """Returns `n w` and `n`, and the changes of `n c_k` and `n`.

        Without a step or with a learning rate of 0, the control variates do not change.
        """
        length = training.num_steps * training.learning_rate
        counts = {name: count for name, count in training.num_samples.items() if count > 0 and name in self._start}
        if length <= 0:
            return weighted_terms(training)
        controls = {name: self._drift(name, training.weights[name], length) for name in counts}
        return {**weighted_terms(training), **self._own.replace(controls, counts)}

    def withdraw(self) -> Message:
        """Forgets its control variate, and returns the change that takes it out of the server's mean."""
        return self._own.withdraw()

    def state_dict(self) -> dict[str, Any]:
        """Returns its control variate."""
        return self._own.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores its control variate."""
        self._own.load_state_dict(state)

    def _drift(self, name: str, trained: Tensor, length: float) -> Tensor:
        """Returns `c_k - c + (x - y) / (K lr)`."""
        return (self._start[name] - trained) / length - self._corrections[name].cpu()
