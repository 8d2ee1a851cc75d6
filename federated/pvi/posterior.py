"""The posterior of a federation: a prior times one factor per client, over all named weights of a network."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import torch
from torch import Tensor

from mtmedformer_monai.federated.gaussian import Gaussian, from_moments, mean_of, product, quotient
from mtmedformer_monai.federated.message import TensorKind, Weights, key
from mtmedformer_monai.federated.running_sum import out_of_range
from mtmedformer_monai.federated.tensor_sums import LARGEST, Terms, compact, constant, magnitude

from .factor_sums import PRECISION, Factor, FactorSums, from_lists, names_of, precision_of, sums_of, terms_of, to_lists
from .hierarchy import group_posteriors, homes_of, similarity_of


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


WITHDRAWN: Final = 1e-5
"""Share of the largest precision of a set of tasks that rounding may leave after all of its clients have withdrawn."""


class Accumulator:
    """The server's running sums of the clients' changes, one per set of tasks, and the prior, counted once.

    Multiplying Gaussian factors adds their natural parameters (Ashman et al., arXiv 2202.12275, algorithm 1, server
    update). Precisions that are constant over a tensor take one number. Sums are in float64. Clients send float32: the
    sum is therefore exact, and the same for any order and grouping, as long as the contributions to a weight lie within
    a factor of 2^28 of one another. Memory: the prior, and per group two Gaussians, now and before the round, and the
    prior's mean if it is the group's own; independent of the number of clients.

    Args:
        prior: with a diagonal precision.
        centers: {group: {weight: mean of the group's prior}}, where it is not the prior's; of the same precision. A
            group that contains several of these has the mean of theirs.
        sets: sets of tasks that are known without a change.
    """

    def __init__(
        self,
        prior: Mapping[str, Gaussian],
        centers: Mapping[str, Mapping[str, Tensor]] | None = None,
        sets: Collection[str] = (),
    ) -> None:
        self._prior = {name: _double(value) for name, value in prior.items()}
        self._centers = {group: dict(means) for group, means in (centers or {}).items()}
        self._sets = set(sets)
        self._homes: dict[str, str] = {}  # of the last sets
        self._sums: dict[str, FactorSums] = {}
        self._given: dict[str, list[float]] = {}  # precision by set, and the largest that it has had
        self._valid: dict[str, Weights] = {}
        self._before: dict[str, FactorSums] = {}  # of the groups with changes in this round

    def add(self, change: Mapping[str, Gaussian], group: str = "", counted: Collection[str] | None = None) -> None:
        """Adds the change of the factor of a client of a group.

        Args:
            change: of the factor.
            group: of the client.
            counted: weights whose change belongs to `change_of_round`; None: all.

        Raises:
            KeyError: a weight that the prior does not have.
            ValueError: numbers that are not finite or too large, or a wrong shape; nothing of the change is added.
        """
        self.include(self.checked(change), group, counted)

    def include(self, change: Terms, group: str, counted: Collection[str] | None = None) -> None:
        """Adds a change that `checked` has returned; see `add`."""
        total = self._sums.setdefault(group, FactorSums())
        if group not in self._before:
            self._before[group] = total.copy()
        left_out = set() if counted is None else names_of(change.tensors).keys() - counted
        if left_out:
            own = {name: value for name, value in change.tensors.items() if name.partition("/")[2] in left_out}
            self._before[group].add(Terms.of(own, repeated=PRECISION))
        total.add(change)
        given, most = self._given.get(group, [0.0, 0.0])
        given += precision_of(change)
        self._given[group] = [given, max(given, most)]

    def change_of_round(self, name: str, group: str) -> Gaussian:
        """Returns the sum of the counted changes of a tensor since the last `end_round`."""
        total, before = self._sums[group].whole(name), self._before[group].gaussian(name)
        return total if before is None else quotient(total, before)

    def end_round(self) -> None:
        """Starts the changes of the next round."""
        self._before = {}

    def checked(self, change: Mapping[str, Gaussian]) -> Terms:
        """Raises the errors of `add`; returns the terms of the change by `kind/name`, for `include`."""
        for name, value in change.items():
            if name not in self._prior:
                raise KeyError(f"weight {name!r} is not in the posterior; the client uses another network.")
            expected = self._prior[name].precision_mean.shape
            if value.precision_mean.shape != expected or value.precision.shape != expected:
                got = tuple(value.precision_mean.shape)
                raise ValueError(f"weight {name!r} expects the shape {tuple(expected)}, got {got}.")
        terms = terms_of(change)
        bad = terms.out_of_range()
        if bad is not None:
            raise ValueError(out_of_range(f"weight {bad.partition('/')[2]!r}"))
        return terms

    def prior(self, name: str) -> Gaussian:
        """Returns the prior of a tensor."""
        return self._prior[name]

    def state_dict(self) -> dict[str, Any]:
        """Returns the prior with the groups' means, the sums of factors, and the last valid means."""
        sums = {group: to_lists(total.factor()) for group, total in self._sums.items()}
        valid = {group: dict(means) for group, means in self._valid.items()}
        before = {
            group: {name: list(starts.gaussian(name) or ()) for name in names_of(self._sums[group])}
            for group, starts in self._before.items()
        }
        own = {"prior": to_lists(self._prior), "centers": self.centers(), "sets": sorted(self._sets)}
        given = {group: list(pair) for group, pair in self._given.items()}
        return {**own, "sums": sums, "given": given, "valid": valid, "before": before}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state."""
        self._prior = from_lists(state["prior"])
        self._centers = {group: dict(means) for group, means in state["centers"].items()}
        self._sets = set(state["sets"])
        self._sums = {group: sums_of(terms_of(from_lists(total))) for group, total in state["sums"].items()}
        self._given = {group: list(pair) for group, pair in state["given"].items()}
        self._valid = {group: dict(means) for group, means in state["valid"].items()}
        self._before = {
            group: sums_of(terms_of(from_lists({**state["sums"][group], **starts})))
            for group, starts in state["before"].items()
        }

    def posterior(self) -> Factor:
        """Returns the prior times all factors of all groups.

        Weights whose precision is below the prior's get the prior's precision and their last valid mean.
        """
        sums = [total.factor() for total in self._sums.values()]
        names = sorted({name for total in sums for name in total})
        pooled = {name: product(*(total[name] for total in sums if name in total)) for name in names}
        return {**self._prior, **{name: self._posteriors(name, {ALL: pooled[name]}, 0.0)[ALL] for name in names}}

    def group_posteriors(self, name: str, share: float) -> dict[str, Gaussian]:
        """Returns the posterior of one tensor for each group with evidence of it (`hierarchy.group_posteriors`).

        Where a group's evidence is negative, or its mean beyond `LARGEST`, it gets the prior's precision and its last
        valid mean.

        Args:
            name: of the tensor.
            share: of the prior's variance that lies between groups.
        """
        return self._posteriors(name, self._evidence(name, self._sums), share)

    def place_newcomers(self, name: str, start_of: Callable[[str], Tensor], share: float) -> None:
        """Sets the means of the priors of groups that join beside groups with such means of a tensor.

        A group without evidence then has its mean where its clients start, at its prior's mean plus what the groups
        before have in common in their distances from theirs.

        Args:
            name: of the tensor.
            start_of: returns the weights from which the clients of a group have started this round.
            share: of the prior's variance that lies between groups, in this round's broadcast.
        """
        if not any(name in means for means in self._centers.values()):
            return
        homes, summed = self.homes(), key(TensorKind.PRECISION_MEAN, name)
        active = {homes[tasks] for tasks in homes if tasks in self._sums and summed in self._sums[tasks]}
        new = [group for group in sorted(active) if self.center(name, group) is None]
        if not new:
            return
        before = self._evidence(name, {**self._sums, **self._before})
        known = {group: _compact(value) for group, value in before.items() if group not in new}
        moved = {
            group: _moved(_without_negative(value, value.precision < 0.0), -center)
            for group, value in known.items()
            if (center := self.center(name, group)) is not None
        }
        prior = _compact(self._prior[name])
        around = Gaussian(torch.zeros_like(prior.precision_mean), prior.precision)
        for group in new:
            evidence = {**moved, group: Gaussian(around.precision_mean, torch.zeros_like(prior.precision))}
            similarity = similarity_of(evidence) if share > 0.0 else None
            common = mean_of(group_posteriors(around, evidence, share, similarity)[group])
            start = start_of(group)
            self._centers.setdefault(group, {})[name] = (start.double() - common).to(start.dtype)

    def _evidence(self, name: str, sums: Mapping[str, FactorSums]) -> dict[str, Gaussian]:
        """Returns {group: product of its clients' factors of a tensor}, from sums by set of tasks."""
        evidence: dict[str, Gaussian] = {}
        for tasks, home in self.homes().items():
            value = sums[tasks].gaussian(name) if tasks in sums else None
            if value is not None:
                evidence[home] = product(evidence[home], value) if home in evidence else value
        return evidence

    def homes(self) -> dict[str, str]:
        """Returns {known set of tasks: its group} (`hierarchy.homes_of`).

        A set is known while the sum of its factors has a precision, and if it is given, before it has one, too.
        """
        held = {group: abs(given) > WITHDRAWN * most for group, (given, most) in self._given.items() if most > 0.0}
        sets = {group for group in self._sets if group not in held} | {group for group, known in held.items() if known}
        if self._homes.keys() != sets:
            self._homes = homes_of(sets)
        return dict(self._homes)

    def centers(self) -> dict[str, Weights]:
        """Returns {group: {weight: mean of its prior}}, copies of the mappings."""
        return {group: dict(means) for group, means in self._centers.items()}

    def center(self, name: str, group: str) -> Tensor | None:
        """Returns the mean of a group's prior of a tensor, float64; None where it is the common one.

        A group that belonged to a wider one, whose clients have withdrawn, keeps the mean of its prior.
        """
        exact = self._centers.get(group, {}).get(name)
        if exact is not None:
            return exact.double()
        tasks = frozenset(group.split("+"))
        found = [
            means[name] for other, means in self._centers.items() if name in means and tasks >= set(other.split("+"))
        ]
        if found:
            return torch.stack(found).double().mean(dim=0)
        wider = [other for other, means in self._centers.items() if name in means and tasks < set(other.split("+"))]
        return self._centers[min(wider, key=lambda other: (other.count("+"), other))][name].double() if wider else None

    def mean(self, name: str, group: str) -> Tensor:
        """Returns the mean of a group's last posterior of a tensor, float64."""
        return self._valid[group][name]

    def _posteriors(self, name: str, evidence: Mapping[str, Gaussian], share: float) -> dict[str, Gaussian]:
        prior = _compact(self._prior[name])
        lifted = {group: _compact(value) for group, value in evidence.items()}
        if not evidence:
            return {}
        negative: dict[str, Tensor] = {}
        for group, value in lifted.items():
            if bool((value.precision < 0.0).any()):
                negative[group] = value.precision < -ROUNDING * prior.precision
                lifted[group] = _without_negative(value, negative[group])
        posteriors = self._around_centers(name, prior, lifted, share)
        equal: dict[int, Tensor] = {}
        for group, value in posteriors.items():
            valid = self._valid.setdefault(group, {})
            mean = equal[id(value)] = equal[id(value)] if id(value) in equal else mean_of(value)
            bad = negative.get(group, NONE) if magnitude(mean) <= LARGEST else ~(mean.abs() <= LARGEST)
            if bool(bad.any()):
                bad = bad | negative.get(group, NONE)
                known = valid.get(name, self.center(name, group))
                known = mean_of(prior) if known is None else known
                mean = torch.where(bad, known, mean)
                posteriors[group] = from_moments(mean, torch.where(bad, prior.precision, value.precision))
            valid[name] = mean
        whole = {id(value): _expanded(value) for value in posteriors.values()}  # equal posteriors remain one object
        return {group: whole[id(value)] for group, value in posteriors.items()}

    def _around_centers(
        self, name: str, prior: Gaussian, evidence: Mapping[str, Gaussian], share: float
    ) -> dict[str, Gaussian]:
        """Returns the groups' posteriors; where priors have means of their own, weights are counted from these."""
        similarity = similarity_of(evidence) if share > 0.0 else None
        centers = {group: self.center(name, group) for group in evidence}
        if all(center is None for center in centers.values()):
            return group_posteriors(prior, evidence, share, similarity)
        origin = mean_of(prior)
        known = {group: origin if center is None else center for group, center in centers.items()}
        moved = {group: _moved(value, -known[group]) for group, value in evidence.items()}
        found = group_posteriors(_moved(prior, -origin), moved, share, similarity)
        return {group: _moved(value, known[group]) for group, value in found.items()}


NONE: Final = torch.zeros((), dtype=torch.bool)
ALL: Final = "*"
"""Key of the product of all groups among the last valid means."""


def _moved(value: Gaussian, step: Tensor) -> Gaussian:
    """Returns the Gaussian whose mean has moved by a step; a precision of 0 stays as it is."""
    return Gaussian(torch.addcmul(value.precision_mean, value.precision, step), value.precision)


def _without_negative(evidence: Gaussian, negative: Tensor) -> Gaussian:
    """Returns evidence without the weights whose precision is negative; tiny negative precisions become 0."""
    precision = evidence.precision.clamp(min=0)
    zero = torch.zeros((), dtype=precision.dtype)
    return Gaussian(torch.where(negative, zero, evidence.precision_mean), torch.where(negative, zero, precision))


def _compact(value: Gaussian) -> Gaussian:
    return Gaussian(value.precision_mean, compact(value.precision))


def _expanded(value: Gaussian) -> Gaussian:
    return Gaussian(value.precision_mean, value.precision.expand(value.precision_mean.shape))


def _double(value: Gaussian) -> Gaussian:
    precision = constant(value.precision)
    return Gaussian(value.precision_mean.double(), compact(precision).double().expand(precision.shape))
