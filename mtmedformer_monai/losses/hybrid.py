"""The hybrid loss: one scalar from the losses of several tasks, any of which may have no label in a batch.

Axes: T tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mtmedformer_monai.tasks.base import Task

from .balance import make_balance, mean_over_ranks

INITIAL_BATCHES = 16
"""Batches of a task that its initial loss is the mean of: one batch may hold no box, or one class only."""


class HybridLoss(nn.Module):
    """Joins the losses of all tasks that have a label in the batch.

    Each task's loss is divided by its own value at the start of training, so that tasks begin alike (fixed weights
    after such normalisation do as well as most adaptive ones: Kurin et al., NeurIPS 2022), multiplied by its
    weight, and joined by the balance. That value is the running mean over the first 16 training batches in which the
    task has a label, and stays from then on.

    Args:
        tasks: the network's tasks.
        balance: 'fixed', 'uncertainty' or 'famo'.
        normalize: divide by the initial losses.
        initial: {task: initial loss} to use instead of measured ones, as in a federation, where weights that differ
            by site would make the sites' evidence incommensurable.

    Attributes:
        initial: (T,) initial losses, NaN for a task not yet seen; saved with the state, as is `num_seen`.
        num_seen: (T,) batches that they are the mean of.
        last: {task: detached loss before weighing} of the tasks that had a label in the last batch.

    Raises:
        ValueError: an unknown balance, or `initial` names no task or is not above 0.
    """

    initial: Tensor
    num_seen: Tensor
    weights: Tensor

    def __init__(
        self,
        tasks: Sequence[Task],
        balance: str = "fixed",
        normalize: bool = True,
        initial: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.tasks = list(tasks)
        self.balance = make_balance(balance, len(self.tasks))
        self.normalize = normalize
        given = _check_initial(initial or {}, [task.name for task in self.tasks])
        self.register_buffer("initial", given)
        self.register_buffer("num_seen", torch.where(torch.isnan(given), 0, INITIAL_BATCHES))
        self.register_buffer("weights", torch.tensor([task.weight for task in self.tasks]), persistent=False)
        self.last: dict[str, Tensor] = {}

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """One scalar for one batch.

        Args:
            outputs: task name to raw output, from the network.
            targets: task name to target, NaN where not annotated.

        Raises:
            KeyError: a task without output or target.
        """
        for task in self.tasks:
            if task.name not in outputs or task.name not in targets:
                raise KeyError(
                    f"the hybrid loss expects an output and a target of task {task.name!r}, got outputs "
                    f"{sorted(outputs)} and targets {sorted(targets)}; give network, loss and batch one list of tasks."
                )
        present = torch.stack([task.is_annotated(targets[task.name]).any() for task in self.tasks])
        losses = torch.stack([task.loss(outputs[task.name], targets[task.name]) for task in self.tasks])
        self.last = {task.name: losses[i].detach() for i, task in enumerate(self.tasks) if present[i]}
        scaled = losses * self._scales(losses.detach(), present)
        return self.balance(scaled, present & (self.weights > 0))

    def _scales(self, losses: Tensor, present: Tensor) -> Tensor:
        """Weights over initial losses, (T,); a task not yet seen counts with its plain weight."""
        if self.initial.device != losses.device:
            self.to(losses.device)
        if not self.normalize:
            return self.weights
        if self.training and bool((self.num_seen < INITIAL_BATCHES).any()):
            self._record(losses, present)
        return self.weights / torch.nan_to_num(self.initial, nan=1.0).clamp(min=1e-6)

    def _record(self, losses: Tensor, present: Tensor) -> None:
        """Takes one batch into the running means, over the ranks that have the task; a loss of NaN never enters."""
        means, seen = mean_over_ranks(losses, present & torch.isfinite(losses))
        fresh = seen & (self.num_seen < INITIAL_BATCHES)
        self.num_seen += fresh
        before = torch.nan_to_num(self.initial)
        self.initial.copy_(torch.where(fresh, before + (means - before) / self.num_seen.clamp(min=1), self.initial))


def _check_initial(initial: Mapping[str, float], names: Sequence[str]) -> Tensor:
    """{task: loss} to (T,), NaN where none is given."""
    unknown = sorted(set(initial) - set(names))
    if unknown:
        raise ValueError(f"initial expects tasks out of {list(names)}, got {unknown}.")
    wrong = {name: value for name, value in initial.items() if not value > 0}
    if wrong:
        raise ValueError(f"initial expects losses above 0, got {wrong}; leave a task out to have it measured.")
    return torch.tensor([float(initial.get(name, float("nan"))) for name in names])
