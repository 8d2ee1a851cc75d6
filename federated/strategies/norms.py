"""Names of a network's norms."""

from __future__ import annotations

from itertools import chain
from typing import Final

from torch import nn

NORM_PATTERNS: Final = ("*norm*", "bn[0-9]*", "*.bn[0-9]*", "*downsample.1.*", "*.N.*")
"""Patterns that the norms of our networks, of MONAI's (`N` is that of its blocks) and of torchvision's are named by."""


def norm_parameters(network: nn.Module) -> list[str]:
    """Parameters and buffers of all norms: of every module whose class is named for one.

    Example:
        >>> norm_parameters(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)))
        ['1.weight', '1.bias']
    """
    names = []
    for path, module in network.named_modules():
        if "Norm" in type(module).__name__:
            own = chain(module.named_parameters(recurse=False), module.named_buffers(recurse=False))
            names += [f"{path}.{name}" if path else name for name, _ in own]
    return names
