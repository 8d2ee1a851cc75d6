"""The server's side of partitioned variational inference: the prior times the factors of all clients, by group."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from functools import partial, reduce
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from mtmedformer_monai.federated.gaussian import Gaussian, from_moments, mean_of
from mtmedformer_monai.federated.message import Message, TensorKind, Weights, key, names_by_kind, pick, without
from mtmedformer_monai.federated.running_sum import RunningSum
from mtmedformer_monai.federated.strategies.averaged import is_averaged
from mtmedformer_monai.federated.strategy import ServerRule
from mtmedformer_monai.federated.tensor_sums import Array, array_of, compact

from .factor_sums import Factor
from .hierarchy import homes_of
from .learned_prior import learned_prior
from .messages import DAMPING, PRIOR_NUMBER, group_name, prior_number_of, split_group
from .pooling import Pooling, PoolingSettings
from .posterior import Accumulator
from .step_guard import StepGuard

_logger = logging.getLogger(__name__)
_Networks = dict[str, dict[str, tuple[Tensor, Tensor]]]
"""{group: {weight: (mean, precision)}}."""
_BLOCK: Final = 16_384
"""Number of weights whose step is computed at once; they remain in the processor's cache."""
_Step = tuple[Gaussian, Tensor, Tensor | None]
"""The sum of the changes of factors in a round, the weights from which clients started, and their prior's mean."""


class PVIServer(ServerRule):
    """Adds changes of factors; the factors of absent clients are kept.

    Clients with nested sets of tasks form a group, and each group has a mean of its own (`hierarchy.py`). The global
    weights are the mean of the groups' means, weighted by the precision of their evidence. Statistics (`is_averaged`)
    are summed over all groups, without a prior.

    Args:
        weights: initial weights, which are the prior's mean.
        prior_precision: precision of the prior of every group's mean, counted once per group.
        pooling: how far groups and clients share their weights.
        prior_rounds: number of first rounds that learn the means of the groups' priors (`learned_prior.py`); factors
            end with each of them.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        prior_precision: float,
        pooling: PoolingSettings,
        prior_rounds: int = 0,
    ) -> None:
        self._weights = {name: value.detach().cpu().clone() for name, value in weights.items()}
        self._prior_precision, self._settings, self._prior_rounds = prior_precision, pooling, prior_rounds
        self._rounds = self._prior_number = 0
        self._homes: dict[str, str] = {}
        self._start_from_prior({})

    def _start_from_prior(self, centers: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Starts without evidence, from priors around the current weights, or around means of the groups' own."""
        learned = {name: value for name, value in self._weights.items() if not is_averaged(name, value)}
        counted = {name: value.shape for name, value in self._weights.items() if name not in learned}
        precision = torch.tensor(self._prior_precision, dtype=torch.float64)
        prior = {name: from_moments(value.double(), precision.expand(value.shape)) for name, value in learned.items()}
        self._precision = {
            name: torch.tensor(self._prior_precision).expand(value.shape) for name, value in learned.items()
        }
        self._posterior = Accumulator(prior, centers, self._homes)
        self._statistics = RunningSum(counted, kinds=(TensorKind.PRECISION_MEAN, TensorKind.PRECISION), changes=True)
        self._pooling = Pooling(self._settings, self._prior_precision, self._precision)
        self._groups = self._networks_of_priors(set(self._homes.values()))
        self._guard = StepGuard(1.0)
        self._touched: set[str] = set()

    def add(self, message: Mapping[str, Tensor]) -> None:
        """Adds the changes of one client to those of its set of tasks; nothing if its factor has ended."""
        tasks, rest = split_group(message)
        if self.has_ended(rest):
            _logger.info("A change of a factor is left out: the round that it belongs to has ended.")
            return
        rest.pop(PRIOR_NUMBER, None)
        moments = pick(rest, TensorKind.MOMENTS)
        rest = without(rest, TensorKind.MOMENTS)
        factor = _factor(rest, self._precision)
        others = {name: value for name, value in rest.items() if name.partition("/")[2] not in factor}
        change, sent = self._posterior.checked(factor), self._pooling.checked(moments, factor)
        self._statistics.add(others)
        self._pooling.add(tasks, sent)
        self._posterior.include(change, tasks, moments)
        self._touched |= set(factor)

    def close_round(self) -> None:
        """Updates the means of all weights with changes."""
        self._weights = self._statistics.weighted_means(self._weights)
        homes = self._posterior.homes()
        # factors that a round has kept remain, also if the number of rounds grows later
        learns_prior = self._prior_number == self._rounds < self._prior_rounds
        self._rounds += 1
        if learns_prior:
            self._learn_prior(homes)
        else:
            self._update(homes)

    def _learn_prior(self, homes: dict[str, str]) -> None:
        """Moves the priors to the means of this round, shrunk towards that of all groups, and ends all factors."""
        centers = self._posterior.centers()
        for name in sorted(self._touched):
            found = self._posterior.group_posteriors(name, 1.0)
            if not found:  # no sender has given precision
                continue
            means = {group: self._posterior.mean(name, group) for group in found}
            common, own = learned_prior(means, self._pooling.standings(name, homes))
            dtype = self._weights[name].dtype
            self._weights[name] = common.to(dtype)
            if len(own) > 1 or any(name in known for known in centers.values()):
                for group, mean in own.items():
                    centers.setdefault(group, {})[name] = mean.to(dtype)
        self._homes = homes
        self._prior_number += 1
        self._start_from_prior(self._of_groups(set(homes.values()), centers))

    def _of_groups(
        self, groups: Collection[str], centers: Mapping[str, Mapping[str, Tensor]]
    ) -> dict[str, dict[str, Tensor]]:
        """Returns the means of the priors of groups, without those of groups that have merged into others."""
        found = {group: dict(centers.get(group, {})) for group in groups}
        for group, own in found.items():
            for name in self._precision.keys() - own.keys():
                joint = self._posterior.center(name, group)  # of the groups that it contains
                if joint is not None:
                    own[name] = joint.to(self._weights[name].dtype)
        return {group: own for group, own in found.items() if own}

    def _update(self, homes: dict[str, str]) -> None:
        """Updates shares and posteriors of all weights with changes, and checks for divergence."""
        squared_step = squared_mean = 0.0
        groups = self._groups
        if any(homes.get(tasks) != home for tasks, home in self._homes.items()):
            self._touched, self._groups = set(self._precision), self._networks_of_priors(set(homes.values()))
        for name in sorted(self._touched):
            start_of = partial(self._start, name=name, groups=groups)
            self._posterior.place_newcomers(name, start_of, self._pooling.share(name))
            self._pooling.update(name, partial(self._step_of, name, groups, homes), self._guard.rate, homes)
            found = self._posterior.group_posteriors(name, self._pooling.share(name))
            means = {group: self._posterior.mean(name, group) for group in found}
            for group, value in found.items():
                squares = _squares(means[group], self._start(group, name, groups), value.precision)
                squared_step, squared_mean = squared_step + squares[0], squared_mean + squares[1]
            if found:
                self._set(name, found, means)
            else:  # all have withdrawn
                prior = self._posterior.prior(name)
                self._weights[name] = mean_of(prior).to(self._weights[name].dtype)
                self._precision[name] = prior.precision.float()
        self._homes = homes
        self._pooling.clear()
        self._posterior.end_round()
        self._guard.see(squared_step, squared_mean)
        self._touched = set()

    def _step_of(self, name: str, groups: _Networks, homes: Mapping[str, str], tasks: str) -> _Step:
        change, start = self._posterior.change_of_round(name, tasks), self._start(tasks, name, groups).double()
        return change, start, self._posterior.center(name, homes[tasks])

    def _set(self, name: str, found: Factor, means: Mapping[str, Tensor]) -> None:
        """Sets the mean and the precision of a tensor, of each group and of all groups together."""
        dtype = self._weights[name].dtype
        rounded = {id(mean): mean.to(dtype) for mean in means.values()}  # equal means remain one tensor
        for group, value in found.items():
            own = compact(value.precision).float().expand(value.precision.shape)
            self._groups.setdefault(group, {})[name] = (rounded[id(means[group])], own)
        if all(value is next(iter(found.values())) for value in found.values()):
            self._weights[name], self._precision[name] = self._groups[next(iter(found))][name]
            return
        mean, precision = _pooled(found, means, self._posterior.prior(name))
        self._weights[name], self._precision[name] = mean.to(dtype), precision.float()

    def broadcast(self) -> Message:
        """Returns the global mean and precision, the variance within groups, and damping."""
        message = {key(TensorKind.MEAN, name): value for name, value in self._weights.items()}
        message |= {key(TensorKind.PRECISION, name): value for name, value in self._precision.items()}
        message |= {**self._pooling.broadcast(), DAMPING: torch.tensor(self._guard.rate)}
        if self._prior_rounds > 0 or self._prior_number > 0:
            message[PRIOR_NUMBER] = torch.tensor(float(self.prior_number()))
        return message

    def broadcast_for(self, tasks: Collection[str]) -> Message:
        """Returns the mean and the precision of a group instead of the global ones, where the group has evidence."""
        message = self.broadcast()
        for name, (mean, precision) in self._groups.get(self.group_of(tasks), {}).items():
            message[key(TensorKind.MEAN, name)] = mean
            message[key(TensorKind.PRECISION, name)] = precision
        return message

    def prior_number(self) -> int:
        """Returns how often the prior has changed."""
        return self._prior_number

    def has_ended(self, message: Mapping[str, Tensor]) -> bool:
        """Returns whether a change refers to an earlier prior; that of a stock client, which states none, does not."""
        number = prior_number_of(message)
        return number is not None and number != self._prior_number

    def weights(self) -> Weights:
        """Returns the global mean."""
        return dict(self._weights)

    def group_of(self, tasks: Collection[str]) -> str:
        """Returns the name of the group of a set of tasks."""
        return self._home(group_name(tasks))

    def group_networks(self) -> dict[str, tuple[Weights, Weights]]:
        """Returns {group: (mean, precision)}, the precision at the estimated temperature of each tensor."""
        networks = {}
        for group in sorted(self._groups):
            sent = self.broadcast_for(group.split("+"))
            precision = {
                name: value / self._pooling.noise(name) for name, value in pick(sent, TensorKind.PRECISION).items()
            }
            networks[group] = (pick(sent, TensorKind.MEAN), precision)
        return networks

    def shares(self) -> dict[str, float]:
        """Returns {parameter: share of the prior's variance that lies between groups}: 0 pools fully, 1 not at all."""
        return {name: self._pooling.share(name) for name in self._precision}

    def state_dict(self) -> dict[str, Any]:
        """Returns the posterior, the prior, the statistics, the step guard and the messages added in this round."""
        return {
            "weights": dict(self._weights),
            "precision": dict(self._precision),
            "posterior": self._posterior.state_dict(),
            "homes": dict(self._homes),
            "groups": {
                group: {name: list(value) for name, value in network.items()} for group, network in self._groups.items()
            },
            "pooling": self._pooling.state_dict(),
            "statistics": dict(self._statistics.total),
            "guard": self._guard.state_dict(),
            "touched": sorted(self._touched),
            "rounds": self._rounds,
            "prior_number": self._prior_number,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state."""
        self._weights, self._rounds = dict(state["weights"]), int(state["rounds"])
        self._prior_number = int(state["prior_number"])
        self._start_from_prior({})
        self._precision = dict(state["precision"])
        self._posterior.load_state_dict(state["posterior"])
        self._groups = {
            group: {name: tuple(value) for name, value in network.items()} for group, network in state["groups"].items()
        }
        self._homes = dict(state["homes"])
        self._pooling.load_state_dict(state["pooling"])
        self._statistics.total = dict(state["statistics"])
        self._guard.load_state_dict(state["guard"])
        self._touched = set(state["touched"])

    def _networks_of_priors(self, groups: Collection[str]) -> _Networks:
        """Returns means and precisions of the priors that groups have of their own."""
        found: _Networks = {}
        for group in groups:
            for name, precision in self._precision.items():
                center = self._posterior.center(name, group)
                if center is not None:
                    own = torch.tensor(self._prior_precision).expand(precision.shape)
                    found.setdefault(group, {})[name] = (center.to(self._weights[name].dtype), own)
        return found

    def _home(self, tasks: str) -> str:
        """Returns the group of a set of tasks, also of a set that has sent nothing yet."""
        return self._homes.get(tasks) or homes_of([*self._homes, tasks])[tasks]

    def _start(self, tasks: str, name: str, groups: _Networks) -> Tensor:
        """Returns the weights of a tensor from which the clients of a set started this round."""
        known = groups.get(self._home(tasks), {}).get(name)
        return self._weights[name] if known is None else known[0]


def _squares(mean: Tensor, start: Tensor, precision: Tensor) -> tuple[float, float]:
    """Returns the squared lengths of the step from a start to a mean, and of this mean, in the metric of a precision.

    Block by block: the step of a whole tensor would be written to memory, and read again.

    Args:
        mean: float64.
        start: of any type.
        precision: diagonal, float64.
    """
    after, before, weight = array_of(mean), array_of(start), array_of(compact(precision))
    squares = [0.0, 0.0]
    for first in range(0, after.size, _BLOCK):
        part = slice(first, first + _BLOCK)
        own = weight[part] if weight.size > 1 else weight
        squares[0] += _squared(after[part] - before[part], own)
        squares[1] += _squared(after[part], own)
    return squares[0], squares[1]


def _squared(vector: Array, weight: Array) -> float:
    """Returns the weighted sum of squares."""
    return (
        float(np.dot(vector * weight, vector)) if weight.size > 1 else float(weight[0]) * float(np.dot(vector, vector))
    )


def _pooled(groups: Factor, means: Mapping[str, Tensor], prior: Gaussian) -> tuple[Tensor, Tensor]:
    """Returns the global mean and precision of one tensor: the groups' means, weighted by their evidence."""
    evidence = {group: (value.precision - prior.precision).clamp(min=0.0) for group, value in groups.items()}
    total = torch.stack(list(evidence.values())).sum(dim=0)
    weighted = reduce(torch.add, [evidence[group] * means[group] for group in groups])
    mean = torch.where(total > 0, weighted / total, next(iter(means.values())))
    return mean, prior.precision + total


def _factor(message: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> dict[str, Gaussian]:
    """Returns the natural parameters of the weights that have a posterior.

    Raises:
        KeyError: a precision-weighted mean without a precision, or the reverse.
    """
    names = names_by_kind(tuple(message))
    others = [
        own.keys() for kind, own in names.items() if kind not in (TensorKind.PRECISION_MEAN, TensorKind.PRECISION)
    ]
    means, precisions = (names.get(kind, {}) for kind in (TensorKind.PRECISION_MEAN, TensorKind.PRECISION))
    bad = (means.keys() ^ precisions.keys()).union(*others) & known.keys()
    if bad:
        name = min(bad)
        kinds = sorted(kind for kind, own in names.items() if name in own)
        raise KeyError(f"weight {name!r} expects precision_mean and precision, got {kinds}.")
    return {name: Gaussian(message[full], message[precisions[name]]) for name, full in means.items() if name in known}
