"""Converts raw outputs of one image to probabilities, findings and a label map.

The order in a config: `ActivateTasksd`, `RestoreToSourced` (mtmedformer_monai.transforms), `DescribeTasksd`,
`LabelMapd`. Axes: C structures, H and W of the source image.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.transforms import Transform
from torch import Tensor

from mtmedformer_monai.keys import PRED, PROBS, RESULT
from mtmedformer_monai.tasks.applicability import describe_tasks
from mtmedformer_monai.tasks.base import Task


class ActivateTasksd(Transform):
    """Activates raw outputs: `pred` becomes {task: activated output}.

    Args:
        tasks: the network's tasks.
        pred_key: key of {task: raw output of one image}.
    """

    def __init__(self, tasks: Sequence[Task], pred_key: str = PRED) -> None:
        self.tasks = list(tasks)
        self.pred_key = pred_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item, which may be one image or a batch, with activated outputs."""
        item = dict(data)
        outputs = item[self.pred_key]
        item[self.pred_key] = {
            task.name: task.activate(torch.as_tensor(outputs[task.name]).as_subclass(Tensor)) for task in self.tasks
        }
        return item


class DescribeTasksd(Transform):
    """Adds `result`, {task: findings as plain Python values}, and keeps the probabilities under `probs`.

    Args:
        tasks: the network's tasks.
        pred_key: key of {task: activated output}, whose pixels define the coordinates of reported boxes.
    """

    def __init__(self, tasks: Sequence[Task], pred_key: str = PRED) -> None:
        self.tasks = list(tasks)
        self.pred_key = pred_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item with `result` and `probs`."""
        item = dict(data)
        probs = item[self.pred_key]
        item[PROBS] = probs
        item[RESULT] = describe_tasks(self.tasks, probs)
        return item


class LabelMapd(Transform):
    """Converts `pred` to one label map: uint8 (W, H), 0 is background, structures of all tasks are numbered from 1.

    Later structures overwrite earlier ones. Columns come first, as the writers of MONAI and ITK expect for 2D images.

    Args:
        tasks: the network's tasks; those without structures are ignored.
        pred_key: key of {task: probabilities (C, H, W)} in source pixels.
    """

    def __init__(self, tasks: Sequence[Task], pred_key: str = PRED) -> None:
        self.tasks = [task for task in tasks if task.structures]
        self.pred_key = pred_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item with the label map in place of the outputs."""
        item = dict(data)
        item[self.pred_key] = label_map(item[self.pred_key], self.tasks).T.contiguous()
        return item


def label_map(probs: Mapping[str, Tensor], tasks: Sequence[Task]) -> Tensor:
    """Returns one label map, uint8 (H, W), of all structures in {task: (C, H, W)}, numbered from 1 in task order.

    Example:
        >>> from mtmedformer_monai.tasks import SegmentationTask
        >>> lung = SegmentationTask("lung", ["left", "right"])
        >>> label_map({"lung": torch.tensor([[[0.9, 0.1]], [[0.1, 0.8]]])}, [lung]).tolist()
        [[1, 2]]

    Raises:
        ValueError: if there is no segmentation task.
    """
    if not tasks:
        raise ValueError("a label map expects a segmentation task, got none; remove LabelMapd from the config.")
    joined = torch.zeros(probs[tasks[0].name].shape[1:], dtype=torch.uint8)
    number = 0
    for task in tasks:
        for mask in task.masks(probs[task.name]):
            number += 1
            joined[mask] = number
    return joined
