"""Settings of an optimizer that a resumed training takes from its config, not from the checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

_logger = logging.getLogger(__name__)

_OPTIONS = {"initial_lr": "learning_rate", "weight_decay": "weight_decay"}
"""{setting of a group of parameters: option of the config}; torch's schedules set `initial_lr`."""


def optimizer_settings(optimizer: Optimizer) -> list[dict[str, float]]:
    """Returns the settings of each group of parameters."""
    return [{name: group[name] for name in _OPTIONS if name in group} for group in optimizer.param_groups]


def apply_settings(optimizer: Optimizer, settings: Sequence[Mapping[str, float]], parts: Iterable[Any]) -> None:
    """Replaces settings that differ; the learning rate keeps its place in the schedule. Equal ones are not touched.

    Args:
        optimizer: optimizer with the state of a checkpoint.
        settings: settings of the config, as `optimizer_settings` returned them before the state was loaded.
        parts: parts of the training, among them the optimizer's schedule.
    """
    if settings == optimizer_settings(optimizer):
        return
    for group, configured in zip(optimizer.param_groups, settings, strict=True):
        for name, value in configured.items():
            if value != group[name]:
                _logger.info("%s is %g from here on, and %g before.", _OPTIONS[name], value, group[name])
            if name == "initial_lr" and value != group[name]:
                group["lr"] = group["lr"] * value / group[name] if group[name] else value
            group[name] = value
    for part in parts:
        if isinstance(part, LRScheduler) and part.optimizer is optimizer:
            part.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
