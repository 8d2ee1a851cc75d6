"""Draws annotations and predictions onto images."""

# S structures, N boxes, K classes

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from torch import Tensor

from mtmedformer_monai.keys import NOTICE
from mtmedformer_monai.tasks.applicability import NOT_APPLICABLE, describe_tasks
from mtmedformer_monai.tasks.base import Task

from .palette import FAINT, INK, color_of, new_figure, save_figure

MIN_SCORE = 0.3
"""Minimum score of a drawn box of a task without operating thresholds; more boxes would clutter the picture."""

MAX_BOXES = 5
ROW_INCHES = 3.4
"""Minimum height of an example."""

LINE_POINTS = 14
"""Height of a line of the text beside an image, in points."""

_LABEL_SHARE = 0.07
"""Height of a box's label, at most, as a fraction of that of the image."""

BOX_COLOR = "#F0E442"
GRAY = "#777777"

Panels = tuple[Axes | None, Axes]
"""Axes of the annotation (None to not draw it) and of the prediction."""


@dataclass(frozen=True)
class Example:
    """One image with its targets and predictions, on the CPU.

    `image`: float (H, W) in [0, 1]. `targets`: {task: target} without the batch axis. `probs`: {task: activated
    output} likewise.
    """

    image: Tensor
    targets: dict[str, Tensor]
    probs: dict[str, Tensor]


def draw_examples(examples: Sequence[Example], tasks: Sequence[Task], path: str | Path) -> None:
    """Writes a picture with one row per example: annotation, prediction and classes. Images are not identified."""
    lines = max(len(_words(tasks, example)) for example in examples)
    figure = new_figure(9.5, max(ROW_INCHES, (lines + 1) * LINE_POINTS / 72) * len(examples) + 0.4)
    grid = figure.subplots(len(examples), 3, squeeze=False, width_ratios=(1, 1, 0.8))
    for row, example in zip(grid, examples, strict=True):
        for axes, title in zip(row, ("annotated", "predicted"), strict=False):
            _tag(axes, 0.02, 0.98, title, "white", va="top", transform=axes.transAxes)
            _show(axes, example if title == "annotated" else _filled(example, tasks))
        row[2].axis("off")
        for index, task in enumerate(tasks):
            _draw_masks((row[0], row[1]), task, example, first_color=_num_structures(tasks[:index]))
            _draw_boxes((row[0], row[1]), task, example)
        _write_classes(row[2], tasks, example)
    figure.legend(handles=_legend(tasks), loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    figure.suptitle(NOTICE, fontsize=9, color=INK)
    save_figure(figure, path)


def draw_prediction(example: Example, tasks: Sequence[Task], path: str | Path) -> None:
    """Writes a picture of one image with its predictions and, beside it, its classes; targets are not drawn."""
    rows, columns = example.image.shape
    example = Example(example.image, {}, example.probs)
    figure = new_figure(8.0, min(max(6.0 * rows / columns, 3.0), 12.0) + 0.4)
    axes, words = figure.subplots(1, 2, width_ratios=(1, 0.32))
    _show(axes, example)
    words.axis("off")
    for index, task in enumerate(tasks):
        _draw_masks((None, axes), task, example, first_color=_num_structures(tasks[:index]))
        _draw_boxes((None, axes), task, example)
    _write_classes(words, tasks, example)
    figure.legend(handles=_legend(tasks), loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    figure.suptitle(NOTICE, fontsize=9, color=INK)
    save_figure(figure, path)


def _filled(example: Example, tasks: Sequence[Task]) -> Example:
    """Returns the example with masked pixels filled with their reconstruction, if a task reconstructs them."""
    image = example.image
    for task in tasks:
        target = example.targets.get(task.name)
        if target is not None and task.name in example.probs:
            image = task.complete_image(image, example.probs[task.name], target)
    return Example(image, example.targets, example.probs)


def _show(axes: Axes, example: Example) -> None:
    axes.imshow(example.image.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.axis("off")


def _draw_masks(panels: Panels, task: Task, example: Example, first_color: int) -> None:
    probs, target = example.probs.get(task.name), example.targets.get(task.name)
    if probs is None or not task.structures:
        return
    for index, mask in enumerate(task.masks(probs)):
        color = color_of(first_color + index)
        _contour(panels[1], mask, color)
        if target is not None and panels[0] is not None:
            _contour(panels[0], target[index] > 0.5, color)  # False for NaN


def _contour(axes: Axes, mask: Tensor, color: str) -> None:
    if not bool(mask.any()):
        return
    padded = np.pad(mask.numpy().astype(float), 1)  # closes contours at the border
    places = [np.arange(-1, size + 1) for size in mask.shape]
    axes.contour(places[1], places[0], padded, levels=[0.5], colors=[color], linewidths=1.4)
    axes.contourf(places[1], places[0], padded, levels=[0.5, 1.5], colors=[color], alpha=0.13)
    axes.set_xlim(-0.5, mask.shape[1] - 0.5)
    axes.set_ylim(mask.shape[0] - 0.5, -0.5)


def _draw_boxes(panels: Panels, task: Task, example: Example) -> None:
    described = _described(task, example)
    lowest = 0.0 if described.get("thresholds") else MIN_SCORE  # operating thresholds have selected them already
    for box in [b for b in described.get("boxes", []) if b["score"] >= lowest][:MAX_BOXES]:
        _rectangle(panels[1], box["box"], f"{box['class']} {box['score']:.2f}")
    target = example.targets.get(task.name)
    if panels[0] is None or target is None:
        return
    for box in task.describe_target(target).get("boxes", []):
        _rectangle(panels[0], box["box"], box["class"])


def _rectangle(axes: Axes, box: Sequence[float], label: str) -> None:
    x1, y1, x2, y2 = (value - 0.5 for value in box)  # imshow centers pixel 0 on 0, boxes start it there
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=BOX_COLOR, linewidth=1.4))
    columns, rows = np.ptp(axes.get_xlim()), np.ptp(axes.get_ylim())
    is_right, is_top = x1 + x2 > columns, y1 < _LABEL_SHARE * rows  # else the edge of the image would cut the label off
    options = {"ha": "right" if is_right else "left", "va": "top" if is_top else "bottom"}
    _tag(axes, x2 if is_right else x1, y1, label, BOX_COLOR, clip_on=True, **options)


def _tag(axes: Axes, x: float, y: float, text: str, color: str, **options: Any) -> None:
    """Draws small text on a dark background, legible on any image."""
    ground = {"facecolor": "black", "alpha": 0.55, "edgecolor": "none", "pad": 1.0}
    axes.text(x, y, text, color=color, fontsize=8, bbox=ground, **options)


def _write_classes(axes: Axes, tasks: Sequence[Task], example: Example) -> None:
    for place, (text, color, weight) in enumerate(_words(tasks, example)):
        below_top: dict[str, Any] = {"xy": (0, 1), "xycoords": "axes fraction", "va": "top"}
        offset = (0, -LINE_POINTS * place)
        axes.annotate(
            text, color=color, fontweight=weight, fontsize=8.5, xytext=offset, textcoords="offset points", **below_top
        )


def _words(tasks: Sequence[Task], example: Example) -> list[tuple[str, str, str]]:
    """Returns all lines of text beside an example: text, color and font weight."""
    void = _not_applicable(tasks, example)
    return [
        line
        for task in tasks
        for line in (*_class_lines(task, example, task.name in void), *_missing_lines(task, example))
    ]


def _not_applicable(tasks: Sequence[Task], example: Example) -> set[str]:
    """Returns the names of tasks whose condition is not met; empty if the example has targets."""
    predicted = [task for task in tasks if task.name in example.probs]
    found = describe_tasks(predicted, example.probs) if not example.targets else {}
    return {name for name, result in found.items() if not result.get("applicable", True)}


def _class_lines(task: Task, example: Example, is_void: bool) -> list[tuple[str, str, str]]:
    """Returns lines for a task and its classes; true classes (without targets, the decision) are highlighted."""
    described = _described(task, example)
    probs: dict[str, float] = described.get("probs", {})
    if not probs:
        return []
    if is_void:
        return [(task.name, INK, "bold"), (f"  {NOT_APPLICABLE}", INK, "normal"), ("", FAINT, "normal")]
    truth = _true_classes(task, example)
    unknown = " (not annotated)" if truth is None and task.name in example.targets else ""
    lines = [(task.name + unknown, INK, "bold")]
    for name, value in probs.items():
        is_true = truth is not None and name in truth
        stands_out = is_true if truth is not None else name in _decided(described)
        mark = "   (true)" if is_true else ""
        lines.append((f"  {value:.2f}  {name}{mark}", INK if stands_out else GRAY, "normal"))
    return [*lines, ("", FAINT, "normal")]


def _decided(described: dict[str, Any]) -> list[str]:
    """Returns the classes that a finding decides for, by operating thresholds if it has some."""
    single = [described["class"]] if "class" in described else []
    return [*single, *described.get("classes", []), *described.get("flagged", [])]


def _missing_lines(task: Task, example: Example) -> list[tuple[str, str, str]]:
    """Returns lines for structures and boxes that are not annotated, which otherwise look like absent ones."""
    target = example.targets.get(task.name)
    if target is None or target.ndim < 2:
        return []
    structures = task.structures
    names = [name for name, channel in zip(structures, target, strict=False) if bool(torch.isnan(channel).all())]
    if not structures and bool(torch.isnan(target).all()):
        names = [task.name]
    return [(f"{name} (not annotated)", INK, "bold") for name in names]


def _true_classes(task: Task, example: Example) -> list[str] | None:
    target = example.targets.get(task.name)
    truth = task.describe_target(target) if target is not None else {}
    if "class" in truth:
        return [str(truth["class"])]
    found: list[str] | None = truth.get("classes")
    return found


def _described(task: Task, example: Example) -> dict[str, Any]:
    return task.describe(example.probs[task.name]) if task.name in example.probs else {}


def _num_structures(tasks: Sequence[Task]) -> int:
    return sum(len(task.structures) for task in tasks)


def _legend(tasks: Sequence[Task]) -> list[Line2D]:
    structures = [name for task in tasks for name in task.structures]
    handles = [Line2D([], [], color=color_of(i), linewidth=2, label=name) for i, name in enumerate(structures)]
    if any(task.has_boxes for task in tasks):
        handles.append(Line2D([], [], color=BOX_COLOR, linewidth=2, label="box"))
    return handles
