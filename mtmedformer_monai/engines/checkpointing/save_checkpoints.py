"""Writes the last and the best checkpoint at the end of each epoch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import ignite.distributed as idist
from ignite.engine import Engine, Events

from mtmedformer_monai.engines.handlers.order import after_all
from mtmedformer_monai.io.atomic_files import remove_leftovers, save_checkpoint, write_atomically
from mtmedformer_monai.tasks.base import Task

from .model_card import describe_model, write_card
from .training_state import TrainingState, bare

_logger = logging.getLogger(__name__)


class SaveCheckpoints:
    """Keeps two files: the whole state of the last epoch, to resume from, and the weights of the best one.

    Both are written atomically, after validation and all else at the end of an epoch: a run that is killed loses the
    epoch at hand and no more, and a half-written file never stands under either name. Process 0 writes.

    The best weights are a flat state dict, as MONAI's bundles want `models/model.pt`. They are written first: whenever
    the training state says which epoch was best, its weights are on disk. `model.json` beside them says what they were
    trained for (see `model_card.py`). Weights that stood there before the training are kept as `<name>_previous.pt`, so
    that a training that disappoints loses nothing; MONAI Label lists them as a choice beside the new ones.

    Two handlers may write one file each: the bundles' list of handlers keeps the best weights, and the command that
    trains (`training` in train.json) attaches the one that keeps the state. A federation's client builds the same
    trainer and runs it without that command: its rounds neither replace the checkpoint of the site's own training nor
    leave one that a later training would resume from.

    Args:
        state: what to remember; its evaluator's key metric decides which weights are best.
        resume_path: of the training state, such as `<output_dir>/checkpoint.pt`; None writes none.
        weights_path: of the best weights, such as `<bundle_root>/models/model.pt`; None writes none.
        tasks: the network's tasks, for `model.json`; without them there is none.
        image_size: (rows, columns) of the network's input, likewise.

    Raises:
        ValueError: neither path is given.
    """

    def __init__(
        self,
        state: TrainingState,
        resume_path: str | None,
        weights_path: str | None,
        tasks: Sequence[Task] = (),
        image_size: Sequence[int] = (),
    ) -> None:
        if resume_path is None and weights_path is None:
            raise ValueError("SaveCheckpoints expects resume_path, weights_path or both, got neither.")
        self._state = state
        self._resume_path = None if resume_path is None else Path(resume_path)
        self._weights_path = None if weights_path is None else Path(weights_path)
        self._model = describe_model(tasks, image_size) if tasks else None

    def attach(self, engine: Engine) -> None:
        """Registers on a trainer; its place in the list of handlers doesn't matter."""
        engine.add_event_handler(Events.STARTED, self._tidy)
        after_all(engine, Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Writes what the epoch brought."""
        first = self._state.best_epoch == 0
        best = self._weights_path is not None and self._state.judge(engine)
        if idist.get_rank() != 0:
            return
        if best and self._weights_path is not None:
            if first and self._weights_path.exists():
                self._keep_previous(self._weights_path)
            save_checkpoint(bare(engine.network).state_dict(), self._weights_path)
            if self._model is not None:
                write_card(self._weights_path, self._model)
            _logger.info("Best epoch so far: %d; weights in %s.", engine.state.epoch, self._weights_path)
        if self._resume_path is not None:
            save_checkpoint(self._state.capture(engine), self._resume_path)

    def _keep_previous(self, path: Path) -> None:
        previous = path.with_name(f"{path.stem}_previous.pt")
        weights = path.read_bytes()
        write_atomically(previous, lambda file: file.write(weights))
        _logger.info("The weights from before this training are kept in %s.", previous)

    def _tidy(self) -> None:
        if idist.get_rank() == 0:
            for folder in {path.parent for path in (self._resume_path, self._weights_path) if path is not None}:
                for path in remove_leftovers(folder):
                    _logger.warning("Removed %s, half-written by a run that was killed.", path)
