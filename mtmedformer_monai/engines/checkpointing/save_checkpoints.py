"""Saves the latest training state and the best weights at the end of each epoch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import ignite.distributed as idist
from ignite.engine import Engine, Events

from mtmedformer_monai.engines.handlers.order import after_all
from mtmedformer_monai.io.atomic_files import remove_leftovers, save_checkpoint, write_atomically
from mtmedformer_monai.io.weights_files import set_aside
from mtmedformer_monai.tasks.base import Task

from .divergence import check_finite
from .model_card import copy_card, describe_model, write_card
from .training_state import TrainingState, bare

_logger = logging.getLogger(__name__)


class SaveCheckpoints:
    """Saves two files: the complete training state of the latest epoch, for resuming, and the best weights.

    Both files are written atomically at the end of an epoch, after validation and all other handlers. An interrupted
    run therefore loses at most the current epoch and never leaves a partially written file. Only process 0 writes. If
    the network is not finite, nothing is written, so a diverged training can be resumed from the epoch before.

    The best weights are a flat state dict, as MONAI bundles expect in `models/model.pt`. They are written before the
    training state, so the weights of the best epoch that it records are always on disk. `model.json` records what the
    weights were trained for (see `model_card.py`). Weights that exist before the training are kept as
    `<name>_previous.pt`, with their model card, calibration, guard and posterior; MONAI Label offers them as an
    alternative to the new ones.

    Two instances may write one file each: the bundles' list of handlers saves the best weights, and the training
    command (`training` in train.json) attaches the instance that saves the training state. A federated client builds
    the same trainer but does not use that command, so its rounds neither overwrite the checkpoint of the client's own
    training nor leave a checkpoint from which a later training would resume.

    Args:
        state: training state to save; the key metric of its evaluator decides which weights are best.
        resume_path: path of the training state, such as `<output_dir>/checkpoint.pt`; None to not save it.
        weights_path: path of the best weights, such as `<bundle_root>/models/model.pt`; None to not save them.
        tasks: the network's tasks, for `model.json`, which is not written without them.
        image_size: (rows, columns) of the network's input, for `model.json`.

    Raises:
        ValueError: if neither path is given.
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
        """Registers the handler on a trainer; its position in the list of handlers does not matter."""
        engine.add_event_handler(Events.STARTED, self._tidy)
        after_all(engine, Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Saves the training state and, if the epoch is the best so far, the weights.

        Raises:
            ValueError: if the network is not finite; the files of the epoch before remain.
        """
        check_finite(bare(engine.network))
        first = self._state.best_epoch == 0
        best = self._weights_path is not None and self._state.judge(engine)
        if idist.get_rank() != 0:
            return
        if best and self._weights_path is not None:
            if first and self._weights_path.exists():
                self._keep_previous(self._weights_path)
            save_checkpoint(self._state.judged(engine).state_dict(), self._weights_path)
            if self._model is not None:
                write_card(self._weights_path, self._model)
            _logger.info("Best epoch so far: %d; weights in %s.", engine.state.epoch, self._weights_path)
        if self._resume_path is not None:
            save_checkpoint(self._state.capture(engine), self._resume_path)

    def _keep_previous(self, path: Path) -> None:
        previous = path.with_name(f"{path.stem}_previous.pt")
        weights = path.read_bytes()
        write_atomically(previous, lambda file: file.write(weights))
        copy_card(path, previous)
        kept = [previous, *set_aside(path, previous)]
        _logger.info("The weights from before this training are kept: %s.", ", ".join(map(str, kept)))

    def _tidy(self) -> None:
        if idist.get_rank() == 0:
            for folder in {path.parent for path in (self._resume_path, self._weights_path) if path is not None}:
                for path in remove_leftovers(folder):
                    _logger.warning("Removed %s, a partially written file of an interrupted run.", path)
