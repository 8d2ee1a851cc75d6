"""Stops a training that no longer improves."""

from __future__ import annotations

import math
from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping


class EarlyStop:
    """Ignite's EarlyStopping on an evaluator, attached to the trainer that it stops.

    MONAI's EarlyStopHandler sits on the evaluator and needs its trainer set by hand, which a config can't do (each
    would refer to the other), and Ignite's own `attach` forgets its count with every validation. This one is given
    to the trainer, and its count is saved and resumed as a part of `TrainingState`.

    Args:
        evaluator: that validates during the training; its key metric is watched, higher is better.
        patience: validations without a better score before the training stops.
    """

    def __init__(self, evaluator: Engine, patience: int) -> None:
        if patience < 1:
            raise ValueError(f"patience expects 1 or more, got {patience}; leave the handler out for no early stop.")
        self._evaluator = evaluator
        self._patience = patience
        self._stopping: EarlyStopping | None = None

    def attach(self, engine: Engine) -> None:
        """Registers on the evaluator, to stop this trainer."""
        self._stopping = EarlyStopping(self._patience, key_score, engine)
        self._evaluator.add_event_handler(Events.EPOCH_COMPLETED, self._stopping)

    def state_dict(self) -> dict[str, Any]:
        """Best score and validations since."""
        stopping = self._attached()
        return {"counter": stopping.counter, "best_score": stopping.best_score}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts them back."""
        stopping = self._attached()
        stopping.counter, stopping.best_score = state["counter"], state["best_score"]

    def _attached(self) -> EarlyStopping:
        if self._stopping is None:
            raise RuntimeError("EarlyStop is not attached; put it into the trainer's train_handlers.")
        return self._stopping


def key_score(evaluator: Engine) -> float:
    """The evaluator's key metric; minus infinity for NaN, which would beat and be beaten by nothing."""
    score = float(evaluator.state.metrics[evaluator.state.key_metric_name])
    return -math.inf if math.isnan(score) else score
