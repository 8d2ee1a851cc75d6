"""Learning rate by step: linear warm-up, then half a cosine."""

from __future__ import annotations

import math
from functools import partial

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warmup_cosine(step: int, warmup_steps: int, total_steps: int, final: float = 0.01) -> float:
    """Factor on the base learning rate (Loshchilov and Hutter, ICLR 2017, eq. 5, one cycle; warm-up as in Goyal 2017).

    Rises linearly over the warm-up, so that its last step has 1, then falls as half a cosine and reaches `final`
    at `total_steps`, where it stays.

    Args:
        step: steps done, from 0.
        warmup_steps: 0 or more.
        total_steps: more than `warmup_steps`.
        final: factor at the end.

    Example:
        >>> [round(warmup_cosine(step, 2, 6, final=0.0), 3) for step in range(7)]
        [0.5, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / (total_steps - warmup_steps))
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress))


def make_warmup_cosine(optimizer: Optimizer, warmup_steps: int, total_steps: int, final: float = 0.01) -> LambdaLR:
    """Builds the schedule for MONAI's `LrScheduleHandler`.

    Steps are the handler's: iterations with `epoch_level=False`, else epochs. A resumed run takes the lengths from its
    own config, not from the checkpoint, so a longer `total_steps` stretches what is left.

    Args:
        optimizer: whose groups keep their base learning rates.
        warmup_steps: cut to a third of `total_steps` where it is longer (short trial runs).
        total_steps: 1 or more.
        final: factor at the end.
    """
    if total_steps < 1 or warmup_steps < 0:
        raise ValueError(
            f"the schedule expects total_steps of 1 or more and warmup_steps of 0 or more, got {total_steps} and "
            f"{warmup_steps}; total_steps is epochs times iterations an epoch."
        )
    warmup_steps = min(warmup_steps, total_steps // 3)
    return LambdaLR(optimizer, partial(warmup_cosine, warmup_steps=warmup_steps, total_steps=total_steps, final=final))
