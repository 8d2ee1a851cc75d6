"""One run of the federation study: sites, server and rounds in one process, by the package's own strategies."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from federation_data import Data, join
from federation_methods import GIVEN, Method
from federation_metrics import Evaluation, combine, evaluate, flatten
from federation_starts import Starts, first_weights, make_network, measure_scales
from federation_training import Plan, Site
from federation_worlds import Images, World

from mtmedformer_monai.federated.client.own_weights import groups_of
from mtmedformer_monai.federated.client.personal import personal_weights
from mtmedformer_monai.federated.client.task_tensors import tasks_reached
from mtmedformer_monai.federated.message import Message, Weights
from mtmedformer_monai.tasks import SegmentationTask
from mtmedformer_monai.tasks.base import Task

ALL = "all sites"
COMMON = Starts()
"""No weights but the common initial ones."""


def run(
    world: World,
    method: Method,
    plan: Plan,
    on: str = "test",
    starts: Starts = COMMON,
) -> dict[str, Any]:
    """Trains by a method, and returns its metrics.

    Args:
        world: sites and images.
        method: strategy or control.
        plan: of the training, equal for all methods.
        on: 'validation' or 'test', the images that are measured.
        starts: weights for `method.start`.

    Returns:
        Metrics (`federation_metrics.flatten`), megabytes that were sent up and down, and seconds.
    """
    images = world.validation if on == "validation" else world.test
    owners = owners_of(world.tasks, world.sites)
    found, traffic, seconds = [], [0, 0], [0.0, 0.0]
    for names, tasks in _groups(method, owners, world):
        started = time.process_time(), time.monotonic()
        federation = Federation(world.tasks, _sites(method, world, names), method, plan, starts)
        for _ in range(plan.rounds):
            federation.run_round()
        for _ in range(federation.server.extra_rounds()):
            federation.run_round()
        seconds = [seconds[0] + time.process_time() - started[0], seconds[1] + time.monotonic() - started[1]]
        found.append((tasks, federation.evaluate(images, owners, list(world.sites))))
        traffic = [one + other for one, other in zip(traffic, federation.traffic, strict=True)]
    merged = _merge(found)
    return flatten(merged, owners) | {
        "megabytes_up": traffic[0] / 1e6,
        "megabytes_down": traffic[1] / 1e6,
        "cpu_seconds": seconds[0],
        "wall_seconds": seconds[1],
    }


class Federation:
    """Server and sites, which train in turns in one network.

    Args:
        tasks: of the network.
        sites: {site: its training data}.
        method: strategy and its settings.
        plan: of the training; its seed draws the common initial weights.
        starts: weights for `method.start`; of all sites if the method starts from those that have trained alone.

    Attributes:
        traffic: bytes of the messages up and down; a tensor with one value throughout counts as one number.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        sites: Mapping[str, Data],
        method: Method,
        plan: Plan,
        starts: Starts = COMMON,
    ) -> None:
        self.network = make_network(tasks, plan.seed, plan.fine_maps)
        self.traffic = [0, 0]
        self._method = method
        self._last: dict[str, Weights] = {}
        strategy, groups = method.make(plan.rounds), groups_of(self.network)
        first, self._joining = first_weights(self.network, sites, method.start, starts)
        if method.start == GIVEN:  # as in the package, where a server knows no other weights
            self.network.load_state_dict(first)
        self.scales = measure_scales(self.network, tasks, sites)
        self.server = strategy.server(first)
        self._tasks = [task for task in tasks if task.name in self.scales]
        names = [task.name for task in self._tasks]
        reached = tasks_reached(self.network, next(iter(sites.values())).image[:1], names)
        self.sites = {
            name: Site(self.network, tasks, data, strategy.client(groups), reached, self.scales, plan, number)
            for number, (name, data) in enumerate(sites.items())
        }

    def run_round(self) -> None:
        """Trains all sites from one broadcast, and aggregates their messages."""
        broadcasts = {name: self.server.broadcast_for(site.tasks) for name, site in self.sites.items()}
        for name, site in self.sites.items():
            broadcast = broadcasts[name]
            self.traffic[1] += size_of(broadcast)
            self.network.load_state_dict(site.rule.receive(broadcast), strict=False)
            self.network.load_state_dict(self._joining.pop(name, {}), strict=False)
            training = site.train()
            if self._method.last:
                self._last[name] = dict(training.weights)
            if all(bool(torch.isfinite(value).all()) for value in training.weights.values()):
                message = site.rule.send(training)
                self.traffic[0] += size_of(message)
                self.server.add(message)
        self.server.close_round()

    def evaluate(self, images: Images, owners: Mapping[str, Mapping[str, int]], names: Sequence[str]) -> Evaluation:
        """Measures the global network, or the sites' own ones.

        Args:
            images: of the world.
            owners: {task: {site: number of images}}.
            names: of all sites of the world, which the global network serves.
        """
        if not self._method.personal:
            self.network.load_state_dict(self.server.weights(), strict=False)
            return evaluate(self.network, self._tasks, images, self.scales, names)
        parts = {}
        for name in self.sites:
            self.network.load_state_dict(self.own_weights(name), strict=False)
            parts[name] = evaluate(self.network, self._tasks, images, self.scales, [name])
        return combine(parts, owners, images.rows)

    def own_weights(self, name: str) -> Weights:
        """Returns the weights with which a site infers if networks are personal."""
        if self._method.last:
            return self._last[name]
        site = self.sites[name]
        return personal_weights(site.rule, self.server.broadcast_for(site.tasks), self._method.own_share)


def owners_of(tasks: Sequence[Task], sites: Mapping[str, Data]) -> dict[str, dict[str, int]]:
    """Returns {task: {site: number of its annotated images}}, without sites and tasks that have none."""
    counts: dict[str, dict[str, int]] = {}
    for site, data in sites.items():
        for task, annotated in data.labels(tasks).items():
            counts.setdefault(task, {})[site] = int(annotated.sum())
    return {task.name: counts[task.name] for task in tasks if task.name in counts}


def size_of(message: Message) -> int:
    """Returns the bytes of a message; a tensor with one value throughout counts as one number."""
    return sum(
        value.element_size() * (1 if value.numel() and bool((value == value.flatten()[0]).all()) else value.numel())
        for value in message.values()
    )


def _sites(method: Method, world: World, names: Sequence[str]) -> dict[str, Data]:
    if method.sites == "pooled":
        return {ALL: join(list(world.sites.values()))}
    return {name: world.sites[name] for name in names}


def _groups(
    method: Method, owners: Mapping[str, Mapping[str, int]], world: World
) -> list[tuple[Sequence[str], Sequence[str]]]:
    """Returns the federations of a method, each with its sites and the tasks that it serves."""
    if method.sites != "owners":
        return [(list(world.sites), list(owners))]
    groups: dict[tuple[str, ...], list[str]] = {}
    for task in world.tasks:
        if isinstance(task, SegmentationTask) and task.name in owners:
            groups.setdefault(tuple(owners[task.name]), []).append(task.name)
    return list(groups.items())


def _merge(found: Sequence[tuple[Sequence[str], Evaluation]]) -> Evaluation:
    """Returns each task's metrics from the federation that serves it."""
    merged = Evaluation({}, {}, {})
    for tasks, each in found:
        merged.tasks.update({task: each.tasks[task] for task in tasks})
        merged.images.update({task: each.images[task] for task in tasks if task in each.images})
        merged.best.update(each.best)
        for site, scores in each.sites.items():
            merged.sites.setdefault(site, {}).update({task: scores[task] for task in tasks})
    return merged
