"""Gradient clipping between the stock trainer's backward pass and its step."""

from __future__ import annotations

import torch
from ignite.engine import Engine
from monai.engines import IterationEvents


class ClipGradients:
    """Scales gradients down to a joint L2 norm before each step of the optimizer (Pascanu et al., ICML 2013).

    Works with the trainer's mixed precision (gradients are unscaled first) and with its gradient accumulation
    (`accumulation_steps` of MONAI 1.6 on: only the sum is clipped).

    Args:
        max_norm: above 0.
    """

    def __init__(self, max_norm: float) -> None:
        if max_norm <= 0:
            raise ValueError(
                f"max_norm expects a value above 0, got {max_norm}; leave the handler out for no clipping."
            )
        self._max_norm = max_norm

    def attach(self, engine: Engine) -> None:
        """Registers on a trainer."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Clips if this iteration ends in a step."""
        if not _steps_now(engine):
            return
        if engine.amp and engine.scaler is not None:
            engine.scaler.unscale_(engine.optimizer)
        parameters = [p for group in engine.optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, self._max_norm)


def _steps_now(engine: Engine) -> bool:
    """Whether the stock trainer steps in this iteration: each nth one of an epoch, and its last."""
    every = getattr(engine, "accumulation_steps", 1)
    length = engine.state.epoch_length
    done = engine.state.iteration if length is None else (engine.state.iteration - 1) % length + 1
    return bool(done % every == 0 or done == length)
