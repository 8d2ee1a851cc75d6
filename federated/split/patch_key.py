"""Random patch orders: sampling, application and inversion.

Axes: B batch, D width, h and w of the grid of patches, N = h * w.
"""

from __future__ import annotations

import torch
from torch import Tensor


def draw_key(patches: Tensor, generator: torch.Generator) -> Tensor:
    """Samples a patch order for each image: (B, N), each row a permutation of 0..N-1.

    Args:
        patches: (B, D, h, w).
        generator: of the site, on the CPU.
    """
    count = patches.shape[2] * patches.shape[3]
    rows = [torch.randperm(count, generator=generator) for _ in range(len(patches))]
    return torch.stack(rows).to(patches.device)


def shuffle(patches: Tensor, key: Tensor) -> Tensor:
    """Permutes patches: patch `key[b, n]` moves to position n.

    Args:
        patches: (B, D, h, w).
        key: (B, N).

    Returns:
        (B, D, h, w).
    """
    flat = patches.flatten(2)
    return flat.gather(2, key[:, None].expand_as(flat)).reshape(patches.shape)


def unshuffle(patches: Tensor, key: Tensor) -> Tensor:
    """Inverts `shuffle`.

    Example:
        >>> patches = torch.arange(6.0).reshape(1, 1, 2, 3)
        >>> key = draw_key(patches, torch.Generator().manual_seed(0))
        >>> torch.equal(unshuffle(shuffle(patches, key), key), patches)
        True
    """
    return shuffle(patches, key.argsort(dim=1))
