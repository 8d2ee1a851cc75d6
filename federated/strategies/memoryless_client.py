"""A client without state, which sends its weights multiplied by their precision.

With precision `n (isotropic + curvature F)`, this is federated averaging if curvature is 0, and Fisher-weighted merging
otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mtmedformer_monai.federated.message import Message, TensorKind, Weights, key, pick
from mtmedformer_monai.federated.pvi.equations import PrecisionScale, likelihood_precision
from mtmedformer_monai.federated.strategy import ClientRule, LocalTraining

from .averaged import is_averaged
from .fedavg import weighted_terms


class MemorylessClient(ClientRule):
    """Trains from the broadcast weights, and sends its weights as Gaussians.

    Args:
        scale: of the precision.
    """

    def __init__(self, scale: PrecisionScale) -> None:
        self._scale = scale
        self.needs_squared_gradient = scale.curvature > 0
        self.sends_weights_alone = not self.needs_squared_gradient

    def receive(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """Returns the broadcast weights."""
        return pick(broadcast, TensorKind.MEAN)

    def send(self, training: LocalTraining) -> Message:
        """Returns `H w` and `H` of all trained weights; statistics are weighted only by images."""
        message = weighted_terms(training)
        for name, square in self._squares(training).items():
            count = training.num_samples[name]
            precision = training.learned(name, likelihood_precision(square.float(), count, self._scale))
            message[key(TensorKind.PRECISION_MEAN, name)] = precision * training.weights[name].float()
            message[key(TensorKind.PRECISION, name)] = precision
        return message

    def state_dict(self) -> dict[str, Any]:
        """Returns an empty state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Does nothing, as there is no state."""

    @staticmethod
    def _squares(training: LocalTraining) -> Weights:
        """Returns {trained parameter: squared gradient}; 0 if none was estimated."""
        return {
            name: training.squared_gradient.get(name, training.weights[name].new_zeros(()).expand_as(value))
            for name, value in training.weights.items()
            if training.num_samples.get(name, 0) > 0 and not is_averaged(name, value)
        }
