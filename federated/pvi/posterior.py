"""The posterior of a federation: a prior times one factor per client, over all named weights of a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mtmedformer_monai.federated.gaussian import Gaussian, guard, mean_of, product

Factor = dict[str, Gaussian]
"""{weight: natural parameters}. A missing weight has a constant factor."""


def multiply(left: Mapping[str, Gaussian], right: Mapping[str, Gaussian]) -> Factor:
    """Returns the product of two factors; a weight missing in one of them is taken from the other bit for bit."""
    both = {name: product(left[name], right[name]) for name in left if name in right}
    return {**left, **{name: value for name, value in right.items() if name not in left}, **both}


def means(posterior: Mapping[str, Gaussian]) -> dict[str, Tensor]:
    """Returns {weight: mean}.

    Raises:
        ValueError: a precision is not positive.
    """
    return {name: mean_of(value) for name, value in posterior.items()}


ROUNDING = 0.01
"""Share of the prior's precision that may be missing due to rounding after all clients have withdrawn a weight."""


class Accumulator:
    """The server's running sum of the clients' changes, and the prior, counted once.

    Multiplying Gaussian factors adds their natural parameters (Ashman et al., arXiv 2202.12275, algorithm 1, server
    update). Sums are in float64. Clients send float32: the sum is therefore exact, and the same for any order and
    grouping, as long as the contributions to a weight lie within a factor of 2^28 of one another. Memory: prior and
    posterior, independent of the number of clients.

    Args:
        prior: with a diagonal precision.
    """

    def __init__(self, prior: Mapping[str, Gaussian]) -> None:
        self._prior = {name: _double(value) for name, value in prior.items()}
        self._sum: Factor = {}
        self._valid = {name: mean_of(value) for name, value in self._prior.items()}

    def add(self, change: Mapping[str, Gaussian]) -> None:
        """Adds the change of a client's factor.

        Raises:
            KeyError: a weight that the prior does not have.
            ValueError: numbers that are not finite, or a wrong shape; nothing of the change is added.
        """
        self.check(change)
        for name, value in change.items():
            self._sum[name] = product(self._sum[name], _double(value)) if name in self._sum else _double(value)

    def check(self, change: Mapping[str, Gaussian]) -> None:
        """Raises the errors of `add` without adding anything."""
        for name, value in change.items():
            if name not in self._prior:
                raise KeyError(f"weight {name!r} is not in the posterior; the client uses another network.")
            if (
                value.precision_mean.shape != self._prior[name].precision_mean.shape
                or value.precision.shape != value.precision_mean.shape
            ):
                expected = tuple(self._prior[name].precision_mean.shape)
                raise ValueError(
                    f"weight {name!r} expects the shape {expected}, got {tuple(value.precision_mean.shape)}."
                )
            if not bool(torch.isfinite(value.precision_mean).all() and torch.isfinite(value.precision).all()):
                raise ValueError(f"weight {name!r} has numbers that are not finite; the client's training diverged.")

    def state_dict(self) -> dict[str, Any]:
        """Returns the prior, the sum of factors, and the last valid means."""
        parts = {"prior": self._prior, "sum": self._sum}
        state: dict[str, Any] = {part: {name: list(value) for name, value in parts[part].items()} for part in parts}
        return {**state, "sane": dict(self._valid)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state."""
        self._prior = {name: Gaussian(*value) for name, value in state["prior"].items()}
        self._sum = {name: Gaussian(*value) for name, value in state["sum"].items()}
        self._valid = dict(state["sane"])

    def posterior(self) -> Factor:
        """Returns the prior times all factors.

        Weights whose precision is below the prior's get the prior's precision and their last valid mean.
        """
        whole = multiply(self._prior, {name: self._lift(name, value) for name, value in self._sum.items()})
        guarded = {name: guard(value, self._prior[name].precision, self._valid[name]) for name, value in whole.items()}
        self._valid = {name: mean_of(value) for name, value in guarded.items()}
        return guarded

    def _lift(self, name: str, total: Gaussian) -> Gaussian:
        """Clamps precisions to 0 that are negative only because of rounding."""
        least = -ROUNDING * self._prior[name].precision
        return Gaussian(
            total.precision_mean, torch.where(total.precision >= least, total.precision.clamp(min=0.0), total.precision)
        )


def _double(value: Gaussian) -> Gaussian:
    return Gaussian(value.precision_mean.double(), value.precision.double())
