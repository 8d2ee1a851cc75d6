"""The posterior of a federation: a prior times one factor per client, over all named weights of a network."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import torch
from torch import Tensor

from mtmedformer_monai.federated.gaussian import Gaussian, from_moments, mean_of, product, quotient
from mtmedformer_monai.federated.strategy import Weights
from mtmedformer_monai.federated.tensor_sums import compact, constant, copied, is_finite, sum_of

from .hierarchy import group_posteriors, homes_of, similarity_of

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
    """The server's running sums of the clients' changes, one per set of tasks, and the prior, counted once.

    Multiplying Gaussian factors adds their natural parameters (Ashman et al., arXiv 2202.12275, algorithm 1, server
    update). Precisions that are constant over a tensor take one number. Sums are in float64. Clients send float32: the sum is therefore exact, and the same for any order and
    grouping, as long as the contributions to a weight lie within a factor of 2^28 of one another. Memory: the prior
    and one Gaussian per group, independent of the number of clients.

    Args:
        prior: with a diagonal precision.
    """

    def __init__(self, prior: Mapping[str, Gaussian]) -> None:
        self._prior = {name: _double(value) for name, value in prior.items()}
        self._sums: dict[str, Factor] = {}
        self._valid: dict[str, Weights] = {}
        self._before: dict[str, dict[str, Gaussian | None]] = {}
        self._own: set[tuple[str, str]] = set()  # sums that nobody else holds, which are added to in place

    def add(self, change: Mapping[str, Gaussian], group: str = "", counted: Collection[str] | None = None) -> None:
        """Adds the change of the factor of a client of a group.

        Args:
            change: of the factor.
            group: of the client.
            counted: weights whose change belongs to `change_of_round`; None: all.

        Raises:
            KeyError: a weight that the prior does not have.
            ValueError: numbers that are not finite, or a wrong shape; nothing of the change is added.
        """
        self.include(self.checked(change), group, counted)

    def include(self, change: Mapping[str, Gaussian], group: str, counted: Collection[str] | None = None) -> None:
        """Adds a change that `checked` has returned; see `add`."""
        total, before = self._sums.setdefault(group, {}), self._before.setdefault(group, {})
        for name, value in change.items():
            start = before.setdefault(name, total.get(name))
            if counted is not None and name not in counted:
                before[name] = _added(start, value)
            total[name] = _added(total.get(name), value, in_place=(group, name) in self._own)
            self._own.add((group, name))

    def change_of_round(self, name: str, group: str) -> Gaussian:
        """Returns the sum of the counted changes of a tensor since the last `end_round`."""
        total, before = self._sums[group][name], self._before[group][name]
        return total if before is None else quotient(total, before)

    def end_round(self) -> None:
        """Starts the changes of the next round."""
        self._before, self._own = {}, set()

    def checked(self, change: Mapping[str, Gaussian]) -> Factor:
        """Raises the errors of `add`; returns the change, with views of one number for constant precisions."""
        found = {
            name: Gaussian(value.precision_mean.detach(), constant(value.precision.detach()))
            for name, value in change.items()
        }
        for name, value in found.items():
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
            if not (is_finite(value.precision) and is_finite(value.precision_mean)):
                raise ValueError(f"weight {name!r} has numbers that are not finite; the client's training diverged.")
        return found

    def prior(self, name: str) -> Gaussian:
        """Returns the prior of a tensor."""
        return self._prior[name]

    def state_dict(self) -> dict[str, Any]:
        """Returns the prior, the sums of factors, and the last valid means."""
        sums = {group: _lists(total) for group, total in self._sums.items()}
        valid = {group: dict(means) for group, means in self._valid.items()}
        before = {
            group: {name: list(value or ()) for name, value in starts.items()} for group, starts in self._before.items()
        }
        self._own = set()
        return {"prior": _lists(self._prior), "sums": sums, "valid": valid, "before": before}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state."""
        self._prior = _gaussians(state["prior"])
        self._sums = {group: _gaussians(total) for group, total in state["sums"].items()}
        self._valid = {group: dict(means) for group, means in state["valid"].items()}
        self._before = {
            group: {name: Gaussian(*value) if value else None for name, value in starts.items()}
            for group, starts in state.get("before", {}).items()
        }
        self._own = set()

    def posterior(self) -> Factor:
        """Returns the prior times all factors of all groups.

        Weights whose precision is below the prior's get the prior's precision and their last valid mean.
        """
        names = sorted({name for total in self._sums.values() for name in total})
        pooled = {name: product(*(total[name] for total in self._sums.values() if name in total)) for name in names}
        return {**self._prior, **{name: self._posteriors(name, {ALL: pooled[name]}, 0.0)[ALL] for name in names}}

    def group_posteriors(self, name: str, share: float) -> dict[str, Gaussian]:
        """Returns the posterior of one tensor for each group with evidence of it (`hierarchy.group_posteriors`).

        Where a group's evidence is negative, it gets the prior's precision and its last valid mean.

        Args:
            name: of the tensor.
            share: of the prior's variance that lies between groups.
        """
        evidence: dict[str, Gaussian] = {}
        for tasks, home in self.homes().items():
            if name in self._sums[tasks]:
                value = self._sums[tasks][name]
                evidence[home] = product(evidence[home], value) if home in evidence else value
        return self._posteriors(name, evidence, share)

    def homes(self) -> dict[str, str]:
        """Returns {set of tasks with evidence: its group} (`hierarchy.homes_of`)."""
        return homes_of(self._sums)

    def mean(self, name: str, group: str) -> Tensor:
        """Returns the mean of a group's last posterior of a tensor, float64."""
        return self._valid[group][name]

    def _posteriors(self, name: str, evidence: Mapping[str, Gaussian], share: float) -> dict[str, Gaussian]:
        prior = _compact(self._prior[name])
        evidence = {group: _compact(value) for group, value in evidence.items()}
        negative = {group: value.precision < -ROUNDING * prior.precision for group, value in evidence.items()}
        lifted = {group: _without_negative(value, negative[group]) for group, value in evidence.items()}
        posteriors = group_posteriors(prior, lifted, share, similarity_of(lifted) if share > 0.0 else None)
        known: dict[int, Tensor] = {}
        for group, value in posteriors.items():
            valid = self._valid.setdefault(group, {})
            if bool(negative[group].any()):
                mean = torch.where(negative[group], valid.get(name, mean_of(prior)), mean_of(value))
                posteriors[group] = from_moments(mean, torch.where(negative[group], prior.precision, value.precision))
            else:
                mean = known[id(value)] = known[id(value)] if id(value) in known else mean_of(value)
            valid[name] = mean
        whole = {id(value): _expanded(value) for value in posteriors.values()}  # equal posteriors remain one object
        return {group: whole[id(value)] for group, value in posteriors.items()}


ALL: Final = "*"
"""Key of the product of all groups among the last valid means."""


def _without_negative(evidence: Gaussian, negative: Tensor) -> Gaussian:
    """Returns evidence without the weights whose precision is negative; tiny negative precisions become 0."""
    precision = evidence.precision.clamp(min=0)
    if not bool(negative.any()):
        return Gaussian(evidence.precision_mean, precision)
    zero = torch.zeros((), dtype=precision.dtype)
    return Gaussian(torch.where(negative, zero, evidence.precision_mean), torch.where(negative, zero, precision))


def _added(total: Gaussian | None, value: Gaussian, in_place: bool = False) -> Gaussian:
    if total is None:
        return Gaussian(*(copied(each) for each in value))
    return Gaussian(*(sum_of(each, term, in_place) for each, term in zip(total, value, strict=True)))


def _compact(value: Gaussian) -> Gaussian:
    return Gaussian(value.precision_mean, compact(value.precision))


def _expanded(value: Gaussian) -> Gaussian:
    return Gaussian(value.precision_mean, value.precision.expand(value.precision_mean.shape))


def _double(value: Gaussian) -> Gaussian:
    precision = constant(value.precision)
    return Gaussian(value.precision_mean.double(), compact(precision).double().expand(precision.shape))


def _lists(factor: Mapping[str, Gaussian]) -> dict[str, list[Tensor]]:
    return {name: list(value) for name, value in factor.items()}


def _gaussians(lists: Mapping[str, Any]) -> Factor:
    return {name: Gaussian(*value) for name, value in lists.items()}
