"""Gradient clipping between the backward pass and the optimizer step of the stock trainer."""

from __future__ import annotations

import torch
from ignite.engine import Engine
from monai.engines import IterationEvents


class ClipGradients:
    """Clips the total L2 norm of the gradients before each optimizer step (Pascanu et al., ICML 2013).

    Supports the trainer's mixed precision (gradients are unscaled first) and its gradient accumulation
    (`accumulation_steps`, MONAI 1.6 and later; only the accumulated gradient is clipped).

    Args:
        max_norm: maximum norm, above 0.
    """

    def __init__(self, max_norm: float) -> None:
        if max_norm <= 0:
            raise ValueError(f"max_norm expects a value above 0, got {max_norm}; omit the handler to disable clipping.")
        self._max_norm = max_norm

    def attach(self, engine: Engine) -> None:
        """Registers the handler on a trainer."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Clips the gradients if the optimizer steps in this iteration."""
        if not _steps_now(engine):
            return
        if engine.amp and engine.scaler is not None:
            engine.scaler.unscale_(engine.optimizer)
        parameters = [p for group in engine.optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, self._max_norm)


def _steps_now(engine: Engine) -> bool:
    """Whether the stock trainer steps in this iteration: every nth and the last one of an epoch."""
    every = getattr(engine, "accumulation_steps", 1)
    length = engine.state.epoch_length
    done = engine.state.iteration if length is None else (engine.state.iteration - 1) % length + 1
    return bool(done % every == 0 or done == length)
