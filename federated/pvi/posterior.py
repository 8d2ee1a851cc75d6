"""The posterior of a federation: a prior times one factor per client, over all named weights of a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mtmedformer_monai.federated.gaussian import Gaussian, guard, mean_of, product

Factor = dict[str, Gaussian]
"""{weight: natural parameters}. A weight that is left out is unknown to the factor."""


def multiply(left: Mapping[str, Gaussian], right: Mapping[str, Gaussian]) -> Factor:
    """The product of two factors; a weight that one leaves out is the other's, bit for bit."""
    both = {name: product(left[name], right[name]) for name in left if name in right}
    return {**left, **{name: value for name, value in right.items() if name not in left}, **both}


def means(posterior: Mapping[str, Gaussian]) -> dict[str, Tensor]:
    """{weight: mean}.

    Raises:
        ValueError: a precision is not positive.
    """
    return {name: mean_of(value) for name, value in posterior.items()}


ROUNDING = 0.01
"""Share of the prior's precision that rounding may leave missing when all sites have left a weight."""


class Accumulator:
    """The server's running sum: the clients' changes as they arrive, and the prior, counted once.

    Multiplying Gaussian factors adds their natural parameters (Ashman et al., arXiv 2202.12275, algorithm 1, server
    update). Sums are in float64. Clients send float32: their sum is then exact, and so the same in any order and
    grouping, as long as the contributions to a weight lie within a factor of 2^28 of one another. Memory: prior and
    posterior, whatever the number of clients.

    Args:
        prior: diagonal.
    """

    def __init__(self, prior: Mapping[str, Gaussian]) -> None:
        self._prior = {name: _double(value) for name, value in prior.items()}
        self._sum: Factor = {}
        self._sane = {name: mean_of(value) for name, value in self._prior.items()}

    def add(self, change: Mapping[str, Gaussian]) -> None:
        """Adds what a site sends: the change of its factor.

        Raises:
            KeyError: a weight that the prior doesn't have.
            ValueError: numbers that are not finite, or another shape; nothing of the change is added.
        """
        self.check(change)
        for name, value in change.items():
            self._sum[name] = product(self._sum[name], _double(value)) if name in self._sum else _double(value)

    def check(self, change: Mapping[str, Gaussian]) -> None:
        """Refuses what `add` would refuse, and adds nothing."""
        for name, value in change.items():
            if name not in self._prior:
                raise KeyError(f"weight {name!r} is not in the posterior; the site's network is another one.")
            if (
                value.precision_mean.shape != self._prior[name].precision_mean.shape
                or value.precision.shape != value.precision_mean.shape
            ):
                expected = tuple(self._prior[name].precision_mean.shape)
                raise ValueError(
                    f"weight {name!r} expects the shape {expected}, got {tuple(value.precision_mean.shape)}."
                )
            if not bool(torch.isfinite(value.precision_mean).all() and torch.isfinite(value.precision).all()):
                raise ValueError(f"weight {name!r} came with numbers that are not finite; the site has diverged.")

    def state_dict(self) -> dict[str, Any]:
        """The prior, the sum of factors, and the last sane means."""
        parts = {"prior": self._prior, "sum": self._sum}
        state: dict[str, Any] = {part: {name: list(value) for name, value in parts[part].items()} for part in parts}
        return {**state, "sane": dict(self._sane)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores them."""
        self._prior = {name: Gaussian(*value) for name, value in state["prior"].items()}
        self._sum = {name: Gaussian(*value) for name, value in state["sum"].items()}
        self._sane = dict(state["sane"])

    def posterior(self) -> Factor:
        """Prior times all factors; where the precision fell below the prior's, the last sane mean with the prior's."""
        whole = multiply(self._prior, {name: self._lift(name, value) for name, value in self._sum.items()})
        guarded = {name: guard(value, self._prior[name].precision, self._sane[name]) for name, value in whole.items()}
        self._sane = {name: mean_of(value) for name, value in guarded.items()}
        return guarded

    def _lift(self, name: str, total: Gaussian) -> Gaussian:
        """Takes a sum of precisions that is below 0 by rounding alone for 0."""
        least = -ROUNDING * self._prior[name].precision
        return Gaussian(
            total.precision_mean, torch.where(total.precision >= least, total.precision.clamp(min=0.0), total.precision)
        )


def _double(value: Gaussian) -> Gaussian:
    return Gaussian(value.precision_mean.double(), value.precision.double())
