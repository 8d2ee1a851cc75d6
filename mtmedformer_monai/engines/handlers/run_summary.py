"""Summarizes a completed run: metrics as a table in the log and as a file, and the paths of the pictures."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import ignite.distributed as idist
from ignite.engine import Engine, Events

from mtmedformer_monai.tasks.base import Task

from .history import History, write_json
from .order import after_all

_logger = logging.getLogger(__name__)


class RunSummary:
    """Writes `metrics.json` and logs a table of metrics when the run is completed.

    Attached to a trainer with a history, it reports the validation metrics of the best epoch; attached to an evaluator,
    the evaluator's metrics.

    Args:
        tasks: the network's tasks.
        folder: folder of `metrics.json`, whose pictures are listed.
        history: history of the training; None for an evaluator.
    """

    def __init__(self, tasks: Sequence[Task], folder: str, history: History | None = None) -> None:
        self._tasks = [task.name for task in tasks]
        self._folder = Path(folder)
        self._history = history

    def attach(self, engine: Engine) -> None:
        """Registers the handler on a trainer or an evaluator. List it after the handlers that draw pictures."""
        after_all(engine, Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Writes and logs the summary on process 0."""
        if idist.get_rank() != 0:
            return
        best = self._history.best() if self._history is not None else None
        metrics = dict(best["validation"] if best is not None else engine.state.metrics)
        content = {"epoch": best["epoch"], **metrics} if best is not None else metrics
        write_json(self._folder / "metrics.json", content)
        of_epoch = f" of epoch {best['epoch']}, the best" if best is not None else ""
        _logger.info("Metrics%s:\n%s", of_epoch, table(metrics, self._tasks))
        pictures = sorted(self._folder.glob("*.png"))
        _logger.info("Metrics written to %s", self._folder / "metrics.json")
        _logger.info("Pictures: %s", ", ".join(map(str, pictures)) or "none")


def table(metrics: Mapping[str, float], tasks: Sequence[str]) -> str:
    """Formats metrics as text: one line per task, then a line of the metrics that belong to no task.

    Args:
        metrics: {`<task>_<metric>` or another name: value}; undefined values (NaN) are shown as a dash.
        tasks: task names; if several are a prefix of a metric, the longest one applies (`opacity_box_ap`).
    """
    groups: dict[str, list[str]] = {task: [] for task in [*tasks, ""]}
    for name, value in metrics.items():
        if name == "loss" or name.startswith("loss_"):
            continue
        task = max((t for t in tasks if name.startswith(f"{t}_")), key=len, default="")
        shown = "-" if math.isnan(value) else f"{value:.0f}" if name.endswith("_cases") else f"{value:.3f}"
        groups[task].append(f"{name.removeprefix(task + '_') if task else name} {shown}")
    width = max(map(len, groups), default=0)
    return "\n".join(f"  {task:<{width}}  {'   '.join(parts)}" for task, parts in groups.items() if parts)
