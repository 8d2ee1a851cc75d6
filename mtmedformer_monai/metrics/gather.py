"""Gathers the rows that the processes of a distributed run have accumulated."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.utils import evenly_divisible_all_gather
from torch import Tensor


def gather_rows(batches: Sequence[Tensor], width: int) -> Tensor:
    """Concatenates rows over batches and processes; every process gets the same result.

    A run with one process needs no communication. Processes may have different numbers of rows, including none. A
    sampler that pads the last batch (torch's default) makes the padding count twice; for validation, use MONAI's
    `DistributedSampler` with `even_divisible=False`.

    Args:
        batches: tensors, float64 (rows, width).
        width: number of columns, needed if a process has no rows.

    Returns:
        float64 (all rows, width), on the CPU.
    """
    rows = torch.cat([torch.empty(0, width, dtype=torch.float64), *batches])
    gathered: Tensor = evenly_divisible_all_gather(rows)
    return gathered.cpu()
