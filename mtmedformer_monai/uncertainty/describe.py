"""Carries uncertainty past the activation, and writes it beside the findings of one image."""

# C structures, A points, K classes; h, w network pixels

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform
from torch import Tensor

from mtmedformer_monai.keys import IMAGE, PRED, PROBS, RESULT, UNCERTAINTY, MetaKey
from mtmedformer_monai.tasks.base import Task


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
        measures: dict[str, dict[str, Tensor]] = {}
        for name, value in item[self.pred_key].items():
            task, dot, measure = name.partition(".")
            if dot:
                measures.setdefault(task, {})[measure] = torch.as_tensor(value)  # decollation makes scalars floats
        item[self.pred_key] = {name: value for name, value in item[self.pred_key].items() if "." not in name}
        item[UNCERTAINTY] = measures
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
        item[RESULT] = dict(item[RESULT])
        to_source = np.asarray(item[self.image_key].meta[MetaKey.TO_SOURCE], dtype=np.float64)[:2, :2]
        for task in self.tasks:
            item[RESULT][task.name] = task.describe_uncertainty(
                dict(item[RESULT][task.name]),
                item[PROBS][task.name],
                item[UNCERTAINTY][task.name],
                torch.from_numpy(to_source.copy()),
            )
        return item
