"""Mean losses of an epoch, task by task, in training and in validation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents
from monai.utils import CommonKeys
from torch import Tensor

from mtmedformer_monai.keys import LOSS
from mtmedformer_monai.losses.hybrid import HybridLoss
from mtmedformer_monai.tasks.base import Task


class TaskLosses:
    """Writes the epoch's mean losses and learning rate into the metrics of a trainer.

    `loss` is the joint loss that was minimized, `loss_<task>` a task's own, before it was weighed: a mean over the
    batches (of all processes) in which the task was annotated, NaN without any. `learning_rate` is the first
    parameter group's, at the end of the epoch.

    Args:
        loss: the trainer's loss.
    """

    def __init__(self, loss: HybridLoss) -> None:
        self._loss = loss
        self._means = MeanLosses(loss.tasks)

    def attach(self, engine: Engine) -> None:
        """Registers on a trainer. Put it before handlers that read the metrics."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._means.reset)
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self._update)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._compute)

    def _update(self, engine: Engine) -> None:
        self._means.update(engine.state.output[CommonKeys.LOSS], self._loss.last)

    def _compute(self, engine: Engine) -> None:
        engine.state.metrics.update(self._means.compute())
        engine.state.metrics["learning_rate"] = float(engine.optimizer.param_groups[0]["lr"])


class ValidationLosses:
    """The same means on an evaluator, which has no loss of its own; names as in `TaskLosses`.

    The loss is put into evaluation mode meanwhile: validation never moves its weights or initial values. Batches that
    lack a task's key are left out.

    Args:
        loss: the trainer's loss.
    """

    def __init__(self, loss: HybridLoss) -> None:
        self._loss = loss
        self._means = MeanLosses(loss.tasks)

    def attach(self, engine: Engine) -> None:
        """Registers on an evaluator."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._means.reset)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._update)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._compute)

    @torch.no_grad()
    def _update(self, engine: Engine) -> None:
        outputs, targets = engine.state.output[CommonKeys.PRED], engine.state.output[CommonKeys.LABEL]
        if all(task.name in targets for task in self._loss.tasks):
            with _evaluating(self._loss):
                joint = self._loss(outputs, targets)
            self._means.update(joint, self._loss.last)

    def _compute(self, engine: Engine) -> None:
        engine.state.metrics.update(self._means.compute())


class MeanLosses:
    """Sums and counts of the joint loss and the tasks' losses.

    Args:
        tasks: whose losses are kept.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._names = [LOSS, *(f"{LOSS}_{task.name}" for task in tasks)]
        self.reset()

    def reset(self) -> None:
        """Starts anew."""
        self._sums = torch.zeros(2, len(self._names), dtype=torch.float64)

    def update(self, joint: Tensor, by_task: Mapping[str, Tensor]) -> None:
        """Adds one batch. joint: scalar, counted where any task is annotated. by_task: annotated tasks only."""
        if not by_task:
            return
        values = {LOSS: joint, **{f"{LOSS}_{task}": value for task, value in by_task.items()}}
        for name, value in values.items():
            self._sums[:, self._names.index(name)] += torch.tensor([float(value.detach()), 1.0], dtype=torch.float64)

    def compute(self) -> dict[str, float]:
        """Means over all processes; NaN where nothing was counted."""
        sums = idist.all_reduce(self._sums.clone()) if idist.get_world_size() > 1 else self._sums
        return dict(zip(self._names, (sums[0] / sums[1]).tolist(), strict=True))


@contextmanager
def _evaluating(loss: HybridLoss) -> Iterator[None]:
    was_training = loss.training
    loss.eval()
    try:
        yield
    finally:
        loss.train(was_training)
