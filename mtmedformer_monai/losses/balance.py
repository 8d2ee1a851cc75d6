"""How the losses of several tasks are weighed against each other.

Axes: T tasks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.distributed as dist
from torch import Tensor, nn

SMALLEST = 1e-8
"""Losses are lifted to it before their logarithm."""


class Balance(nn.Module, ABC):
    """Joins the tasks' losses. State lives in buffers and parameters, so that it is saved and resumed."""

    @abstractmethod
    def forward(self, losses: Tensor, present: Tensor) -> Tensor:
        """Joins the tasks' losses.

        Args:
            losses: (T,), 0 where a task has no label in the batch.
            present: bool (T,), tasks that have one, and a weight above 0.

        Returns:
            Scalar.
        """


class FixedBalance(Balance):
    """Sum of the losses as they are; the tasks' own weights are all that balances them."""

    def forward(self, losses: Tensor, present: Tensor) -> Tensor:
        """Sum of (T,)."""
        return losses.sum()


class UncertaintyBalance(Balance):
    """Learned log-variances: sum of exp(-s) L + s / 2 (Kendall et al., CVPR 2018, eq. 10, with s = log sigma^2).

    That is the paper's term of a classification, taken for every task; at rest exp(s) = 2 L. Its parameters have to be
    given to the optimizer beside the network's, best without weight decay. A task without label brings neither loss
    nor variance term, and no gradient; an optimizer with momentum may still move its variance a little.

    Args:
        num_tasks: T.
    """

    def __init__(self, num_tasks: int) -> None:
        super().__init__()
        self.log_variances = nn.Parameter(torch.zeros(num_tasks))

    def forward(self, losses: Tensor, present: Tensor) -> Tensor:
        """Weighed losses plus variance terms; the variances learn from the mean over ranks, so that they stay one."""
        shared, seen = mean_over_ranks(losses.detach(), present)
        precisions = torch.exp(-self.log_variances)
        weighed = torch.where(present, precisions.detach() * losses, losses * 0.0)
        learned = precisions * shared
        variances = learned - learned.detach() + 0.5 * self.log_variances
        return weighed.sum() + torch.where(seen, variances, torch.zeros_like(variances)).sum()


class FAMOBalance(Balance):
    """Fast adaptive multitask optimisation (Liu et al., NeurIPS 2023, algorithm 1).

    Weights follow how fast each log-loss falls, so that all fall at one rate. Two things differ from the paper:

    - The fall is read from one batch to the next that has the task instead of by a second pass over the same batch,
      which the stock trainer has no place for. Summed over steps these falls telescope, so the batches' noise does
      not pile up in the logits.
    - The logits take plain steps, as algorithm 1 is written. The authors' code takes Adam's, of 0.025, which would
      magnify the batches' noise. As plain steps telescope, the logits move by about `rate` times a task's share
      times its fall (a few nats in a training), so a plain rate has to be near 1.

    Args:
        num_tasks: T.
        rate: step size of the weights' logits (the paper's beta).
        decay: pull of the logits towards 0 (the paper's gamma): steps older than 1 / (rate * decay) are forgotten.
    """

    logits: Tensor
    previous: Tensor

    def __init__(self, num_tasks: int, rate: float = 1.0, decay: float = 0.001) -> None:
        super().__init__()
        self.rate = rate
        self.decay = decay
        self.register_buffer("logits", torch.zeros(num_tasks))
        self.register_buffer("previous", torch.full((num_tasks,), torch.nan))

    def forward(self, losses: Tensor, present: Tensor) -> Tensor:
        """Weighted sum of log-losses, scaled so that its gradient is a convex mean of the tasks' own gradients."""
        lifted = losses.clamp(min=SMALLEST)
        if self.training and torch.is_grad_enabled():
            means, seen = mean_over_ranks(losses.detach(), present)
            self._step(means.clamp(min=SMALLEST).log(), seen & torch.isfinite(means))
        shares = torch.where(present, self.logits.softmax(0), torch.zeros_like(losses))
        scale = 1.0 / (shares / lifted.detach()).sum().clamp(min=SMALLEST)
        return torch.where(present, scale * shares * lifted.log(), losses * 0.0).sum()

    def _step(self, log_losses: Tensor, seen: Tensor) -> None:
        """One step down the softmax's Jacobian times the falls; tasks without label neither count nor move."""
        moved = seen & ~torch.isnan(self.previous)
        fall = torch.where(moved, self.previous - log_losses, torch.zeros_like(log_losses))
        shares = torch.where(moved, self.logits.softmax(0), torch.zeros_like(log_losses))
        shares = shares / shares.sum().clamp(min=SMALLEST)
        gradient = shares * (fall - (shares * fall).sum())
        step = self.logits - self.rate * (gradient + self.decay * self.logits)
        self.logits.copy_(torch.where(moved, step, self.logits))
        self.previous.copy_(torch.where(seen, log_losses, self.previous))


def make_balance(name: str, num_tasks: int) -> Balance:
    """Builds a balance by name: 'fixed', 'uncertainty' or 'famo'."""
    if name == "fixed":
        return FixedBalance()
    if name == "uncertainty":
        return UncertaintyBalance(num_tasks)
    if name == "famo":
        return FAMOBalance(num_tasks)
    raise ValueError(f"balance expects 'fixed', 'uncertainty' or 'famo', got {name!r}.")


def mean_over_ranks(values: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Means over the processes of a distributed training that count; the values as they are in a single process.

    Args:
        values: (T,), detached.
        counted: bool (T,).

    Returns:
        Means (T,), 0 where no process counts, and bool (T,), where any does; the same in every process.
    """
    sums = torch.stack([torch.where(counted, values, torch.zeros_like(values)), counted.to(values.dtype)])
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(sums)
    return sums[0] / sums[1].clamp(min=1), sums[1] > 0
