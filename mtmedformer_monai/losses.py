"""The hybrid loss: one scalar from the losses of several tasks, any of which may have no label in a batch.

Axes: T tasks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mtmedformer_monai.tasks.base import Task


class Balance(nn.Module, ABC):
    """How task losses are weighed against each other. State lives in buffers, so that it is saved and resumed."""

    @abstractmethod
    def forward(self, losses: Tensor, present: Tensor) -> Tensor:
        """Joins the tasks' losses.

        Args:
            losses: (T,), 0 where a task has no label in the batch.
            present: bool (T,), tasks that have one.

        Returns:
            Scalar.
        """


class FixedBalance(Balance):
    """Sum of the losses as they are; the tasks' own weights are all that balances them."""

    def forward(self, losses: Tensor, present: Tensor) -> Tensor:
        """Sum of (T,)."""
        return losses.sum()


class UncertaintyBalance(Balance):
    """Learned log-variances, sum of exp(-s) L + s / 2 (Kendall et al., CVPR 2018, eq. 7, with s = log sigma^2).

    Its parameters have to be given to the optimizer beside the network's.

    Args:
        num_tasks: T.
    """

    def __init__(self, num_tasks: int) -> None:
        super().__init__()
        self.log_variances = nn.Parameter(torch.zeros(num_tasks))

    def forward(self, losses: Tensor, present: Tensor) -> Tensor:
        """Tasks without label bring neither loss nor variance term."""
        joint = torch.exp(-self.log_variances) * losses + 0.5 * self.log_variances
        return torch.where(present, joint, joint * 0.0).sum()


class FAMOBalance(Balance):
    """Fast adaptive multitask optimisation (Liu et al., NeurIPS 2023, algorithm 1).

    Weights follow how fast each log-loss falls, so that all fall at one rate. The fall is read from one batch to the
    next instead of by a second pass over the same batch, which the stock trainer has no place for.

    Args:
        num_tasks: T.
        rate: step size of the weights' logits.
        decay: pull of the logits towards 0.
    """

    logits: Tensor
    previous: Tensor

    def __init__(self, num_tasks: int, rate: float = 0.025, decay: float = 0.01) -> None:
        super().__init__()
        self.rate = rate
        self.decay = decay
        self.register_buffer("logits", torch.zeros(num_tasks))
        self.register_buffer("previous", torch.full((num_tasks,), torch.nan))

    def forward(self, losses: Tensor, present: Tensor) -> Tensor:
        """Weighted sum of log-losses; tasks without label neither count nor move."""
        floor = losses.clamp(min=1e-8)
        if self.training and torch.is_grad_enabled():
            self._step(floor.detach().log(), present)
        shares = torch.where(present, self.logits.softmax(0), torch.zeros_like(losses))
        scale = 1.0 / (shares / floor.detach()).sum().clamp(min=1e-8)
        return scale * torch.where(present, shares * floor.log(), losses).sum()

    def _step(self, log_losses: Tensor, present: Tensor) -> None:
        seen = present & ~torch.isnan(self.previous)
        fall = torch.where(seen, self.previous - log_losses, torch.zeros_like(log_losses))
        shares = self.logits.softmax(0)
        gradient = shares * (fall - (shares * fall).sum())
        step = self.logits - self.rate * (gradient + self.decay * self.logits)
        self.logits.copy_(torch.where(seen, step, self.logits))
        self.previous.copy_(torch.where(present, log_losses, self.previous))


def make_balance(name: str, num_tasks: int) -> Balance:
    """Builds a balance by name: 'fixed', 'uncertainty' or 'famo'."""
    if name == "fixed":
        return FixedBalance()
    if name == "uncertainty":
        return UncertaintyBalance(num_tasks)
    if name == "famo":
        return FAMOBalance(num_tasks)
    raise ValueError(f"balance expects 'fixed', 'uncertainty' or 'famo', got {name!r}.")


class HybridLoss(nn.Module):
    """Joins the losses of all tasks that have a label in the batch.

    Each task's loss is divided by its own value at the start of training, so that tasks begin alike (fixed weights
    after such normalisation do as well as most adaptive ones: Kurin et al., NeurIPS 2022), multiplied by its
    weight, and joined by the balance.

    Args:
        tasks: the network's tasks.
        balance: 'fixed', 'uncertainty' or 'famo'.
        normalize: divide by the initial losses.
        initial: {task: initial loss} to use instead of measured ones, as in a federation, where weights that differ
            by site would make the sites' evidence incommensurable.

    Attributes:
        last: {task: detached loss before weighing} of the tasks that had a label in the last batch.
    """

    initial: Tensor

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
        given = [(initial or {}).get(task.name, float("nan")) for task in self.tasks]
        self.register_buffer("initial", torch.tensor(given))
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
        return self.balance(losses * self._scales(losses.detach(), present), present)

    def _scales(self, losses: Tensor, present: Tensor) -> Tensor:
        """Weights over initial losses, (T,); a task not yet seen counts with its plain weight."""
        if self.initial.device != losses.device:
            self.to(losses.device)
        weights = torch.as_tensor(self.weights)
        if not self.normalize:
            return weights
        if self.training and bool(torch.isnan(self.initial).any()):
            self._record(losses, present)
        return weights / torch.nan_to_num(self.initial, nan=1.0).clamp(min=1e-6)

    def _record(self, losses: Tensor, present: Tensor) -> None:
        """Takes the first loss of each task, the mean over the ranks that have one."""
        seen = torch.stack([torch.where(present, losses, 0.0), present.to(losses.dtype)])
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(seen)
        fresh = torch.isnan(self.initial) & (seen[1] > 0)
        self.initial.copy_(torch.where(fresh, seen[0] / seen[1].clamp(min=1), self.initial))
