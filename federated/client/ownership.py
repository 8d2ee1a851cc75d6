"""Which tasks train each parameter, and how many of a client's training images have their labels.

A client sends only what it has trained: the encoder from all images with any label, a task's decoder from the images
with that task's label. In networks of stock bundles, which have no such parts, all parameters learn from all images.
"""

# N number of training images, B batch size

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
"""Name of the single task of a stock network."""

Labels = Mapping[str, Tensor]
"""{task: bool (N,), whether each image has a label}."""


class Ownership:
    """Maps each tensor of a network to its tasks and its number of training images.

    Args:
        tasks_of: {parameter or buffer: names of the tasks that it serves}.
        labels: of all training images; a missing task has none.

    Attributes:
        images_by_task: {task: number of images with its label}.
        num_samples: {parameter or buffer: number of images with a label of any of its tasks}.
    """

    def __init__(self, tasks_of: Mapping[str, frozenset[str]], labels: Labels) -> None:
        self.tasks_of = dict(tasks_of)
        self.images_by_task = {task: int(each.sum()) for task, each in labels.items()}
        counts = {tasks: count_any(labels, tasks) for tasks in set(self.tasks_of.values())}
        self.num_samples = {name: counts[tasks] for name, tasks in self.tasks_of.items()}

    def batch_counts(self, labels: Labels) -> dict[frozenset[str], int]:
        """Returns {set of tasks: number of images in a batch with a label of any of them}.

        Args:
            labels: {task: bool (B,)}.
        """
        return {tasks: count_any(labels, tasks) for tasks in set(self.tasks_of.values())}


def own(trainer: Any) -> Ownership:
    """Returns the ownership of a trainer's network: by task for a `HybridLoss`, else all tensors from all images.

    Parameters that are frozen, or that the optimizer does not update, are trained by no image.

    Args:
        trainer: MONAI's SupervisedTrainer.

    Raises:
        ValueError: the training dataset has no length.
    """
    dataset = trainer.data_loader.dataset
    if not hasattr(dataset, "__len__"):
        raise ValueError("a client expects training data with a length, got a stream; use a map-style Dataset.")
    network, tasks = bare(trainer.network), trained_tasks(trainer.loss_function)
    if not tasks:
        labels = {ALL: torch.ones(len(dataset), dtype=torch.bool)}
        return Ownership(_trained_only(trainer, {name: frozenset([ALL]) for name in network.state_dict()}), labels)
    batch = trainer.data_loader.collate_fn([dataset[0]])
    image, _ = trainer.prepare_batch(batch, trainer.state.device, False)
    tasks_of = tasks_reached(network, image, [task.name for task in tasks])
    return Ownership(_trained_only(trainer, tasks_of), labels_of(dataset, tasks, network))


def _trained_only(trainer: Any, tasks_of: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """Removes all tasks from parameters that are not trained."""
    trained = {id(each) for group in trainer.optimizer.param_groups for each in group["params"] if each.requires_grad}
    still = {name for name, each in bare(trainer.network).named_parameters() if id(each) not in trained}
    return {name: frozenset() if name in still else tasks for name, tasks in tasks_of.items()}


def trained_tasks(loss: Any) -> list[Task]:
    """Returns the tasks of a hybrid loss with nonzero weight; empty for any other loss."""
    return [task for task in loss.tasks if task.weight > 0] if isinstance(loss, HybridLoss) else []


def labels_of(dataset: Any, tasks: Sequence[Task], network: nn.Module | None = None) -> dict[str, Tensor]:
    """Returns which items of a dataset have labels, from their datalist entries without loading pixels.

    Args:
        dataset: with its datalist's items in `data`, as in MONAI's datasets and ours, or a `StudyDataset`.
        tasks: to look up. A study task (`StudyTask`) has a label if its source task has one.
        network: of studies, which knows the source tasks.
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
    """Returns whether a datalist item is annotated for a task; always true for self-supervised tasks."""
    if task.self_supervised:
        return True
    return bool(task.is_annotated(little_target(item, task)[None])[0])


def little_target(item: Mapping[str, Any], task: Task) -> Tensor:
    """Returns the target of a datalist item with masks of one pixel, without loading any pixels."""
    pixel = torch.zeros(1, 1)
    masks = {name: pixel for name, mask in (item.get(MASKS) or {}).items() if mask is not None}
    return torch.as_tensor(task.encode_target({**item, MASKS: masks}, (1, 1)))


def labels_of_batch(loss: Any, targets: Any, num_images: int) -> dict[str, Tensor]:
    """Returns {task: bool (B,)}, whether each image or study of a batch has a label.

    Several rows of one study (views or breasts) are combined.

    Args:
        loss: of the trainer.
        targets: as passed to the loss.
        num_images: B.
    """
    tasks = trained_tasks(loss)
    if not tasks:
        return {ALL: torch.ones(num_images, dtype=torch.bool)}
    return {task.name: task.is_annotated(targets[task.name]).reshape(num_images, -1).any(dim=1) for task in tasks}


def count_any(labels: Labels, tasks: frozenset[str]) -> int:
    """Returns the number of images with a label of any of these tasks."""
    known = [labels[task] for task in sorted(tasks) if task in labels]
    return int(torch.stack(known).any(dim=0).sum()) if known else 0


def _sources(network: nn.Module | None) -> dict[str, str]:
    """Returns {study task: image task whose labels it combines}."""
    fusions = getattr(network, "fusions", None)
    return {name: str(fusion.source) for name, fusion in fusions.items()} if fusions is not None else {}
