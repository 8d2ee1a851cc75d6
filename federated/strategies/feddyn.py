"""FedDyn (Acar et al., ICLR 2021, algorithm 1): linear and quadratic terms that make the clients' optima agree.

A client minimizes `L_k(w) - g_k . w + alpha / 2 |w - w_global|^2`, then sets `g_k <- g_k - alpha (w_k - w_global)`,
which is the gradient of its loss there. With h the mean of all g_k, the server's next weights are the mean of the
round's w_k minus `h / alpha`. Here means are weighted by images; with equal numbers of images and all clients present
from the first round, it is the paper's algorithm.
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


class FedDyn(Strategy):
    """Averaging with dynamic regularization.

    Args:
        alpha: weight of the quadratic term, relative to the mean loss over samples; lower is faster and less stable.
    """

    image_precision = 1.0

    def __init__(self, alpha: float = 0.1) -> None:
        if alpha <= 0:
            raise ValueError(f"alpha expects a number above 0, got {alpha}; for no regularization use fedavg.")
        self._alpha = alpha

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """Returns a client whose linear term is 0."""
        return DynamicClient(self._alpha)

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """Returns a server that computes `mean - h / alpha`."""
        return ControlServer(weights, finish=lambda mean, h: mean - h / self._alpha, sends_controls=False)


class DynamicClient(ClientRule):
    """Adds the gradients of both terms. State: the linear term, as `n g_k`.

    Args:
        alpha: weight of the quadratic term.
    """

    def __init__(self, alpha: float) -> None:
        self._alpha = alpha
        self._own = OwnControls()
        self._start: Weights = {}

    def receive(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """Returns the broadcast weights."""
        weights = pick(broadcast, TensorKind.MEAN)
        self._start = {name: value.clone() for name, value in weights.items() if not is_averaged(name, value)}
        return weights

    def correct(self, name: str, weight: Tensor, gradient: Tensor, num_samples: int) -> Tensor:
        """Returns `gradient - g_k + alpha (w - w_global)`."""
        weight = weight.detach()
        if self._start[name].device != weight.device:
            self._start[name] = self._start[name].to(weight.device)
        return gradient - self._own.get(name, weight) + self._alpha * (weight - self._start[name])

    def send(self, training: LocalTraining) -> Message:
        """Returns `n w` and `n`, and the changes of `n g_k` and `n`."""
        counts = {name: count for name, count in training.num_samples.items() if count > 0 and name in self._start}
        linear = {name: self._moved(name, training.weights[name]) for name in counts}
        return {**weighted_terms(training), **self._own.replace(linear, counts)}

    def withdraw(self) -> Message:
        """Forgets the linear term, and returns the change that takes it out of the server's mean."""
        return self._own.withdraw()

    def state_dict(self) -> dict[str, Any]:
        """Returns the linear term."""
        return self._own.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the linear term."""
        self._own.load_state_dict(state)

    def _moved(self, name: str, trained: Tensor) -> Tensor:
        """Returns `g_k - alpha (w_k - w_global)`."""
        return self._own.get(name, trained) - self._alpha * (trained - self._start[name].cpu())
