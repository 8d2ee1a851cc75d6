"""Strategies that balance the losses of several tasks.

Axes: T tasks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.distributed as dist
from torch import Tensor, nn

SMALLEST = 1e-8
"""Lower bound of losses before taking their logarithm."""


class Balance(nn.Module, ABC):
    """Combines the losses of the tasks. Buffers and parameters hold the state, so that it is saved and resumed."""

    @abstractmethod
    def forward(self, losses: Tensor, present: Tensor) -> Tensor:
        """Combines the losses of the tasks.

        Args:
            losses: (T,), 0 for a task without a label in the batch.
            present: bool (T,), true for tasks that have a label in the batch and a weight above 0.

        Returns:
            Scalar.
        """


class FixedBalance(Balance):
    """Sum of the losses, balanced only by the fixed weights of the tasks."""

    def forward(self, losses: Tensor, present: Tensor) -> Tensor:
        """Returns the sum of the losses (T,)."""
        return losses.sum()


class UncertaintyBalance(Balance):
    """Uncertainty weighting: sum of exp(-s) L + s / 2 with learned s = log sigma^2 (Kendall et al., CVPR 2018, eq. 10).

    The term that the paper derives for classification is used for every task; its optimum is exp(s) = 2 L. The
    parameters must be passed to the optimizer in addition to the network's, preferably without weight decay. A task
    without a label contributes neither a loss nor a variance term and gets no gradient; an optimizer with momentum may
    still change its variance slightly.

    Args:
        num_tasks: number of tasks T.
    """

    def __init__(self, num_tasks: int) -> None:
        super().__init__()
        self.log_variances = nn.Parameter(torch.zeros(num_tasks))

    def forward(self, losses: Tensor, present: Tensor) -> Tensor:
        """Returns weighted losses plus variance terms; the latter use means over ranks to keep ranks synchronized.

        In validation, ranks may have different numbers of batches and do not wait for one another.
        """
        shared, seen = losses.detach(), present
        if is_training_step(self):
            shared, seen = mean_over_ranks(shared, present)
        precisions = torch.exp(-self.log_variances)
        weighed = torch.where(present, precisions.detach() * losses, losses * 0.0)
        learned = precisions * shared
        variances = learned - learned.detach() + 0.5 * self.log_variances
        return weighed.sum() + torch.where(seen, variances, torch.zeros_like(variances)).sum()


class FAMOBalance(Balance):
    """Fast adaptive multitask optimization (FAMO; Liu et al., NeurIPS 2023, algorithm 1).

    The weights are adapted such that the log-losses of all tasks decrease at the same rate. The implementation differs
    from the paper in two respects:

    - The decrease is measured between successive batches that contain the task, instead of by a second forward pass on
      the same batch, which the stock trainer does not support. The sum of these differences over steps telescopes, so
      the noise of the batches does not accumulate in the logits.
    - The logits are updated by plain gradient steps, as in algorithm 1. The authors' code uses Adam with a learning
      rate of 0.025, which would amplify the noise of the batches. As plain steps telescope, a logit changes by about
      `rate` times the task's weight times the decrease of its log-loss (a few nats per training), so `rate` should be
      near 1.

    Fixed weights of tasks, which multiply their losses, cancel, because the gradient of a log-loss is that of any
    multiple.

    Args:
        num_tasks: number of tasks T.
        rate: step size of the logits (beta in the paper).
        decay: weight decay of the logits (gamma in the paper); their memory is about 1 / (rate * decay) steps.
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
        """Returns a weighted sum of log-losses whose gradient is a convex combination of the task gradients.

        In training, weights and derivatives of the logarithms are those of the means over ranks, as of a single process
        with all of their images.
        """
        means, seen = losses.detach(), present
        if is_training_step(self):
            means, seen = mean_over_ranks(means, present)
            self._step(means.clamp(min=SMALLEST).log(), seen & torch.isfinite(means))
        lifted, means = losses.clamp(min=SMALLEST), means.clamp(min=SMALLEST)
        shares = torch.where(seen, self.logits.softmax(0), torch.zeros_like(losses))
        scale = 1.0 / (shares / means).sum().clamp(min=SMALLEST)
        logs = lifted.detach().log() + (lifted - lifted.detach()) / means
        return torch.where(present, scale * shares * logs, losses * 0.0).sum()

    def _step(self, log_losses: Tensor, seen: Tensor) -> None:
        """Updates the logits by one gradient step; tasks without a label are excluded and keep their logits."""
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


def is_training_step(module: nn.Module) -> bool:
    """Returns whether a loss is computed for a training step, the only time at which processes go in step."""
    return module.training and torch.is_grad_enabled()


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def mean_over_ranks(values: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Averages values over the processes of a distributed training; a single process keeps its values.

    Args:
        values: (T,), detached.
        counted: bool (T,), true where the value of this process is included.

    Returns:
        Means (T,), 0 where no process has a value, and bool (T,), true where any process has one; equal in all
        processes.
    """
    sums = torch.stack([torch.where(counted, values, torch.zeros_like(values)), counted.to(values.dtype)])
    if _is_distributed():
        dist.all_reduce(sums)
    return sums[0] / sums[1].clamp(min=1), sums[1] > 0


def scale_for_mean_over_ranks(losses: Tensor, present: Tensor) -> Tensor:
    """Scales the gradients of losses so that their mean over processes is that of the processes with a label.

    Distributed training takes the mean over all processes, by which a task that few of them have a label for in a step
    would learn less than others. The values of the losses do not change; those of a single process are returned.

    Args:
        losses: (T,).
        present: bool (T,), true where this process has a label.
    """
    if not _is_distributed():
        return losses
    counts = present.to(losses.dtype)
    dist.all_reduce(counts)
    factors = dist.get_world_size() / counts.clamp(min=1)
    return losses.detach() + factors * (losses - losses.detach())
