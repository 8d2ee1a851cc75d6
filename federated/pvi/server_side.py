"""The server's side of partitioned variational inference: the prior times the factors of all clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from mtmedformer_monai.federated.gaussian import Gaussian, from_moments
from mtmedformer_monai.federated.running_sum import RunningSum
from mtmedformer_monai.federated.strategies.averaged import is_averaged
from mtmedformer_monai.federated.strategy import Message, ServerRule, TensorKind, Weights, key

from .posterior import Accumulator, means
from .step_guard import StepGuard

DAMPING: Final = key(TensorKind.SETTING, "damping")
"""Broadcast: factor of the clients' rates, below 1 after divergence."""


class PVIServer(ServerRule):
    """Adds changes of factors; the factors of absent clients are kept.

    Statistics (`is_averaged`) are summed in the same way, without a prior.

    Args:
        weights: initial weights, which are the prior's mean.
        prior_precision: precision of the prior, counted once.
    """

    def __init__(self, weights: Mapping[str, Tensor], prior_precision: float) -> None:
        self._weights = {name: value.detach().cpu().clone() for name, value in weights.items()}
        learned = {name: value for name, value in self._weights.items() if not is_averaged(name, value)}
        counted = {name: value.shape for name, value in self._weights.items() if name not in learned}
        precision = torch.tensor(prior_precision, dtype=torch.float64)
        prior = {name: from_moments(value.double(), precision.expand(value.shape)) for name, value in learned.items()}
        self._precision = {name: torch.full(value.shape, prior_precision) for name, value in learned.items()}
        self._posterior = Accumulator(prior)
        self._statistics = RunningSum(counted, kinds=(TensorKind.PRECISION_MEAN, TensorKind.PRECISION))
        self._guard = StepGuard(1.0)
        self._touched: set[str] = set()

    def add(self, message: Mapping[str, Tensor]) -> None:
        """Adds the changes of one client."""
        factor = _factor(message, self._precision)
        others = {name: value for name, value in message.items() if name.partition("/")[2] not in factor}
        self._posterior.check(factor)
        self._statistics.add(others)
        self._posterior.add(factor)
        self._touched |= set(factor)

    def close_round(self) -> None:
        """Updates the mean of all weights with changes, and checks for divergence."""
        self._weights = self._statistics.weighted_means(self._weights)
        posterior = self._posterior.posterior() if self._touched else {}
        touched = {name: posterior[name] for name in sorted(self._touched)}
        squared_step = squared_mean = 0.0
        for name, mean in means(touched).items():
            step = mean - self._weights[name].double()
            squared_step += float((touched[name].precision * step.square()).sum())
            squared_mean += float((touched[name].precision * mean.square()).sum())
            self._weights[name] = mean.to(self._weights[name].dtype)
            self._precision[name] = touched[name].precision.float()
        self._guard.see(squared_step, squared_mean)
        self._touched = set()

    def broadcast(self) -> Message:
        """Returns mean, precision and damping."""
        message = {key(TensorKind.MEAN, name): value for name, value in self._weights.items()}
        message |= {key(TensorKind.PRECISION, name): value for name, value in self._precision.items()}
        return {**message, DAMPING: torch.tensor(self._guard.rate)}

    def weights(self) -> Weights:
        """Returns the posterior mean."""
        return dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """Returns the posterior, the prior, the statistics, the step guard and the messages added in this round."""
        return {
            "weights": dict(self._weights),
            "precision": dict(self._precision),
            "posterior": self._posterior.state_dict(),
            "statistics": dict(self._statistics.total),
            "guard": self._guard.state_dict(),
            "touched": sorted(self._touched),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state."""
        self._weights, self._precision = dict(state["weights"]), dict(state["precision"])
        self._posterior.load_state_dict(state["posterior"])
        self._statistics.total = dict(state["statistics"])
        self._guard.load_state_dict(state["guard"])
        self._touched = set(state["touched"])


def _factor(message: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> dict[str, Gaussian]:
    """Returns the natural parameters of the weights that have a posterior.

    Raises:
        KeyError: a precision-weighted mean without a precision, or the reverse.
    """
    kinds: dict[str, dict[str, Tensor]] = {}
    for full, value in message.items():
        kind, _, name = full.partition("/")
        if name in known:
            kinds.setdefault(name, {})[kind] = value
    for name, given in kinds.items():
        if set(given) != {TensorKind.PRECISION_MEAN, TensorKind.PRECISION}:
            raise KeyError(f"weight {name!r} expects precision_mean and precision, got {sorted(given)}.")
    return {
        name: Gaussian(given[TensorKind.PRECISION_MEAN], given[TensorKind.PRECISION]) for name, given in kinds.items()
    }
