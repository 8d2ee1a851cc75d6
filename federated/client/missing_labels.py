"""Carries out what a strategy asks of a client whose images lack labels (`federated/teaching.py`), round by round.

Completed labels are computed at the start of a round from the images without augmentation, and enter the client's data
between the deterministic and the random transforms, so that masks and boxes move with their image. Distillation runs
the teacher on each augmented batch instead. A client that lacks nothing trains exactly as without teacher.
"""

# B batch, N number of training images

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mtmedformer_monai.data.radiograph_dataset import RadiographDataset
from mtmedformer_monai.data.study_dataset import StudyDataset
from mtmedformer_monai.engines.checkpointing.training_state import bare
from mtmedformer_monai.federated.teaching import Completion, Distillation, Teaching, teacher_of
from mtmedformer_monai.losses.hybrid import HybridLoss, annotated_loss
from mtmedformer_monai.tasks.base import Task

from .completed_labels import CompletedLabels
from .completion import completable, complete_batch, lacking
from .ownership import Ownership, labels_of, little_target, trained_tasks
from .taught_batches import WithCompletedParts, WithTeachers
from .taught_losses import CompletedLoss, DistilledLoss
from .teacher_network import TeacherNetwork

_logger = logging.getLogger(__name__)


class MissingLabels:
    """Prepares a trainer for rounds with and without teachers.

    Args:
        trainer: SupervisedTrainer of a client.
        ownership: by the client's own labels.

    Attributes:
        completed: {task: number of images with a completed label, or that are taught} in the current round.
    """

    def __init__(self, trainer: Any, ownership: Ownership) -> None:
        self._trainer, self._own = trainer, ownership
        self._prepare_batch = trainer.prepare_batch
        self.completed: dict[str, int] = {}

    def begin(self, teaching: Teaching | None, known_tasks: Sequence[str] = ()) -> Ownership:
        """Prepares the trainer for a round.

        Args:
            teaching: of the strategy; None trains on own labels alone.
            known_tasks: tasks that any client has labels for; others are not taught. Empty if it is unknown. Neither
                are tasks without an initial loss, by which a normalizing loss would have to divide what is taught.

        Returns:
            Which images train each parameter in this round.

        A stock bundle, whose loss is no `HybridLoss`, has one task and lacks no label of it.

        Raises:
            TypeError: labels are missing, and the data are studies; or they have to be completed, and the data are no
                `RadiographDataset`.
            ValueError: they have to be completed, and the data loader has persistent workers, which would not see them.
        """
        self._end()
        if teaching is None:
            return self._own
        scaled = _scaled_tasks(self._trainer.loss_function)
        tasks = [
            task
            for task in completable(trained_tasks(self._trainer.loss_function))
            if teacher_of(teaching.teachers, task.name)
            and task.name in scaled
            and (not known_tasks or task.name in known_tasks)
        ]
        if not any(bool(each.any()) for each in self._lacks(tasks).values()):
            return self._own
        try:
            self._check_data(teaching)
        except (TypeError, ValueError) as error:
            if not teaching.optional:
                raise
            _logger.warning("No missing labels are taught in this round, the site's own ones train it: %s", error)
            return self._own
        return self._distill(teaching, tasks) if isinstance(teaching, Distillation) else self._complete(teaching, tasks)

    def _end(self) -> None:
        """Removes everything of the previous round."""
        self.completed, self._trainer.prepare_batch = {}, self._prepare_batch
        if isinstance(self._trainer.loss_function, HybridLoss):
            self._trainer.loss_function.task_loss = annotated_loss
        dataset = self._trainer.data_loader.dataset
        if isinstance(dataset, RadiographDataset):
            dataset.on_prepared = None

    def _check_data(self, teaching: Teaching) -> None:
        loader = self._trainer.data_loader
        if isinstance(loader.dataset, StudyDataset):
            raise TypeError(
                "a strategy that teaches missing labels expects a dataset of single images, got a StudyDataset; choose "
                "a strategy such as `fedavg` for bundles that fuse the views of a study."
            )
        if isinstance(teaching, Distillation):
            return
        if not isinstance(loader.dataset, RadiographDataset):
            raise TypeError(
                f"completing labels expects a RadiographDataset, got {type(loader.dataset).__name__}; choose the "
                "strategy `condistfl`, which needs no access to the images before their augmentation."
            )
        if getattr(loader, "persistent_workers", False):
            raise ValueError("completing labels expects persistent_workers=False of the data loader, got True.")

    def _complete(self, teaching: Completion, tasks: Sequence[Task]) -> Ownership:
        trainer, labels = self._trainer, CompletedLabels(tasks)
        every, dataset = list(trainer.loss_function.tasks), trainer.data_loader.dataset
        teachers = TeacherNetwork(trainer, teaching.teachers, tasks, teaching.seed)
        for indices, batch in self._lacking_batches(tasks):
            image, targets = self._prepare_batch(batch, trainer.state.device, False)
            size = (int(image.shape[-2]), int(image.shape[-1]))
            found = complete_batch(every, targets, *teachers.predict(image), size, teaching.gate, teaching.soft)
            labels.add(indices, found)
        labels.drop_never_found()
        self.completed = {task.name: labels.count(task.name) for task in tasks}
        if not any(self.completed.values()):
            return self._own
        _logger.info("Completed labels by task: %s (%d bytes).", self.completed, labels.num_bytes())
        dataset.on_prepared = labels
        trainer.prepare_batch = WithCompletedParts(self._prepare_batch, tasks)
        trainer.loss_function.task_loss = CompletedLoss(teaching.weight)
        return self._joint({task.name: labels.mark(task.name, len(dataset)) for task in tasks})

    def _distill(self, teaching: Distillation, tasks: Sequence[Task]) -> Ownership:
        trainer = self._trainer
        teachers = TeacherNetwork(trainer, teaching.teachers, tasks)
        trainer.prepare_batch = WithTeachers(self._prepare_batch, tasks, teachers.outputs)
        trainer.loss_function.task_loss = DistilledLoss(teaching.weight, teaching.temperature)
        lacks = self._lacks(tasks)
        self.completed = {name: int(each.sum()) for name, each in lacks.items()}
        return self._joint(lacks)

    def _lacks(self, tasks: Sequence[Task]) -> dict[str, Tensor]:
        """Returns {task: whether each image lacks a label or a part of it, bool (N,)}, from the datalist."""
        dataset = self._trainer.data_loader.dataset
        if isinstance(dataset, RadiographDataset):
            return {task.name: torch.tensor([_lacks(item, task) for item in dataset.data]) for task in tasks}
        return {name: ~each for name, each in labels_of(dataset, tasks, bare(self._trainer.network)).items()}

    def _lacking_batches(self, tasks: Sequence[Task]) -> Iterator[tuple[list[int], Any]]:
        """Yields indices and batches of images that lack a label, without augmentation."""
        loader, lacks = self._trainer.data_loader, self._lacks(tasks)
        indices = torch.stack(list(lacks.values())).any(dim=0).nonzero()[:, 0].tolist()
        size = loader.batch_size or 1
        for start in range(0, len(indices), size):
            items = {index: loader.dataset.prepared(index) for index in indices[start : start + size]}
            readable = {index: item for index, item in items.items() if item is not None}
            if readable:
                yield list(readable), loader.collate_fn(list(readable.values()))

    def _joint(self, taught: Mapping[str, Tensor]) -> Ownership:
        """Returns the ownership by own and taught labels."""
        tasks = trained_tasks(self._trainer.loss_function)
        own = labels_of(self._trainer.data_loader.dataset, tasks, bare(self._trainer.network))
        joint = {name: each | taught[name] if name in taught else each for name, each in own.items()}
        return Ownership(self._own.tasks_of, joint)


def _lacks(item: Mapping[str, Any], task: Task) -> bool:
    return bool(lacking(task, little_target(item, task)[None]).any())


def _scaled_tasks(loss: Any) -> set[str]:
    """Returns the tasks whose loss has its scale: an initial loss, unless the loss does not divide by it."""
    if not isinstance(loss, HybridLoss):
        return set()
    unknown = loss.initial.isnan().tolist()
    return {task.name for task, each in zip(loss.tasks, unknown, strict=True) if not (loss.normalize and each)}
