"""Resumes an interrupted training."""

from __future__ import annotations

import logging
from pathlib import Path

from ignite.engine import Engine, Events
from monai.handlers import CheckpointLoader

from mtmedformer_monai.io.atomic_files import load_checkpoint

from .initial_weights import LoadInitialWeights
from .training_state import TrainingState

_logger = logging.getLogger(__name__)

LOADERS = (CheckpointLoader, LoadInitialWeights)
"""Handlers that load weights when a run starts."""


class ResumeTraining:
    """Restores the training state once, when the trainer's first run starts.

    With `SeedEachEpoch` and the same data and config, the resumed training equals an uninterrupted one bit for bit on a
    CPU (on a GPU as far as its kernels are deterministic).

    Attach it in the training command (`training` in the bundles' train.json), not in the trainer's list of handlers: a
    federated client builds the same trainer and runs it round by round, and an old checkpoint must not replace the
    weights from the server.

    Args:
        state: the object that `SaveCheckpoints` saves.
        path: checkpoint of the training state; None starts from the beginning.
        required: if False, training starts from the beginning if the file does not exist, so that the same command
            starts and resumes a training.
    """

    def __init__(self, state: TrainingState, path: str | None, required: bool = True) -> None:
        self._state = state
        self._path = path
        self._required = required
        self._done = False

    def attach(self, engine: Engine) -> None:
        """Registers the handler on a trainer: before other handlers of the start, but after checkpoint loaders."""
        engine.add_event_handler(Events.STARTED, self)
        handlers = engine._event_handlers[Events.STARTED]
        loaders = [place for place, (handler, *_) in enumerate(handlers) if isinstance(handler, LOADERS)]
        handlers.insert(max(loaders, default=-1) + 1, handlers.pop())

    def __call__(self, engine: Engine) -> None:
        """Restores the state in the first run."""
        if self._done or self._path is None:
            return
        self._done = True
        if not self._required and not Path(self._path).exists():
            _logger.info("No checkpoint at %s yet: training starts from the beginning.", self._path)
            return
        self._state.restore(engine, load_checkpoint(self._path))
        _logger.info("Resumed from %s after epoch %d.", self._path, engine.state.epoch)
