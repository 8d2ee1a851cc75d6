"""The complete state of a training, from which it can be resumed exactly."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine
from torch import nn

from .optimizer_settings import apply_settings, optimizer_settings

_logger = logging.getLogger(__name__)

FORMAT = 1
"""Version of the checkpoint layout."""

_WRAPPERS = {"OptimizedModule": "_orig_mod", "DistributedDataParallel": "module", "DataParallel": "module"}


class TrainingState:
    """Collects and restores the state of a trainer at the end of an epoch.

    The state includes the trainer's network, optimizer, loss (if it has state, as learned balances do), gradient
    scaler, epoch and iteration, and the best score and its epoch. Random generators are not included, because
    `SeedEachEpoch` seeds them in each epoch.

    Args:
        parts: {name: further object with `state_dict` and `load_state_dict`}, such as the learning rate schedule, early
            stopping and the tracker.
        evaluator: evaluator whose key metric determines the best epoch; without one, the latest epoch is the best.
    """

    def __init__(self, parts: Mapping[str, Any] | None = None, evaluator: Engine | None = None) -> None:
        self._parts = dict(parts or {})
        self._evaluator = evaluator
        self.best_score = float("nan")
        self.best_epoch = 0

    def judge(self, trainer: Engine) -> bool:
        """Records the score of the completed epoch and returns whether it is the best so far (the first of equals).

        As long as no validation has a defined score (because there are no images, or none shows a structure), the
        latest epoch is the best. The last epoch is the best if none has been validated.
        """
        score = self._score(trainer)
        if math.isnan(score) and not (math.isnan(self.best_score) and self._counts_without_score(trainer)):
            return False
        if score <= self.best_score:
            return False
        self.best_score, self.best_epoch = score, trainer.state.epoch
        return True

    def judged(self, trainer: Engine) -> nn.Module:
        """Returns the network whose weights `judge` scores: the evaluator's, without wrappers."""
        network: nn.Module = bare((trainer if self._evaluator is None else self._evaluator).network)
        return network

    def capture(self, trainer: Engine) -> dict[str, Any]:
        """Returns the state as tensors and plain values."""
        counters = {"epoch": trainer.state.epoch, "iteration": trainer.state.iteration}
        return {
            "format": FORMAT,
            **counters,
            "epoch_length": trainer.state.epoch_length,
            "best_score": self.best_score,
            "best_epoch": self.best_epoch,
            "parts": {name: part.state_dict() for name, part in self._all_parts(trainer).items()},
        }

    def restore(self, trainer: Engine, saved: Mapping[str, Any]) -> None:
        """Restores a state that `capture` returned; call it after the run has started.

        The learning rate and weight decay of the config replace those of the checkpoint where they differ.

        Raises:
            ValueError: if the checkpoint has another format, other parts, another network or another epoch length.
        """
        parts = self._all_parts(trainer)
        _check(saved, parts, trainer)
        settings = optimizer_settings(trainer.optimizer)
        try:
            for name, part in parts.items():
                part.load_state_dict(saved["parts"][name])
        except RuntimeError as error:  # torch lists every tensor that differs
            raise ValueError(
                "the checkpoint was written by a training of another network; repeat the network options of that "
                "training, choose another output_dir, or set --resume false to start anew."
            ) from error
        apply_settings(trainer.optimizer, settings, parts.values())
        trainer.state.epoch, trainer.state.iteration = saved["epoch"], saved["iteration"]
        self.best_score, self.best_epoch = saved["best_score"], saved["best_epoch"]
        if self._evaluator is not None and not math.isnan(self.best_score):
            self._evaluator.state.best_metric = self.best_score
            self._evaluator.state.best_metric_epoch = self.best_epoch

    def _score(self, trainer: Engine) -> float:
        """Returns the key metric of this epoch's validation, NaN if there was none; without an evaluator, the epoch."""
        if self._evaluator is None:
            return float(trainer.state.epoch)
        state = self._evaluator.state
        if state.key_metric_name is None:
            raise ValueError(
                "the evaluator declares no key metric; give it key_val_metric={name: MultiTaskMetric(...)}."
            )
        return float(state.metrics[state.key_metric_name]) if state.epoch == trainer.state.epoch else float("nan")

    def _counts_without_score(self, trainer: Engine) -> bool:
        """Whether an epoch may be the best although it has no score."""
        if self._has_validated(trainer):
            return True
        if self.best_epoch > 0 or trainer.state.epoch != trainer.state.max_epochs:
            return False
        _logger.warning("No epoch was validated, so the weights are those of the last one; lower val_interval.")
        return True

    def _has_validated(self, trainer: Engine) -> bool:
        """Whether validation of this epoch is complete; MONAI skips a validation without images."""
        if self._evaluator is None:
            return True
        return self._evaluator.state.epoch == trainer.state.epoch or len(self._evaluator.data_loader) == 0

    def _all_parts(self, trainer: Engine) -> dict[str, Any]:
        parts = {"network": bare(trainer.network), "optimizer": trainer.optimizer}
        if hasattr(trainer.loss_function, "state_dict"):
            parts["loss"] = trainer.loss_function
        if trainer.scaler is not None:
            parts["scaler"] = trainer.scaler
        return parts | self._parts


def bare(network: Any) -> Any:
    """Unwraps a network from `torch.compile` and DistributedDataParallel, so that its state dict has no prefixes."""
    while type(network).__name__ in _WRAPPERS:
        network = getattr(network, _WRAPPERS[type(network).__name__])
    return network


def _check(saved: Mapping[str, Any], parts: Mapping[str, Any], trainer: Engine) -> None:
    if not isinstance(saved, Mapping) or saved.get("format") != FORMAT:
        raise ValueError(
            f"the checkpoint expects a training state of format {FORMAT}, got other content; "
            "a file of weights can initialize a training (start_from), but not resume one."
        )
    if set(saved["parts"]) != set(parts):
        raise ValueError(
            f"the checkpoint contains the state of {sorted(saved['parts'])}, the training has {sorted(parts)}; "
            "resume with the config that it was trained with."
        )
    if saved["epoch_length"] != trainer.state.epoch_length:
        raise ValueError(
            f"the checkpoint has {saved['epoch_length']} iterations per epoch, the training "
            f"{trainer.state.epoch_length}; resume with the same data, batch size and number of processes."
        )
    if saved["epoch"] > trainer.state.max_epochs:
        raise ValueError(
            f"the checkpoint has {saved['epoch']} epochs, more than max_epochs {trainer.state.max_epochs}; increase it."
        )
