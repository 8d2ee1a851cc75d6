"""Postprocessing transforms that add uncertainty to the findings."""

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
    """Moves `{task}.{measure}` from the prediction to `uncertainty`.

    List it before `ActivateTasksd`, which removes such entries.

    Args:
        pred_key: key of the outputs of a `PosteriorInferer`, for one image or a batch.
    """

    def __init__(self, pred_key: str = PRED) -> None:
        self.pred_key = pred_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item with the outputs of the tasks and, separately, `uncertainty`."""
        item = dict(data)
        measures: dict[str, dict[str, Tensor]] = {}
        for name, value in item[self.pred_key].items():
            task, dot, measure = name.partition(".")
            if dot:
                measures.setdefault(task, {})[measure] = torch.as_tensor(value)  # decollation yields floats
        item[self.pred_key] = {name: value for name, value in item[self.pred_key].items() if "." not in name}
        item[UNCERTAINTY] = measures
        return item


class DescribeUncertaintyd(Transform):
    """Adds uncertainty to the findings of each task; list it after `DescribeTasksd`.

    - Classes: `entropy` and `mutual_information` in nats (multi-label: per class), and `std` of each probability.
    - Masks: `disagreement` in [0, 1] per structure, the mean of 1 - Dice between samples and the combined mask.
    - Boxes: for each box, `std` of its edges in x and in y, in source pixels, and `score_std`.

    Args:
        tasks: the network's tasks.
        image_key: key of the image, whose metadata contain the mapping to source pixels.
    """

    def __init__(self, tasks: Sequence[Task], image_key: str = IMAGE) -> None:
        self.tasks = list(tasks)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item with extended findings."""
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
