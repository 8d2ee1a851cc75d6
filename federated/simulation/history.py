"""Metrics of a simulation by round: a file and a figure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from mtmedformer_monai.engines.handlers.history import write_json
from mtmedformer_monai.visualization.palette import INK, color_of, new_figure, save_figure

Metrics = dict[str, float]
Round = dict[str, Any]
"""`round`, `seconds`, `bytes_sent`, `bytes_broadcast`, `global` {metric: value}, `sites` {name: {metric: value}}."""

KEY_METRIC = "mean_score"


def write_rounds(rounds: Sequence[Round], path: Path) -> None:
    """Writes all rounds so far atomically."""
    write_json(path, list(rounds))


def read_rounds(path: Path) -> list[Round]:
    """Reads the rounds; without a file, there are none. Undefined metrics are NaN."""
    if not path.is_file():
        return []
    rounds: list[Round] = json.loads(path.read_text(encoding="utf-8"))
    for row in rounds:
        row["global"] = with_nan(row["global"])
        row["sites"] = {name: with_nan(metrics) for name, metrics in row["sites"].items()}
    return rounds


def with_nan(metrics: Mapping[str, float | None]) -> Metrics:
    """Replaces null, which stands for undefined metrics in JSON, by NaN."""
    return {name: math.nan if value is None else float(value) for name, value in metrics.items()}


def draw_rounds(rounds: Sequence[Round], primary: Sequence[str], path: Path) -> None:
    """Draws metrics by round in two panels: the global model's metric for each task, and the mean score at each site.

    Args:
        rounds: with metrics on validation images.
        primary: names of the tasks' primary metrics.
        path: of the PNG file.
    """
    figure = new_figure(11, 4)
    by_task, by_site = figure.subplots(1, 2)
    numbers = [row["round"] for row in rounds]
    for index, name in enumerate(primary):
        _plot(by_task, numbers, [row["global"].get(name, math.nan) for row in rounds], color_of(index), name)
    _plot(by_task, numbers, [row["global"].get(KEY_METRIC, math.nan) for row in rounds], INK, KEY_METRIC)
    for index, site in enumerate(sorted({name for row in rounds for name in row["sites"]})):
        values = [row["sites"].get(site, {}).get(KEY_METRIC, math.nan) for row in rounds]
        _plot(by_site, numbers, values, color_of(index), site)
    for axes, title in ((by_task, "The global model on all validation images"), (by_site, f"{KEY_METRIC} by site")):
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("round")
        axes.set_ylim(-0.02, 1.02)
        if axes.lines:
            axes.legend(fontsize=7, frameon=False)
    save_figure(figure, path)


def _plot(axes: Axes, numbers: Sequence[int], values: Sequence[float], color: str, label: str) -> None:
    known = [(number, value) for number, value in zip(numbers, values, strict=True) if math.isfinite(value)]
    if known:
        axes.plot(*zip(*known, strict=True), color=color, label=label, marker="o", markersize=3, linewidth=1.6)
