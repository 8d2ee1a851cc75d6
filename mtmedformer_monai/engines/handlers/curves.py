"""Plots losses and metrics over the epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mtmedformer_monai.keys import LOSS
from mtmedformer_monai.tasks.base import Task
from mtmedformer_monai.visualization.palette import FAINT, INK, color_of, new_figure, save_figure

from .history import History, Row
from .order import after_all


class TrainingCurves:
    """Plots the joint loss, the loss and the primary metric of each task to `curves.png` when training is completed.

    Args:
        tasks: the network's tasks.
        history: history that is attached to the same trainer before this handler.
        folder: folder of the picture.
    """

    def __init__(self, tasks: Sequence[Task], history: History, folder: str) -> None:
        self._tasks = list(tasks)
        self._history = history
        self._path = Path(folder) / "curves.png"

    def attach(self, engine: Engine) -> None:
        """Registers the handler on a trainer."""
        after_all(engine, Events.COMPLETED, self)

    def __call__(self) -> None:
        """Draws the curves on process 0."""
        if idist.get_rank() == 0 and self._history.rows:
            draw_curves(self._history, self._tasks, self._path)


def draw_curves(history: History, tasks: Sequence[Task], path: str | Path) -> None:
    """Writes a picture of three panels over the epochs; training is dashed, validation solid, one color per task."""
    figure = new_figure(13, 4)
    joint, by_task, scores = figure.subplots(1, 3)
    rows = history.rows
    _plot(joint, rows, "train", LOSS, INK, "training")
    _plot(joint, rows, "validation", LOSS, INK, "validation")
    _finish(joint, "Joint loss", history)
    for index, task in enumerate(tasks):
        for part, label in (("train", None), ("validation", task.name)):
            _plot(by_task, rows, part, f"{LOSS}_{task.name}", color_of(index), label)
        name = f"{task.name}_{task.primary_metric}"
        _plot(scores, rows, "validation", name, color_of(index), f"{task.name}: {task.primary_metric}")
    if history.key_metric is not None:
        _plot(scores, rows, "validation", history.key_metric, INK, history.key_metric)
    _finish(by_task, "Loss by task (dashed: training)", history)
    _finish(scores, "Validation metrics", history)
    if all(0 <= value <= 1 for line in scores.get_lines() for value in line.get_ydata()):
        scores.set_ylim(-0.02, 1.02)
    save_figure(figure, path)


def _plot(axes: Axes, rows: list[Row], part: str, name: str, color: str, label: str | None) -> None:
    points = [(row["epoch"], row[part].get(name, math.nan)) for row in rows]
    known = [(epoch, value) for epoch, value in points if math.isfinite(value)]
    if not known:
        return
    style: dict[str, Any] = {"linestyle": "--", "linewidth": 1.2} if part == "train" else {"linewidth": 1.8}
    axes.plot(*zip(*known, strict=True), color=color, label=label, marker="o", markersize=3, **style)


def _finish(axes: Axes, title: str, history: History) -> None:
    best = history.best()
    if best is not None and best["validation"]:
        axes.axvline(best["epoch"], color=FAINT, linewidth=1, zorder=0, label=f"best: epoch {best['epoch']}")
    axes.set_title(title, fontsize=11, color=INK)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(color="#EEEEEE")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False)
