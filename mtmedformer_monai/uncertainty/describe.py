"""Carries uncertainty past the activation, and writes it beside the findings of one image."""

# C structures, A points, K classes; h, w network pixels

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform
from torch import Tensor

from mtmedformer_monai.keys import IMAGE, PRED, PROBS, RESULT, MetaKey
from mtmedformer_monai.tasks.base import Task
from mtmedformer_monai.tasks.classification import ClassificationTask
from mtmedformer_monai.tasks.detection import DetectionTask
from mtmedformer_monai.tasks.segmentation import SegmentationTask

UNCERTAINTY = "uncertainty"
"""{task: {figure: tensor}} of one image, in the network's pixels; and its place in a task's findings."""


class KeepUncertaintyd(Transform):
    """Moves `{task}.{figure}` of the prediction to `uncertainty`: before `ActivateTasksd`, which would drop them.

    Args:
        pred_key: key of a `PosteriorInferer`'s outputs, of one image or a batch.
    """

    def __init__(self, pred_key: str = PRED) -> None:
        self.pred_key = pred_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item with plain outputs, and `uncertainty` beside them."""
        item = dict(data)
        figures: dict[str, dict[str, Tensor]] = {}
        for name, value in item[self.pred_key].items():
            task, dot, figure = name.partition(".")
            if dot:
                figures.setdefault(task, {})[figure] = torch.as_tensor(value)  # decollation makes scalars floats
        item[self.pred_key] = {name: value for name, value in item[self.pred_key].items() if "." not in name}
        item[UNCERTAINTY] = figures
        return item


class DescribeUncertaintyd(Transform):
    """Writes what is uncertain into each task's findings, after `DescribeTasksd`.

    - Classes: `entropy` and `mutual_information` in nats (multi-label: by class), `std` of each probability.
    - Masks: `disagreement` by structure, in [0, 1]: mean of 1 - Dice between draws and the mask.
    - Boxes, each in itself: `std` of its edges in columns and in rows, in the source's pixels, and its `score_std`.

    Args:
        tasks: the network's tasks.
        image_key: key of the image whose metadata lead back to the source.
    """

    def __init__(self, tasks: Sequence[Task], image_key: str = IMAGE) -> None:
        self.tasks = list(tasks)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item with richer findings."""
        item = dict(data)
        item[RESULT] = {name: dict(finding) for name, finding in item[RESULT].items()}
        for task in self.tasks:
            finding, figures = item[RESULT][task.name], item[UNCERTAINTY][task.name]
            if isinstance(task, ClassificationTask):
                finding[UNCERTAINTY] = _of_classes(task, figures)
            elif isinstance(task, SegmentationTask):
                finding[UNCERTAINTY] = {"disagreement": _named(task.structures, figures["disagreement"])}
            elif isinstance(task, DetectionTask):
                to_source = item[self.image_key].meta[MetaKey.TO_SOURCE]
                _add_to_boxes(task, finding["boxes"], item[PROBS][task.name], figures, to_source)
        return item


def _of_classes(task: ClassificationTask, figures: Mapping[str, Tensor]) -> dict[str, Any]:
    joint = {
        name: _named(task.classes, figures[name]) if figures[name].ndim else round(float(figures[name]), 6)
        for name in ("entropy", "mutual_information")
    }
    return joint | {"std": _named(task.classes, figures["std"])}


def _named(names: Sequence[str], values: Tensor) -> dict[str, float]:
    return {name: round(value, 6) for name, value in zip(names, values.tolist(), strict=True)}


def _add_to_boxes(
    task: DetectionTask, boxes: Sequence[dict[str, Any]], rows: Tensor, figures: Mapping[str, Tensor], to_source: Any
) -> None:
    """Finds each reported box among all rows (A, 7 + K), as its rounded values are its row's."""
    matrix = torch.as_tensor(np.asarray(to_source)[:2, :2], dtype=torch.float64)
    for box in boxes:
        index = task.classes.index(box["class"])
        distance = (rows[:, :4].double() - torch.tensor(box["box"], dtype=torch.float64)).abs().sum(dim=1)
        distance += (rows[:, 7 + index].double() - box["score"]).abs()
        point = int(distance.argmin())
        edges = figures["box_std"][point].double().square().reshape(2, 2).mean(dim=0)  # x of both edges, y of both
        box["std"] = [round(value, 2) for value in (matrix.square() @ edges).sqrt().tolist()]
        box["score_std"] = round(float(figures["std"][point, index]), 6)
