"""Turns a collated batch into the network's input and the tasks' targets."""

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

    `image`: float32 (B, 1, H, W) in [0, 1]. Targets: float32 (B, ...), NaN where not annotated; never a MetaTensor.

    Args:
        tasks: whose targets are looked up in the batch, under their names.
        require_targets: in training every task needs its key in the batch, be it all NaN. With False (validation,
            inference) a task without a key is left out of the targets, and of loss and metrics.
        keep_meta: leave the image a MetaTensor, as postprocessing that goes back to the source's pixels wants it;
            False is for `torch.compile`, which fails on MetaTensors.
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
            batchdata: collated items, with the key `image`.
            device: where the network is.
            non_blocking: copy from pinned memory without waiting.
            kwargs: passed on to `Tensor.to`.

        Raises:
            KeyError: no image, or in training a task without a target.
        """
        if IMAGE not in batchdata:
            raise KeyError(
                f"the batch expects the key {IMAGE!r}, got {sorted(batchdata)}; load it with LoadRadiographd."
            )
        missing = [name for name in self._names if name not in batchdata]
        if missing and self._require_targets:
            raise KeyError(
                f"training expects a target of each task in the batch, got none of {missing}; put LoadTargetsd with "
                "these tasks into the preprocessing (it gives NaN where an image is not annotated)."
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
