"""Which tensors of a network are averaged plainly, whatever a strategy does with parameters.

No gradient reaches counters and batch norm's running statistics: nothing that acts on gradients can hold them, and a
posterior of them means nothing.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

from torch import Tensor

STATISTICS: Final = ("*running_mean", "*running_var", "*num_batches_tracked")
"""Names of batch norm's buffers."""


def is_averaged(name: str, value: Tensor) -> bool:
    """Whether a tensor is a counter or a running statistic.

    Example:
        >>> import torch
        >>> is_averaged("norm.running_mean", torch.zeros(2)), is_averaged("norm.weight", torch.zeros(2))
        (True, False)
    """
    return not value.is_floating_point() or any(fnmatchcase(name, pattern) for pattern in STATISTICS)
