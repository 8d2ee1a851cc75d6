"""Learning rate schedule with linear warm-up and cosine decay."""

from __future__ import annotations

import math
from functools import partial

from ignite.engine import Engine
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler


def warmup_cosine(step: int, warmup_steps: int, total_steps: int, final: float = 0.01) -> float:
    """Returns the learning rate factor (Loshchilov and Hutter, ICLR 2017, eq. 5, one cycle; warm-up: Goyal 2017).

    The factor rises linearly to 1 at the last warm-up step, then follows half a cosine down to `final` at `total_steps`
    and remains there.

    Args:
        step: number of completed steps, from 0.
        warmup_steps: 0 or more.
        total_steps: greater than `warmup_steps`.
        final: final factor.

    Example:
        >>> [round(warmup_cosine(step, 2, 6, final=0.0), 3) for step in range(7)]
        [0.5, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / (total_steps - warmup_steps))
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress))


def follow_trainer(schedule: LRScheduler, trainer: Engine, max_epochs: int) -> None:
    """Makes a schedule of iterations last as many epochs as its trainer, whose `max_epochs` may be set by itself.

    `train#trainer#max_epochs` is the id of MONAI's property. The command `training` calls this before the run, and a
    federated client, whose trainer has the `max_epochs` of one round, does not.

    Args:
        schedule: schedule of `make_warmup_cosine` that has made no step yet; others keep their length.
        trainer: trainer with its number of epochs and their length.
        max_epochs: number of epochs that the schedule was made for.
    """
    if trainer.state.max_epochs == max_epochs or not isinstance(schedule, LambdaLR):
        return
    factor = schedule.lr_lambdas[0]
    if not isinstance(factor, partial) or factor.func is not warmup_cosine:
        return
    total_steps = trainer.state.max_epochs * trainer.state.epoch_length
    warmup_steps = min(factor.keywords["warmup_steps"], total_steps // 3)
    shape = factor.keywords | {"total_steps": total_steps, "warmup_steps": warmup_steps}
    schedule.lr_lambdas = [partial(warmup_cosine, **shape)] * len(schedule.base_lrs)
    for group, base in zip(schedule.optimizer.param_groups, schedule.base_lrs, strict=True):
        group["lr"] = base * warmup_cosine(0, **shape)


def make_warmup_cosine(optimizer: Optimizer, warmup_steps: int, total_steps: int, final: float = 0.01) -> LambdaLR:
    """Returns the schedule for MONAI's `LrScheduleHandler`.

    A step is an iteration if the handler has `epoch_level=False`, otherwise an epoch. A resumed run takes the lengths
    from its config, not from the checkpoint, so increasing `total_steps` stretches the remaining schedule.

    Args:
        optimizer: optimizer whose parameter groups define the base learning rates.
        warmup_steps: limited to a third of `total_steps`, which matters in short trial runs.
        total_steps: 1 or more.
        final: final factor.
    """
    if total_steps < 1 or warmup_steps < 0:
        raise ValueError(
            f"the schedule expects total_steps of 1 or more and warmup_steps of 0 or more, got {total_steps} and "
            f"{warmup_steps}; total_steps is the number of epochs times the iterations per epoch."
        )
    warmup_steps = min(warmup_steps, total_steps // 3)
    return LambdaLR(optimizer, partial(warmup_cosine, warmup_steps=warmup_steps, total_steps=total_steps, final=final))
