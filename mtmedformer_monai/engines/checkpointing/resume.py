"""Goes on where a training was stopped or killed."""

from __future__ import annotations

import logging
from pathlib import Path

from ignite.engine import Engine, Events
from monai.handlers import CheckpointLoader

from mtmedformer_monai.io.atomic_files import load_checkpoint

from .training_state import TrainingState

_logger = logging.getLogger(__name__)


class ResumeTraining:
    """Restores a training state once, when the trainer's first run starts.

    With `SeedEachEpoch`, equal data and an equal config, what follows equals the run that was not interrupted, bit for
    bit on a CPU (on a GPU as far as its kernels are deterministic).

    Attach it in the command that trains (`training` in the bundles' train.json), not in the trainer's list of handlers:
    a federation's client builds the same trainer and runs it round by round, where the server's weights count and an
    old checkpoint must not replace them.

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
        """Registers on a trainer: before all that acts when its run starts, but after loaders of other checkpoints."""
        engine.add_event_handler(Events.STARTED, self)
        handlers = engine._event_handlers[Events.STARTED]
        loaders = [place for place, (handler, *_) in enumerate(handlers) if isinstance(handler, CheckpointLoader)]
        handlers.insert(max(loaders, default=-1) + 1, handlers.pop())

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
