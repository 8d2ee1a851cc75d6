"""Tensors that are plainly averaged, whatever a strategy does with parameters.

Counters and batch norm's running statistics receive no gradients: corrections of gradients do not affect them, and a
posterior over them is meaningless.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

from torch import Tensor

STATISTICS: Final = ("*running_mean", "*running_var", "*num_batches_tracked")
"""Name patterns of batch norm's buffers."""


def is_averaged(name: str, value: Tensor) -> bool:
    """Returns whether a tensor is a counter or a running statistic.

    Example:
        >>> import torch
        >>> is_averaged("norm.running_mean", torch.zeros(2)), is_averaged("norm.weight", torch.zeros(2))
        (True, False)
    """
    return not value.is_floating_point() or any(fnmatchcase(name, pattern) for pattern in STATISTICS)
