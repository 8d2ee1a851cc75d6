"""What strategies that teach missing labels need at a site of the study: completed targets, and losses.

The package's parts on tensors in memory; `federated/client/missing_labels.py` does the same within a bundle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from federation_data import Data
from torch import Tensor

from mtmedformer_monai.federated.client.completion import complete_batch, lacking, spread
from mtmedformer_monai.federated.client.taught_losses import TEACHER, CompletedLoss, DistilledLoss
from mtmedformer_monai.federated.client.teacher_network import TeacherNetwork
from mtmedformer_monai.federated.teaching import Completion, Distillation, Teaching, teacher_of
from mtmedformer_monai.losses.hybrid import annotated_loss
from mtmedformer_monai.networks import MTMedFormer
from mtmedformer_monai.tasks import SegmentationTask
from mtmedformer_monai.tasks.base import Task

BATCH = 50


@dataclass
class Taught:
    """A site's round.

    Attributes:
        targets: {task: targets of all images (N, ...)}, own and completed.
        labels: {task: bool (N,)}, which images train it.
        loss: of a task, for `HybridLoss.task_loss`.
        teachers: run on each augmented batch, if outputs are distilled.
    """

    targets: dict[str, Tensor]
    labels: dict[str, Tensor]
    loss: Any = annotated_loss
    teachers: TeacherNetwork | None = None

    def outputs(self, image: Tensor) -> dict[str, Tensor]:
        """Returns the teachers' outputs on a batch as targets; empty if nothing is distilled."""
        found = self.teachers.outputs(image) if self.teachers else {}
        return {f"{name}{TEACHER}": value for name, value in found.items()}


def prepare(network: MTMedFormer, tasks: Sequence[Task], data: Data, teaching: Teaching | None) -> Taught:
    """Prepares a round.

    Args:
        network: of the site, for its architecture.
        tasks: that any site has labels for.
        data: of the site.
        teaching: of the strategy; None trains on own labels alone.
    """
    labels = data.labels(tasks)
    own = Taught({name: data.targets[name] for name in labels}, labels)
    missing = [
        task
        for task in tasks
        if teaching and teacher_of(teaching.teachers, task.name) and bool(lacking(task, data.targets[task.name]).any())
    ]
    if teaching is None or not missing:
        return own
    trainer = SimpleNamespace(network=network, inferer=lambda image, net: net(image))
    if isinstance(teaching, Distillation):
        return _distilled(own, data, missing, teaching, TeacherNetwork(trainer, teaching.teachers, missing))
    experts = TeacherNetwork(trainer, teaching.teachers, missing, teaching.seed)
    return _completed(own, data, tasks, missing, teaching, experts)


def _distilled(
    own: Taught, data: Data, missing: Sequence[Task], teaching: Distillation, teachers: TeacherNetwork
) -> Taught:
    targets = own.targets | {task.name: data.targets[task.name] for task in missing}
    labels = own.labels | {task.name: torch.ones(len(data), dtype=torch.bool) for task in missing}
    return Taught(targets, labels, DistilledLoss(teaching.weight, teaching.temperature), teachers)


def _completed(
    own: Taught,
    data: Data,
    tasks: Sequence[Task],
    missing: Sequence[Task],
    teaching: Completion,
    experts: TeacherNetwork,
) -> Taught:
    parts: dict[str, list[Tensor]] = {task.name: [] for task in missing}
    for rows in torch.arange(len(data)).split(BATCH):
        batch = data.take(rows)
        size = (int(batch.image.shape[-2]), int(batch.image.shape[-1]))
        found = complete_batch(tasks, batch.targets, *experts.predict(batch.image), size, teaching.gate, teaching.soft)
        for name in parts:
            parts[name].append(found[name][0] if name in found else batch.targets[name])
    targets = {task.name: _without_never_found(task, torch.cat(parts[task.name]), data) for task in missing}
    every = own.targets | targets
    labels = {task.name: task.is_annotated(every[task.name]) for task in tasks if task.name in every}
    known = {name: each for name, each in labels.items() if bool(each.any())}
    return Taught({name: every[name] for name in known}, known, CompletedLoss(teaching.weight))


def _without_never_found(task: Task, target: Tensor, data: Data) -> Tensor:
    """Reverts structures and boxes that the teacher finds in none of the site's images."""
    own, completed = data.targets[task.name], lacking(task, data.targets[task.name])
    if isinstance(task, SegmentationTask):
        found = (target.nan_to_num() > 0).flatten(2).any(dim=2).any(dim=0)
        return torch.where(spread(completed & ~found, target), own, target)
    if target.ndim == 3 and not bool((target[..., -1].nan_to_num(-1.0) >= 0).any()):
        return own
    return target


def with_outputs(targets: Mapping[str, Tensor], taught: Taught, image: Tensor) -> dict[str, Tensor]:
    """Returns the targets of an augmented batch, with the teachers' outputs if there are any."""
    return {**targets, **taught.outputs(image)}
