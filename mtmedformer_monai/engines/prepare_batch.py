"""Splits a collated batch into the network input and the targets of the tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.engines import PrepareBatch
from torch import Tensor

from mtmedformer_monai.keys import IMAGE
from mtmedformer_monai.tasks.base import Task


class PrepareMultiTaskBatch(PrepareBatch):
    """Returns `(image, {task: target})` for MONAI's stock engines.

    `image`: float32 (B, 1, H, W) in [0, 1]. Targets: plain float32 tensors (B, ...), NaN where not annotated.

    Args:
        tasks: tasks whose names are the keys of their targets in the batch.
        require_targets: if True (training), the batch must contain a target of every task, possibly all NaN. If False
            (validation, inference), a task without a target is omitted from the targets, and so from loss and metrics.
        keep_meta: keep the image a MetaTensor, as needed by postprocessing that maps results to source pixels. Set it
            to False for `torch.compile`, which does not support MetaTensors.
    """

    def __init__(self, tasks: Sequence[Task], require_targets: bool = True, keep_meta: bool = True) -> None:
        self._names = [task.name for task in tasks]
        self._require_targets = require_targets
        self._keep_meta = keep_meta

    def __call__(
        self,
        batchdata: Mapping[str, Any],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Moves one batch to the device.

        Args:
            batchdata: collated items with the key `image`.
            device: the network's device.
            non_blocking: copy asynchronously from pinned memory.
            kwargs: passed on to `Tensor.to`.

        Raises:
            KeyError: if the image or, in training, the target of a task is missing.
        """
        if IMAGE not in batchdata:
            raise KeyError(
                f"the batch expects the key {IMAGE!r}, got {sorted(batchdata)}; load it with LoadRadiographd."
            )
        missing = [name for name in self._names if name not in batchdata]
        if missing and self._require_targets:
            raise KeyError(
                f"training expects a target of each task in the batch, got none of {missing}; add LoadTargetsd with "
                "these tasks to the preprocessing (targets of images that are not annotated are NaN)."
            )
        image = batchdata[IMAGE].to(device=device, non_blocking=non_blocking, **kwargs)
        present = [name for name in self._names if name in batchdata]
        targets = {
            name: _plain(batchdata[name]).to(device=device, non_blocking=non_blocking, **kwargs) for name in present
        }
        return (image if self._keep_meta else _plain(image)), targets


def _plain(tensor: Tensor) -> Tensor:
    plain: Tensor = tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor
    return plain
