"""The server's side of partitioned variational inference: the prior times the factors of all clients, by group."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mtmedformer_monai.federated.gaussian import Gaussian, from_moments, mean_of
from mtmedformer_monai.federated.running_sum import RunningSum
from mtmedformer_monai.federated.strategies.averaged import is_averaged
from mtmedformer_monai.federated.strategy import Message, ServerRule, TensorKind, Weights, key, pick, without

from .hierarchy import homes_of
from .messages import DAMPING, POOLED, PRIOR_NUMBER, group_name, split_group
from .pooling import Pooling, PoolingSettings
from .posterior import Accumulator, Factor
from .step_guard import StepGuard


class PVIServer(ServerRule):
    """Adds changes of factors; the factors of absent clients are kept.

    Clients with nested sets of tasks form a group, and each group has a mean of its own (`hierarchy.py`). The global
    weights are the mean of the groups' means, weighted by the precision of their evidence. Statistics (`is_averaged`)
    are summed over all groups, without a prior.

    Args:
        weights: initial weights, which are the prior's mean.
        prior_precision: precision of the prior of every group's mean, counted once per group.
        pooling: how far groups and clients share their weights.
        pooled_rounds: number of first rounds in which all clients learn the prior's mean together, by averaging.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        prior_precision: float,
        pooling: PoolingSettings,
        pooled_rounds: int = 0,
    ) -> None:
        self._weights = {name: value.detach().cpu().clone() for name, value in weights.items()}
        self._prior_precision, self._settings, self._pooled_rounds = prior_precision, pooling, pooled_rounds
        self._rounds = 0
        self._start_from_prior()

    def _start_from_prior(self) -> None:
        """Starts without evidence, from a prior around the current weights."""
        learned = {name: value for name, value in self._weights.items() if not is_averaged(name, value)}
        counted = {name: value.shape for name, value in self._weights.items() if name not in learned}
        precision = torch.tensor(self._prior_precision, dtype=torch.float64)
        prior = {name: from_moments(value.double(), precision.expand(value.shape)) for name, value in learned.items()}
        self._precision = {name: torch.full(value.shape, self._prior_precision) for name, value in learned.items()}
        self._posterior = Accumulator(prior)
        self._statistics = RunningSum(counted, kinds=(TensorKind.PRECISION_MEAN, TensorKind.PRECISION), changes=True)
        settings = replace(self._settings, between=0.0) if self._rounds < self._pooled_rounds else self._settings
        self._pooling = Pooling(settings, self._prior_precision, self._precision)
        self._groups: dict[str, Factor] = {}
        self._homes: dict[str, str] = {}
        self._guard = StepGuard(1.0)
        self._touched: set[str] = set()

    def add(self, message: Mapping[str, Tensor]) -> None:
        """Adds the changes of one client to those of its set of tasks."""
        tasks, rest = split_group(message)
        moments = pick(rest, TensorKind.MOMENTS)
        rest = without(rest, TensorKind.MOMENTS)
        factor = _factor(rest, self._precision)
        others = {name: value for name, value in rest.items() if name.partition("/")[2] not in factor}
        self._posterior.check(factor)
        self._pooling.check(moments, factor)
        self._statistics.add(others)
        self._pooling.add(tasks, moments, factor)
        self._posterior.add(factor, tasks)
        self._touched |= set(factor)

    def close_round(self) -> None:
        """Updates the means of all weights with changes, and checks for divergence."""
        self._weights = self._statistics.weighted_means(self._weights)
        squared_step = squared_mean = 0.0
        homes, groups = self._posterior.homes(), self._groups
        if any(homes[tasks] != home for tasks, home in self._homes.items()):
            self._touched, self._groups = set(self._precision), {}
        for name in sorted(self._touched):
            starts = {tasks: self._start(tasks, name, groups) for tasks in self._pooling.senders(name)}
            self._pooling.update(name, starts, self._guard.rate, homes)
            found = self._posterior.group_posteriors(name, self._pooling.share(name))
            for group, value in found.items():
                mean, before = mean_of(value), self._start(group, name, groups)
                squared_step += float((value.precision * (mean - before).square()).sum())
                squared_mean += float((value.precision * mean.square()).sum())
                self._groups.setdefault(group, {})[name] = value
            if not found:
                continue
            pooled = _pooled(list(found.values()), self._posterior.prior(name))
            self._weights[name] = mean_of(pooled).to(self._weights[name].dtype)
            self._precision[name] = pooled.precision.float()
        self._homes = homes
        self._pooling.clear()
        self._guard.see(squared_step, squared_mean)
        self._touched = set()
        self._rounds += 1
        if self._rounds <= self._pooled_rounds:
            self._start_from_prior()

    def broadcast(self) -> Message:
        """Returns the global mean and precision, the variance within groups, and damping."""
        message = {key(TensorKind.MEAN, name): value for name, value in self._weights.items()}
        message |= {key(TensorKind.PRECISION, name): value for name, value in self._precision.items()}
        message |= {**self._pooling.broadcast(), DAMPING: torch.tensor(self._guard.rate)}
        if self._pooled_rounds > 0:
            message[PRIOR_NUMBER] = torch.tensor(float(min(self._rounds, self._pooled_rounds)))
        if self._rounds < self._pooled_rounds:
            message[POOLED] = torch.ones(())
        return message

    def broadcast_for(self, tasks: Collection[str]) -> Message:
        """Returns the mean and the precision of a group instead of the global ones, where the group has evidence."""
        message = self.broadcast()
        for name, value in self._groups.get(self._home(group_name(tasks)), {}).items():
            message[key(TensorKind.MEAN, name)] = mean_of(value).to(self._weights[name].dtype)
            message[key(TensorKind.PRECISION, name)] = value.precision.float()
        return message

    def weights(self) -> Weights:
        """Returns the global mean."""
        return dict(self._weights)

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
                group: {name: list(value) for name, value in factor.items()} for group, factor in self._groups.items()
            },
            "pooling": self._pooling.state_dict(),
            "statistics": dict(self._statistics.total),
            "guard": self._guard.state_dict(),
            "touched": sorted(self._touched),
            "rounds": self._rounds,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state."""
        self._weights, self._rounds = dict(state["weights"]), int(state.get("rounds", 0))
        self._start_from_prior()
        self._precision = dict(state["precision"])
        self._posterior.load_state_dict(state["posterior"])
        self._groups = {
            group: {name: Gaussian(*value) for name, value in factor.items()}
            for group, factor in state["groups"].items()
        }
        self._homes = dict(state["homes"])
        self._pooling.load_state_dict(state["pooling"])
        self._statistics.total = dict(state["statistics"])
        self._guard.load_state_dict(state["guard"])
        self._touched = set(state["touched"])

    def _home(self, tasks: str) -> str:
        """Returns the group of a set of tasks, also of a set that has sent nothing yet."""
        return self._homes.get(tasks) or homes_of([*self._homes, tasks])[tasks]

    def _start(self, tasks: str, name: str, groups: Mapping[str, Factor]) -> Tensor:
        """Returns the weights of a tensor from which the clients of a set started this round, in float64."""
        value = groups.get(self._home(tasks), {}).get(name)
        return (mean_of(value) if value is not None else self._weights[name]).to(self._weights[name].dtype).double()


def _pooled(groups: list[Gaussian], prior: Gaussian) -> Gaussian:
    """Returns the global posterior of one tensor: the groups' means, weighted by the precision of their evidence."""
    if len(groups) == 1 or all(value is groups[0] for value in groups):
        return groups[0]
    evidence = [(value.precision - prior.precision).clamp(min=0.0) for value in groups]
    total = sum(evidence[1:], evidence[0])
    weighted = sum((each * mean_of(value) for each, value in zip(evidence, groups, strict=True)), torch.zeros(()))
    mean = torch.where(total > 0, weighted / total, mean_of(groups[0]))
    return from_moments(mean, prior.precision + total)


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
