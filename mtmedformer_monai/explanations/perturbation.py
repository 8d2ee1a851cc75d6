"""Explanations that look only at the input and the output: occlusion and integrated gradients."""

# B batch; all images are float in [0, 1]

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .score import Question

BATCH = 32
"""Images of one forward pass."""


def blur(image: Tensor, sigma: float) -> Tensor:
    """Smooths (B, 1, H, W) with a Gaussian of a standard deviation in pixels; edges are replicated."""
    radius = max(1, round(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(image, (radius, radius, radius, radius), mode="replicate")
    rows = F.conv2d(padded, kernel.reshape(1, 1, -1, 1))
    return F.conv2d(rows, kernel.reshape(1, 1, 1, -1))


def without_detail(image: Tensor) -> Tensor:
    """Returns the image without local detail, which stands for "nothing to see here" in place of removed pixels."""
    return blur(image, max(image.shape[2:]) / 12)


def occlusion(question: Question, image: Tensor, cells: int = 8) -> Tensor:
    """Returns by how much the log-odds drop if a window is replaced by a blurred image (Zeiler and Fergus, ECCV 2014).

    Windows have 1 / `cells` of the longer side and overlap by half; each pixel gets the mean over its windows.

    Args:
        question: what to explain.
        image: float (1, 1, H, W) in [0, 1].
        cells: number of windows along the longer side, if they did not overlap.

    Returns:
        float (H, W); positive where hiding the pixels lowers the log-odds.
    """
    height, width = image.shape[2], image.shape[3]
    side = max(2, max(height, width) // cells)
    background = without_detail(image)
    boxes = [(top, left) for top in _starts(height, side) for left in _starts(width, side)]
    total, count = torch.zeros(height, width), torch.zeros(height, width)
    with torch.no_grad():
        whole = float(question.score(image))
        for first in range(0, len(boxes), BATCH):
            chosen = boxes[first : first + BATCH]
            hidden = image.repeat(len(chosen), 1, 1, 1)
            for row, (top, left) in zip(hidden, chosen, strict=True):
                row[:, top : top + side, left : left + side] = background[0, :, top : top + side, left : left + side]
            for (top, left), score in zip(chosen, question.score(hidden).tolist(), strict=True):
                total[top : top + side, left : left + side] += whole - score
                count[top : top + side, left : left + side] += 1
    return total / count


def integrated_gradients(question: Question, image: Tensor, steps: int = 32) -> Tensor:
    """Returns integrated gradients from the blurred image to the image (Sundararajan et al., ICML 2017, eq. 1-3).

    The sum over all pixels is the difference of the log-odds between both images. The magnitude is smoothed with 1/32
    of the longer side, as single pixels are noisy.

    Args:
        question: what to explain.
        image: float (1, 1, H, W) in [0, 1].
        steps: number of points on the path, by the midpoint rule.

    Returns:
        float (H, W), 0 or more.
    """
    attribution = path_integral(question, image, without_detail(image), steps)
    return blur(attribution.abs(), max(image.shape[2:]) / 32)[0, 0].float().cpu()


def path_integral(question: Question, image: Tensor, baseline: Tensor, steps: int) -> Tensor:
    """Returns (image - baseline) times the mean gradient on the straight line between them, (1, 1, H, W)."""
    total = torch.zeros_like(image)
    places = (torch.arange(steps, dtype=image.dtype, device=image.device) + 0.5) / steps
    for some in torch.split(places, BATCH // 2):
        points = (baseline + some.reshape(-1, 1, 1, 1) * (image - baseline)).requires_grad_(True)
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(question.score(points).sum(), points)
        total += gradient.sum(dim=0, keepdim=True)
    return (image - baseline) * total / steps


def _starts(length: int, side: int) -> list[int]:
    """Returns the starts of windows that overlap by half and cover the whole length."""
    last = max(0, length - side)
    return sorted({*range(0, last, max(1, side // 2)), last})
