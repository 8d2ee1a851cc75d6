"""Which tasks a parameter serves, and how many of a site's training images have a label of them.

A client sends what it has trained: the encoder by all images with any label, a task's decoder by the images
with that task's label. A network of a stock bundle has no such parts: all of it learns from all images.
"""

# N training images, B images of a batch

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtmedformer_monai.data.study_dataset import StudyDataset
from mtmedformer_monai.engines.checkpointing.training_state import bare
from mtmedformer_monai.keys import MASKS
from mtmedformer_monai.losses.hybrid import HybridLoss
from mtmedformer_monai.tasks.base import Task

from .task_tensors import tasks_of_tensors as tasks_of_tensors
from .task_tensors import tasks_reached

ALL = "all"
"""Stands for the one task of a network that isn't ours."""

Labels = Mapping[str, Tensor]
"""{task: bool (N,), images with a label}."""


class Ownership:
    """What the tensors of a network learn from.

    Args:
        tasks_of: {parameter or buffer: names of the tasks that it serves}.
        labels: of all training images; a task that is left out has none.

    Attributes:
        images_by_task: {task: images with its label}.
        num_samples: {parameter or buffer: images with a label of any of its tasks}.
    """

    def __init__(self, tasks_of: Mapping[str, frozenset[str]], labels: Labels) -> None:
        self.tasks_of = dict(tasks_of)
        self.images_by_task = {task: int(each.sum()) for task, each in labels.items()}
        counts = {tasks: count_any(labels, tasks) for tasks in set(self.tasks_of.values())}
        self.num_samples = {name: counts[tasks] for name, tasks in self.tasks_of.items()}

    def batch_counts(self, labels: Labels) -> dict[frozenset[str], int]:
        """{tasks that a parameter may serve: images of a batch with a label of any of them}.

        Args:
            labels: {task: bool (B,)}.
        """
        return {tasks: count_any(labels, tasks) for tasks in set(self.tasks_of.values())}


def own(trainer: Any) -> Ownership:
    """What a trainer's network learns from: by task if its loss is a `HybridLoss`, else all from all.

    Parameters that are frozen, or that the optimizer doesn't have, are trained by no image.

    Args:
        trainer: MONAI's SupervisedTrainer.

    Raises:
        ValueError: the training data have no length.
    """
    dataset = trainer.data_loader.dataset
    if not hasattr(dataset, "__len__"):
        raise ValueError("a site expects training data with a length, got a stream; give its images as a Dataset.")
    network, tasks = bare(trainer.network), trained_tasks(trainer.loss_function)
    if not tasks:
        labels = {ALL: torch.ones(len(dataset), dtype=torch.bool)}
        return Ownership(_trained_only(trainer, {name: frozenset([ALL]) for name in network.state_dict()}), labels)
    batch = trainer.data_loader.collate_fn([dataset[0]])
    image, _ = trainer.prepare_batch(batch, trainer.state.device, False)
    tasks_of = tasks_reached(network, image, [task.name for task in tasks])
    return Ownership(_trained_only(trainer, tasks_of), labels_of(dataset, tasks, network))


def _trained_only(trainer: Any, tasks_of: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """No task for parameters that stay whatever the tasks say."""
    trained = {id(each) for group in trainer.optimizer.param_groups for each in group["params"] if each.requires_grad}
    still = {name for name, each in bare(trainer.network).named_parameters() if id(each) not in trained}
    return {name: frozenset() if name in still else tasks for name, tasks in tasks_of.items()}


def trained_tasks(loss: Any) -> list[Task]:
    """The tasks of a hybrid loss that count in it; none of any other loss."""
    return [task for task in loss.tasks if task.weight > 0] if isinstance(loss, HybridLoss) else []


def labels_of(dataset: Any, tasks: Sequence[Task], network: nn.Module | None = None) -> dict[str, Tensor]:
    """Which items of a dataset have a label, told from their datalist's entries: no pixel is loaded.

    Args:
        dataset: with its datalist's items in `data`, as ours and MONAI's have, or a `StudyDataset`.
        tasks: asked about. A study's task (`StudyTask`) has a label where its source has.
        network: of studies, which knows the sources.
    """
    if not isinstance(dataset, StudyDataset):
        return {task.name: torch.tensor([has_label(item, task) for item in dataset.data]) for task in tasks}
    sources = _sources(network)
    names = {task.name: sources.get(task.name, task.name) for task in tasks}
    by_image = labels_of(dataset.images, [task for task in tasks if task.name not in sources])
    views = [torch.tensor(list(study["views"].values())) for study in dataset.data]
    nowhere = torch.zeros(len(dataset.images.data), dtype=torch.bool)
    return {
        name: torch.stack([by_image.get(source, nowhere)[places].any() for places in views])
        for name, source in names.items()
    }


def has_label(item: Mapping[str, Any], task: Task) -> bool:
    """Whether an item of a datalist is annotated for a task. What a task hides by itself, every image has."""
    if task.self_supervised:
        return True
    pixel = torch.zeros(1, 1)
    masks = {name: pixel for name, mask in (item.get(MASKS) or {}).items() if mask is not None}
    target = task.encode_target({**item, MASKS: masks}, (1, 1))
    return bool(task.is_annotated(torch.as_tensor(target)[None])[0])


def labels_of_batch(loss: Any, targets: Any, num_images: int) -> dict[str, Tensor]:
    """{task: bool (B,)} of a batch; rows of several views or breasts of a study are one.

    Args:
        loss: of the trainer.
        targets: as it is given them.
        num_images: B.
    """
    tasks = trained_tasks(loss)
    if not tasks:
        return {ALL: torch.ones(num_images, dtype=torch.bool)}
    return {task.name: task.is_annotated(targets[task.name]).reshape(num_images, -1).any(dim=1) for task in tasks}


def count_any(labels: Labels, tasks: frozenset[str]) -> int:
    """How many images have a label of any of these tasks."""
    known = [labels[task] for task in sorted(tasks) if task in labels]
    return int(torch.stack(known).any(dim=0).sum()) if known else 0


def _sources(network: nn.Module | None) -> dict[str, str]:
    """{study task: image task whose labels it gathers}."""
    fusions = getattr(network, "fusions", None)
    return {name: str(fusion.source) for name, fusion in fusions.items()} if fusions is not None else {}
