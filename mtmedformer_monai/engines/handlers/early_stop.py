"""Stops training when the key metric no longer improves."""

from __future__ import annotations

import logging
import math
from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping

_logger = logging.getLogger(__name__)


class EarlyStop:
    """Early stopping on an evaluator's key metric, attached to the trainer that it stops.

    MONAI's EarlyStopHandler is attached to the evaluator and needs a reference to the trainer, which would be circular
    in a config, and `attach` of Ignite's EarlyStopping resets its counter with every validation. This handler is
    attached to the trainer, and its counter is saved and restored as a part of `TrainingState`. Validations whose key
    metric is undefined (NaN) do not count.

    Args:
        evaluator: evaluator of the validation during training; its key metric is monitored, higher is better.
        patience: number of validations without improvement after which training stops.
    """

    def __init__(self, evaluator: Engine, patience: int) -> None:
        if patience < 1:
            raise ValueError(f"patience expects 1 or more, got {patience}; omit the handler to disable early stopping.")
        self._evaluator = evaluator
        self._patience = patience
        self._stopping: EarlyStopping | None = None

    def attach(self, engine: Engine) -> None:
        """Registers the handler on the evaluator to stop this trainer."""
        self._stopping = EarlyStopping(self._patience, key_score, engine)
        self._evaluator.add_event_handler(Events.EPOCH_COMPLETED, self._judge)

    def state_dict(self) -> dict[str, Any]:
        """Returns the best score and the number of validations since."""
        stopping = self._attached()
        return {"counter": stopping.counter, "best_score": stopping.best_score}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the best score and the counter; a run that has just started ends if they have stopped it before."""
        stopping = self._attached()
        stopping.counter, stopping.best_score = state["counter"], state["best_score"]
        if stopping.counter >= self._patience:
            _logger.warning(
                "This training has stopped early, after %d validations without improvement; for further epochs, repeat "
                "it with a higher early_stop_patience than %d.",
                stopping.counter,
                self._patience,
            )
            stopping.trainer.terminate()

    def _judge(self, evaluator: Engine) -> None:
        if not math.isnan(key_score(evaluator)):
            self._attached()(evaluator)

    def _attached(self) -> EarlyStopping:
        if self._stopping is None:
            raise RuntimeError("EarlyStop is not attached; add it to the trainer's train_handlers.")
        return self._stopping


def key_score(evaluator: Engine) -> float:
    """Returns the evaluator's key metric."""
    return float(evaluator.state.metrics[evaluator.state.key_metric_name])
