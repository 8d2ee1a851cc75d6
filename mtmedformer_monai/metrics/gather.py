"""Joins the rows that each process of a distributed run accumulated."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.utils import evenly_divisible_all_gather
from torch import Tensor


def gather_rows(batches: Sequence[Tensor], width: int) -> Tensor:
    """Concatenates batches of rows over time, then over processes; every process gets the same result.

    In a run of one process nothing travels. Processes may hold different numbers of rows, none included. A sampler
    that pads the last batch (torch's default) counts the padding twice: use `even_divisible=False` of MONAI's
    `DistributedSampler` for validation.

    Args:
        batches: float64 (rows, width) each.
        width: columns of a row, needed where a process saw nothing.

    Returns:
        float64 (all rows, width), on the CPU.
    """
    rows = torch.cat([torch.empty(0, width, dtype=torch.float64), *batches])
    gathered: Tensor = evenly_divisible_all_gather(rows)
    return gathered.cpu()
