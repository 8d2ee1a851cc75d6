"""How far clients and groups share each weight tensor: given, or estimated in each round by empirical Bayes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from mtmedformer_monai.federated.gaussian import Gaussian
from mtmedformer_monai.federated.message import Message, TensorKind, key
from mtmedformer_monai.federated.tensor_sums import LARGEST, TensorSums, Terms, compact

from .learned_prior import Standing, reliability
from .variance_components import NUM_MOMENTS, GroupMoments, estimate, joined, noise_of


@dataclass(frozen=True)
class PoolingSettings:
    """How far weights are shared.

    Attributes:
        between: share of the prior's variance that lies between groups, in [0, 1]; None estimates it per tensor.
        within: variance of clients' weights around their group's mean, of the same unit as an inverse precision.
    """

    between: float | None
    within: float


class Pooling:
    """Sums the moments of a round, and keeps the current shares and variances of all tensors.

    Args:
        settings: given values.
        prior_precision: of the prior of every group's mean; the largest variance between groups is its inverse.
        names: of all tensors.
    """

    def __init__(self, settings: PoolingSettings, prior_precision: float, names: Collection[str]) -> None:
        self._settings, self._prior_precision, self._names = settings, prior_precision, names
        self._between: dict[str, float] = {}
        self._noise: dict[str, float] = {}
        self._sums: dict[str, TensorSums] = {}

    def checked(self, moments: Mapping[str, Tensor], names: Collection[str]) -> Terms:
        """Checks a client's moments, and returns them for `add`.

        Raises:
            KeyError: moments of a tensor that the message does not change.
            ValueError: a wrong shape, or numbers that are not finite or too large.
        """
        unknown = next((name for name in moments if name not in names), None)
        if unknown is not None:
            raise KeyError(f"moments of {unknown!r} expect a change of the same tensor in the message.")
        bad = next((name for name, value in moments.items() if value.shape != (NUM_MOMENTS,)), None)
        bad = _impossible(moments) if bad is None else bad
        if bad is not None:
            raise ValueError(
                f"moments of {bad!r} expect {NUM_MOMENTS} finite numbers up to {LARGEST_MOMENT:g}, none below 0, "
                f"weights above 0 of a client with images, and no more clients with noise than clients, got "
                f"{moments[bad].tolist()}."
            )
        return Terms.of(moments)

    def add(self, tasks: str, moments: Terms) -> None:
        """Adds a client's moments.

        Args:
            tasks: set of tasks of the client.
            moments: {tensor: `variance_components.moments`}, from `checked`.
        """
        self._sums.setdefault(tasks, TensorSums()).add(moments)

    def update(
        self,
        name: str,
        step_of: Callable[[str], tuple[Gaussian, Tensor, Tensor | None]],
        damping: float,
        homes: Mapping[str, str],
    ) -> None:
        """Estimates the shares of a tensor from this round's sums, where they are not given.

        Without the moments of a second group, earlier estimates stay.

        Args:
            name: of the tensor.
            step_of: returns, for a set of tasks, the sum of the changes of its clients' factors in this round, the
                weights from which they started, and the prior's mean if the group has one of its own; called only if
                variances between clients or groups are needed.
            damping: factor by which clients have damped their steps.
            homes: {set of tasks: its group}.
        """
        sent = self._sent(name, homes)
        noise = noise_of(sent.values())
        if noise > 0.0 and (self._settings.between is not None or len({homes[tasks] for tasks in sent}) < 2):
            self._noise[name] = noise
            return
        groups: dict[str, GroupMoments] = {}
        for tasks, sums in sent.items():
            change, start, center = step_of(tasks)
            step = weighted_step(change, start) / damping
            found = GroupMoments(sums, start if center is None else start - center, step)
            home = homes[tasks]
            groups[home] = joined(groups[home], found) if home in groups else found
        if not groups:
            return
        components = estimate(groups)
        self._noise[name] = components.noise
        if len(groups) > 1:
            self._between[name] = min(1.0, self._prior_precision * components.between)

    def standings(self, name: str, homes: Mapping[str, str]) -> dict[str, Standing]:
        """Returns {group: what is known of its mean of a tensor} (`learned_prior.py`), from this round's sums.

        Args:
            name: of the tensor.
            homes: {set of tasks: its group}.
        """
        totals: dict[str, Tensor] = {}
        for tasks, own in self._sent(name, homes).items():
            home = homes[tasks]
            if float(own[1]) > 0:
                totals[home] = totals[home] + own if home in totals else own
        return {group: Standing(float(own[0]), reliability(float(own[7] / own[1]))) for group, own in totals.items()}

    def _sent(self, name: str, homes: Mapping[str, str]) -> dict[str, Tensor]:
        """Returns {set of tasks: this round's sums of a tensor}, in an order that does not depend on the messages'."""
        known = {tasks: sums.get(name) for tasks, sums in sorted(self._sums.items()) if tasks in homes}
        return {tasks: own for tasks, own in known.items() if own is not None}

    def clear(self) -> None:
        """Starts the next round."""
        self._sums = {}

    def share(self, name: str) -> float:
        """Returns the share of the prior's variance of a tensor that lies between groups."""
        given = self._settings.between
        return self._between.get(name, 0.0) if given is None else given

    def noise(self, name: str) -> float:
        """Returns the estimated temperature of a tensor's posterior; 1 before any estimate."""
        return max(self._noise.get(name, 1.0), 1e-12)

    def broadcast(self) -> Message:
        """Returns the variance within groups of each tensor; nothing if it is 0."""
        if self._settings.within == 0.0:
            return {}
        return {key(TensorKind.WITHIN, name): torch.tensor(self._settings.within) for name in self._names}

    def state_dict(self) -> dict[str, Any]:
        """Returns the estimates and the sums of this round."""
        sums = {tasks: each.tensors() for tasks, each in self._sums.items()}
        return {"between": dict(self._between), "noise": dict(self._noise), "sums": sums}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state."""
        self._between, self._noise = dict(state["between"]), dict(state["noise"])
        self._sums = {tasks: TensorSums(each) for tasks, each in state["sums"].items()}


LARGEST_MOMENT: Final = LARGEST**2
"""Largest number in moments, which contain squares, and inverse of the smallest of those that are divisors."""


def _impossible(moments: Mapping[str, Tensor]) -> str | None:
    """Returns the name of a tensor whose moments no client can have sent: a later quotient might not be finite.

    Args:
        moments: {tensor: (9,)}.
    """
    if not moments:
        return None
    sums = torch.stack(list(moments.values())).double()
    has_weights = (sums[:, 0] == 0.0) | (sums[:, 1:5].amin(dim=1) >= 1.0 / LARGEST_MOMENT)
    measured = (sums[:, 8] >= 0.0) & (sums[:, 8] <= sums[:, 0])
    finite = (sums.abs() <= LARGEST_MOMENT).all(dim=1)  # not NaN either
    possible = finite & (sums[:, :7] >= 0.0).all(dim=1) & has_weights & measured
    return next((name for name, known in zip(moments, possible.tolist(), strict=True) if not known), None)


def weighted_step(change: Gaussian, start: Tensor) -> Tensor:
    """Returns the sum over clients of weight times damped step, which the changes of their factors contain.

    By `equations.new_factor`, the precision-weighted mean of a factor changes by the change of its precision times the
    start, plus weight times step.

    Args:
        change: sum over the clients of the changes of their factors.
        start: the weights from which they started, the group's mean.
    """
    return torch.addcmul(change.precision_mean, compact(change.precision), start, value=-1.0)
