"""Agreement of two predictions of the same image, from 0 to 1."""

# B batch, C structures

from __future__ import annotations

from monai.data.box_utils import box_iou
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mtmedformer_monai.metrics.detection import Boxes


def mask_agreement(first: Tensor, second: Tensor) -> Tensor:
    """Returns the Dice of masks, bool (B, C, H, W), by image and structure: (B, C); 1 for two empty masks.

    Example:
        >>> import torch
        >>> first, second = torch.zeros(2, 1, 1, 1, 4).bool()
        >>> first[..., :3], second[..., 1:] = True, True
        >>> mask_agreement(first, second)
        tensor([[0.6667]])
    """
    overlap = (first & second).flatten(2).sum(dim=2)
    total = first.flatten(2).sum(dim=2) + second.flatten(2).sum(dim=2)
    return (2.0 * overlap / total.clamp(min=1)).where(total > 0, 1.0)


def box_agreement(first: Boxes, second: Boxes, min_iou: float) -> float:
    """Returns the share of the boxes of both sets that are matched, 2 m / (n1 + n2); 1 for two empty sets.

    A box is matched with at most one box of the other set, of the same class and with an intersection over union of at
    least `min_iou`, such that the number of matches m is largest.
    """
    total = len(first.boxes) + len(second.boxes)
    if total == 0:
        return 1.0
    if 0 in (len(first.boxes), len(second.boxes)):
        return 0.0
    near = box_iou(first.boxes, second.boxes) >= min_iou
    match = (near & (first.classes[:, None] == second.classes[None])).cpu().numpy()
    return 2.0 * float(match[linear_sum_assignment(match, maximize=True)].sum()) / total
