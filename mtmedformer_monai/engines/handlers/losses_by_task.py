"""Mean losses of each task over an epoch of training or validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    """Adds the mean losses of the epoch and the learning rate to the metrics of a trainer.

    `loss` is the minimized joint loss. `loss_<task>` is the unweighted loss of a task, averaged over the batches of all
    processes in which the task is annotated, or NaN if there are none. `learning_rate` is that of the first parameter
    group at the end of the epoch.

    Args:
        loss: the trainer's loss.
    """

    def __init__(self, loss: HybridLoss) -> None:
        self._loss = loss
        self._means = MeanLosses(loss.tasks)

    def attach(self, engine: Engine) -> None:
        """Registers the handler on a trainer. List it before handlers that read the metrics."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._means.reset)
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self._update)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._compute)

    def _update(self, engine: Engine) -> None:
        joint = engine.state.output[CommonKeys.LOSS]
        self._means.update(joint, self._loss.last_losses, self._loss.last_present)

    def _compute(self, engine: Engine) -> None:
        engine.state.metrics.update(self._means.compute())
        engine.state.metrics["learning_rate"] = float(engine.optimizer.param_groups[0]["lr"])


class ValidationLosses:
    """Adds the mean validation losses to the metrics of an evaluator, under the names of `TaskLosses`.

    The loss is evaluated in evaluation mode, so validation does not change its weights or initial values. Batches
    without a target of every task are skipped.

    Args:
        loss: the trainer's loss.
    """

    def __init__(self, loss: HybridLoss) -> None:
        self._loss = loss
        self._means = MeanLosses(loss.tasks)

    def attach(self, engine: Engine) -> None:
        """Registers the handler on an evaluator."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._means.reset)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._update)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._compute)

    @torch.no_grad()
    def _update(self, engine: Engine) -> None:
        outputs, targets = engine.state.output[CommonKeys.PRED], engine.state.output[CommonKeys.LABEL]
        if all(task.name in targets for task in self._loss.tasks):
            with _evaluating(self._loss):
                joint = self._loss(outputs, targets)
            self._means.update(joint, self._loss.last_losses, self._loss.last_present)

    def _compute(self, engine: Engine) -> None:
        engine.state.metrics.update(self._means.compute())


class MeanLosses:
    """Accumulates the joint loss and the losses of the tasks.

    Args:
        tasks: tasks whose losses are accumulated.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._names = [LOSS, *(f"{LOSS}_{task.name}" for task in tasks)]
        self.reset()

    def reset(self) -> None:
        """Resets the accumulated state."""
        self._sums = torch.zeros(2, len(self._names), dtype=torch.float64)

    def update(self, joint: Tensor, losses: Tensor, present: Tensor) -> None:
        """Adds one batch, without waiting for the device.

        Args:
            joint: scalar; counted if any task is annotated.
            losses: (T,) losses of the tasks.
            present: bool (T,), whether the batch has a label of the task; the losses of other tasks are not counted.
        """
        values = torch.cat([joint.detach().reshape(1), losses]).double()
        counted = torch.cat([present.any().reshape(1), present])
        counts = counted.to(values.dtype)
        self._sums = self._sums.to(values.device) + torch.stack([torch.where(counted, values, counts), counts])

    def compute(self) -> dict[str, float]:
        """Returns the means over all processes; NaN where nothing was counted."""
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
