"""Control of the federation study: averages per group of clients, shrunk towards a mean of all groups.

After each round but the last, a group with the average m of its clients' weights goes on from `(1 - s) m + s mu`. The
mean mu of all groups is weighted by images, those of groups with masks several times, because a mask says more about
the weights than a box or a class. After the last round, each group keeps its own average.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from mtmedformer_monai.federated.pvi.hierarchy import homes_of
from mtmedformer_monai.federated.pvi.messages import group_name, group_tags, split_group, tasks_with_images
from mtmedformer_monai.federated.strategies.fedavg import AveragingClient
from mtmedformer_monai.federated.strategy import (
    ClientRule,
    LocalTraining,
    Message,
    ServerRule,
    Strategy,
    TensorKind,
    Weights,
    key,
)
from mtmedformer_monai.federated.tensor_sums import TensorSums, Terms
from mtmedformer_monai.layers.permutation_groups import PermutationGroups


class GroupShrinkage(Strategy):
    """Averages of groups with nested tasks, shrunk towards the mean of all groups between rounds.

    Args:
        num_rounds: of the federation.
        shrink: s, in [0, 1]: 0 is one federation per group, 1 shares one mean until the last round.
        mask_weight: weight of an image of a group with one of the `mask_tasks` in the mean of all groups.
        mask_tasks: names of segmentation tasks.
    """

    is_personal = True

    def __init__(
        self,
        num_rounds: int,
        shrink: float = 0.7,
        mask_weight: float = 10.0,
        mask_tasks: Collection[str] = ("lung", "opacity", "lesion"),
    ) -> None:
        self.num_rounds, self.shrink = num_rounds, shrink
        self.mask_weight, self.mask_tasks = mask_weight, frozenset(mask_tasks)

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """Returns a client that averages, and tells its tasks."""
        return _TaggedClient()

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """Returns a server that starts from common weights."""
        return _ShrinkingServer(weights, self)


class _TaggedClient(AveragingClient):
    def send(self, training: LocalTraining) -> Message:
        """Returns `n w` and `n`, and the client's tasks."""
        return {**super().send(training), **group_tags(tasks_with_images(training.images_by_task))}


class _ShrinkingServer(ServerRule):
    def __init__(self, weights: Mapping[str, Tensor], settings: GroupShrinkage) -> None:
        self._weights = {name: value.detach().clone() for name, value in weights.items()}
        self._settings, self._rounds = settings, 0
        self._sums: dict[str, TensorSums] = {}
        self._groups: dict[str, Weights] = {}
        self._homes: dict[str, str] = {}

    def add(self, message: Mapping[str, Tensor]) -> None:
        """Adds a client's terms to those of its set of tasks."""
        tasks, terms = split_group(message)
        self._sums.setdefault(tasks, TensorSums()).add(Terms.of(terms))

    def close_round(self) -> None:
        """Computes the groups' averages, and shrinks them unless this was the last round."""
        self._rounds += 1
        self._homes = homes_of(self._sums)
        joined: dict[str, TensorSums] = {}
        for tasks, sums in self._sums.items():
            joined.setdefault(self._homes[tasks], TensorSums()).add(Terms.of(sums.tensors()))
        groups = {group: sums.tensors() for group, sums in joined.items()}
        self._groups, self._sums = {group: {} for group in groups}, {}
        share = self._settings.shrink if self._rounds < self._settings.num_rounds else 0.0
        for name, before in self._weights.items():
            weighted, images = (
                {group: terms[key(kind, name)] for group, terms in groups.items() if key(kind, name) in terms}
                for kind in (TensorKind.PRECISION_MEAN, TensorKind.PRECISION)
            )
            if not images:
                continue
            factor = {group: self._weight_of(group) for group in images}
            total = torch.stack([factor[group] * images[group] for group in images]).sum(dim=0)
            mean = torch.stack([factor[group] * weighted[group] for group in images]).sum(dim=0) / total
            self._weights[name] = mean.to(before.dtype)
            for group in images:
                own = weighted[group] / images[group]
                self._groups[group][name] = torch.lerp(own, mean, share).to(before.dtype)

    def broadcast(self) -> Message:
        """Returns the mean of all groups."""
        return {key(TensorKind.MEAN, name): value for name, value in self._weights.items()}

    def broadcast_for(self, tasks: Collection[str]) -> Message:
        """Returns a group's weights, and the mean of all where it trains nothing."""
        own = self._groups.get(self._homes.get(group_name(tasks), ""), {})
        return self.broadcast() | {key(TensorKind.MEAN, name): value for name, value in own.items()}

    def state_dict(self) -> dict[str, Any]:
        """Returns the weights of all and of each group, the messages added in this round, and the number of rounds."""
        sums = {tasks: each.tensors() for tasks, each in self._sums.items()}
        groups = {group: dict(weights) for group, weights in self._groups.items()}
        own = {"weights": dict(self._weights), "groups": groups, "homes": dict(self._homes)}
        return {**own, "sums": sums, "rounds": self._rounds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state."""
        self._weights, self._rounds = dict(state["weights"]), int(state["rounds"])
        self._groups = {group: dict(weights) for group, weights in state["groups"].items()}
        self._homes = dict(state["homes"])
        self._sums = {tasks: TensorSums(each) for tasks, each in state["sums"].items()}

    def _weight_of(self, group: str) -> float:
        return self._settings.mask_weight if self._settings.mask_tasks & set(group.split("+")) else 1.0
