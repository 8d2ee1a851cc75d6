"""Goes on where a training was stopped or killed."""

from __future__ import annotations

import logging
from pathlib import Path

from ignite.engine import Engine, Events

from mtmedformer_monai.io.atomic_files import load_checkpoint

from .training_state import TrainingState

_logger = logging.getLogger(__name__)


class ResumeTraining:
    """Restores a training state once, when the trainer's first run starts.

    With `SeedEachEpoch`, equal data and an equal config, what follows equals the run that was not interrupted, bit for
    bit on a CPU (on a GPU as far as its kernels are deterministic).

    Put it before all handlers that act when the run starts. In a federation leave it out: the server's weights
    rule.

    Args:
        state: the same object that `SaveCheckpoints` writes.
        path: checkpoint of the training state; None starts anew.
        required: False starts anew where the file does not exist yet, so that one command serves both.
    """

    def __init__(self, state: TrainingState, path: str | None, required: bool = True) -> None:
        self._state = state
        self._path = path
        self._required = required
        self._done = False

    def attach(self, engine: Engine) -> None:
        """Registers on a trainer."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Restores, if it is the first run."""
        if self._done or self._path is None:
            return
        self._done = True
        if not self._required and not Path(self._path).exists():
            _logger.info("No checkpoint at %s yet: training starts anew.", self._path)
            return
        self._state.restore(engine, load_checkpoint(self._path))
        _logger.info("Resumed from %s after epoch %d.", self._path, engine.state.epoch)
