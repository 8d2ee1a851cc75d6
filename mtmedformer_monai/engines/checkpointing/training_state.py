"""All that a training has to remember to go on as if it had never stopped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine

FORMAT = 1
"""Raised when a checkpoint's layout changes."""

_WRAPPERS = {"OptimizedModule": "_orig_mod", "DistributedDataParallel": "module", "DataParallel": "module"}


class TrainingState:
    """Collects and restores the state of a trainer at the end of an epoch.

    The trainer's network, optimizer, loss (if it has state, as learned balances do) and gradient scaler are found
    by themselves, and so is the number of its epochs and iterations; the best score and its epoch are kept here.
    Generators need no place: `SeedEachEpoch` seeds them anew.

    Args:
        parts: what else has `state_dict` and `load_state_dict`, by name: learning rate schedule, early stop, tracker.
        evaluator: its key metric decides which epoch is the best; without one the latest is.
    """

    def __init__(self, parts: Mapping[str, Any] | None = None, evaluator: Engine | None = None) -> None:
        self._parts = dict(parts or {})
        self._evaluator = evaluator
        self.best_score = float("nan")
        self.best_epoch = 0

    def judge(self, trainer: Engine) -> bool:
        """Whether the epoch that ends is the best so far (a first one among equals stays); remembers it.

        While validation gives no score at all (it has no images, or none that shows a structure), the latest epoch
        is the best.
        """
        score = self._score(trainer)
        if math.isnan(score) and not (math.isnan(self.best_score) and self._has_validated(trainer)):
            return False
        if score <= self.best_score:
            return False
        self.best_score, self.best_epoch = score, trainer.state.epoch
        return True

    def capture(self, trainer: Engine) -> dict[str, Any]:
        """Returns tensors and plain values, to be saved."""
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
        """Puts back what `capture` returned; call it when the run has started.

        Raises:
            ValueError: the checkpoint is of another format, other parts or another length of an epoch.
        """
        parts = self._all_parts(trainer)
        _check(saved, parts, trainer)
        for name, part in parts.items():
            part.load_state_dict(saved["parts"][name])
        trainer.state.epoch, trainer.state.iteration = saved["epoch"], saved["iteration"]
        self.best_score, self.best_epoch = saved["best_score"], saved["best_epoch"]
        if self._evaluator is not None and not math.isnan(self.best_score):
            self._evaluator.state.best_metric = self.best_score
            self._evaluator.state.best_metric_epoch = self.best_epoch

    def _score(self, trainer: Engine) -> float:
        """The key metric of this epoch's validation; NaN where there was none; the epoch without an evaluator."""
        if self._evaluator is None:
            return float(trainer.state.epoch)
        state = self._evaluator.state
        if state.key_metric_name is None:
            raise ValueError(
                "the evaluator declares no key metric; give it key_val_metric={name: MultiTaskMetric(...)}."
            )
        return float(state.metrics[state.key_metric_name]) if state.epoch == trainer.state.epoch else float("nan")

    def _has_validated(self, trainer: Engine) -> bool:
        """Whether this epoch's validation is over; one without images is skipped by MONAI."""
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
    """The network inside `torch.compile`'s and DistributedDataParallel's wrappers, whose state has no prefixes."""
    while type(network).__name__ in _WRAPPERS:
        network = getattr(network, _WRAPPERS[type(network).__name__])
    return network


def _check(saved: Mapping[str, Any], parts: Mapping[str, Any], trainer: Engine) -> None:
    if not isinstance(saved, Mapping) or saved.get("format") != FORMAT:
        raise ValueError(
            f"the checkpoint expects a training state of format {FORMAT}, got other content; "
            "a file of weights alone can start a training (CheckpointLoader), but not resume one."
        )
    if set(saved["parts"]) != set(parts):
        raise ValueError(
            f"the checkpoint holds the state of {sorted(saved['parts'])}, the training has {sorted(parts)}; "
            "resume with the config that it was trained with."
        )
    if saved["epoch_length"] != trainer.state.epoch_length:
        raise ValueError(
            f"the checkpoint counts {saved['epoch_length']} iterations an epoch, the training "
            f"{trainer.state.epoch_length}; data, batch size and number of processes must stay to resume exactly."
        )
    if saved["epoch"] > trainer.state.max_epochs:
        raise ValueError(
            f"the checkpoint has {saved['epoch']} epochs, more than max_epochs {trainer.state.max_epochs}; raise it."
        )
