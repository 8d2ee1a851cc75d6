"""The hybrid loss, which combines the losses of several tasks and ignores missing labels.

Axes: T tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from mtmedformer_monai.tasks.base import Task

from .balance import is_training_step, make_balance, mean_over_ranks, scale_for_mean_over_ranks
from .implied_mask import ImpliedMask

INITIAL_BATCHES = 16
"""Number of batches over which an initial loss is averaged; a single batch may contain no box or only one class."""

TaskLoss = Callable[[Task, Mapping[str, Tensor], Mapping[str, Tensor]], Tensor]
"""Returns the loss of one task, a scalar, from {task: raw output} and {task: target} of a batch."""


def annotated_loss(task: Task, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
    """Returns the task's own loss, a mean over annotated images."""
    return task.loss(outputs[task.name], targets[task.name])


class HybridLoss(nn.Module):
    """Combines the losses of all tasks that have a label in the batch.

    The loss of each task is divided by its initial value, so that all tasks start with equal losses (with such
    normalization, fixed weights perform as well as most adaptive ones: Kurin et al., NeurIPS 2022), multiplied by the
    task's weight, and combined by the balance. The initial value is the running mean over the first 16 training batches
    in which the task has a label, and is constant afterwards.

    Args:
        tasks: the network's tasks.
        balance: 'fixed', 'uncertainty' or 'famo'.
        normalize: whether to divide by the initial losses.
        initial: {task: initial loss} to use instead of measured values. It is needed in a federation, where weights
            that differ between clients would make the precisions of their approximate likelihoods incomparable.
        implied: masks that boxes and classes say something about. Their losses are added to those of their tasks, and
            divided by the same initial values, but are neither part of these nor of `last_losses`.

    Attributes:
        initial: (T,) initial losses, NaN for a task without a label so far; part of the state dict, as is `num_seen`.
        num_seen: (T,) number of batches that the initial losses are averaged over.
        last_losses: (T,) detached, unweighted losses of the last batch, on its device.
        last_present: bool (T,), whether the last batch has a label of the task.
        task_loss: computes the loss of each task; `annotated_loss`, unless labels of the batch are completed by a
            teacher (`federated/client/missing_labels.py`).

    Raises:
        ValueError: if the balance is unknown, `initial` contains an unknown task or a value that is not above 0, or an
            implied mask does not fit the tasks.
    """

    initial: Tensor
    num_seen: Tensor
    weights: Tensor
    implied_tasks: Tensor

    def __init__(
        self,
        tasks: Sequence[Task],
        balance: str = "fixed",
        normalize: bool = True,
        initial: Mapping[str, float] | None = None,
        implied: Sequence[ImpliedMask] = (),
    ) -> None:
        super().__init__()
        self.tasks = list(tasks)
        self.implied = list(implied)
        for mask in self.implied:
            mask.resolve(self.tasks)
        owners = [[task.name == mask.task for task in self.tasks] for mask in self.implied]
        self.register_buffer("implied_tasks", torch.tensor(owners, dtype=torch.bool), persistent=False)
        self.balance = make_balance(balance, len(self.tasks))
        self.normalize = normalize
        given = _check_initial(initial or {}, [task.name for task in self.tasks])
        self.register_buffer("initial", given)
        self.register_buffer("num_seen", torch.where(torch.isnan(given), 0, INITIAL_BATCHES))
        self.register_buffer("weights", torch.tensor([task.weight for task in self.tasks]), persistent=False)
        self.last_losses = torch.zeros(len(self.tasks))
        self.last_present = torch.zeros(len(self.tasks), dtype=torch.bool)
        self.task_loss: TaskLoss = annotated_loss

    @property
    def last(self) -> dict[str, Tensor]:
        """Returns {task: loss} of the tasks that have a label in the last batch; waits for the device."""
        named = zip(self.tasks, self.last_losses, self.last_present.tolist(), strict=True)
        return {task.name: loss for task, loss, present in named if present}

    def last_relative(self) -> Tensor:
        """Returns the mean of the last batch's losses as shares of the initial losses, and 1; (2,), on its device.

        Both are 0 if no task of the batch has a label and an initial loss.
        """
        initial = self.initial.to(self.last_losses.device)
        known = self.last_present & (initial > 0) & torch.isfinite(self.last_losses)
        shares = torch.where(known, self.last_losses / initial, torch.zeros_like(initial))
        return torch.stack([shares.sum() / known.sum().clamp(min=1), known.any().to(shares.dtype)])

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Returns the scalar loss of one batch.

        Args:
            outputs: {task: raw network output}.
            targets: {task: target}, NaN where not annotated.

        Raises:
            KeyError: if the output or target of a task is missing.
        """
        for task in self.tasks:
            if task.name not in outputs or task.name not in targets:
                raise KeyError(
                    f"the hybrid loss expects an output and a target of task {task.name!r}, got outputs "
                    f"{sorted(outputs)} and targets {sorted(targets)}; use equal tasks for network, loss and batch."
                )
        present = torch.stack([task.is_annotated(targets[task.name]).any() for task in self.tasks])
        losses = torch.stack([self.task_loss(task, outputs, targets) for task in self.tasks])
        self.last_losses, self.last_present = losses.detach(), present
        scales = self._scales(losses.detach(), present)
        losses, present = self._add_implied(losses, present, outputs, targets)
        if is_training_step(self):
            losses = scale_for_mean_over_ranks(losses, present)
        return self.balance(losses * scales, present & (self.weights > 0))

    def _add_implied(
        self, losses: Tensor, present: Tensor, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Returns the losses (T,) with those of implied masks, and which tasks have a label or an implied mask."""
        for mask, own in zip(self.implied, self.implied_tasks, strict=True):
            loss, any_ = mask.loss(outputs, targets)
            losses, present = losses + own * loss, present | (own & any_)
        return losses, present

    def _scales(self, losses: Tensor, present: Tensor) -> Tensor:
        """Returns weights divided by initial losses, (T,); a task without a label so far has its plain weight."""
        if self.initial.device != losses.device:
            self.to(losses.device)
        if not self.normalize:
            return self.weights
        if self.training:  # also when all are settled, as to ask would wait for the device
            self._record(losses, present)
        return self.weights / torch.nan_to_num(self.initial, nan=1.0).clamp(min=1e-6)

    def _record(self, losses: Tensor, present: Tensor) -> None:
        """Updates the running means with a batch, averaged over ranks that have the task; ignores non-finite losses."""
        means, seen = mean_over_ranks(losses, present & torch.isfinite(losses))
        fresh = seen & (self.num_seen < INITIAL_BATCHES)
        self.num_seen += fresh
        before = torch.nan_to_num(self.initial)
        self.initial.copy_(torch.where(fresh, before + (means - before) / self.num_seen.clamp(min=1), self.initial))


def _check_initial(initial: Mapping[str, float], names: Sequence[str]) -> Tensor:
    """Converts {task: loss} to a tensor (T,), NaN where no value is given."""
    unknown = sorted(set(initial) - set(names))
    if unknown:
        raise ValueError(f"initial expects tasks out of {list(names)}, got {unknown}.")
    wrong = {name: value for name, value in initial.items() if not value > 0}
    if wrong:
        raise ValueError(f"initial expects losses above 0, got {wrong}; omit a task to measure its initial loss.")
    return torch.tensor([float(initial.get(name, float("nan"))) for name in names])
