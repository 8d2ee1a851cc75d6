"""Class activation maps from gradients at the feature maps that the decoder pools."""

# B batch, D channels; h, w grid of a feature map

from __future__ import annotations

import torch
from torch import Tensor

from .pooling_maps import to_image
from .score import Question


def grad_cam(question: Question, image: Tensor, level: int = -1) -> Tensor:
    """Returns Grad-CAM at a map of the encoder (Selvaraju et al., ICCV 2017, eq. 1-2).

    Args:
        question: what to explain.
        image: float (1, 1, H, W) in [0, 1].
        level: index of the encoder's map, by default the coarsest.

    Returns:
        float (H, W), 0 or more.
    """
    features, gradients, _, _ = _gradients(question, image)
    weights = gradients[level].mean(dim=(2, 3), keepdim=True)
    return to_image((weights * features[level]).sum(dim=1, keepdim=True).clamp(min=0), question, image)


def grad_cam_fine(question: Question, image: Tensor) -> Tensor:
    """Returns Grad-CAM at the second coarsest map of the encoder."""
    return grad_cam(question, image, level=-2)


def hires_cam(question: Question, image: Tensor) -> Tensor:
    """Returns HiResCAM, summed over all maps that the decoder pools (Draelos and Carin, arXiv 2011.08891).

    Unlike Grad-CAM, gradients are multiplied with activations cell by cell instead of being averaged first.

    Args:
        question: what to explain.
        image: float (1, 1, H, W) in [0, 1].

    Returns:
        float (H, W); positive where evidence for the class is.
    """
    features, gradients, level, level_gradient = _gradients(question, image)
    pooled = len(question.decoder.projections)
    pairs = [*zip(features[-pooled:], gradients[-pooled:], strict=True), (level, level_gradient)]
    total = torch.zeros(image.shape[2:])
    for activation, gradient in pairs:
        product = (activation * gradient).sum(dim=1, keepdim=True)
        total = total + to_image(product * product.shape[2] * product.shape[3], question, image)
    return total


def hires_cam_pyramid(question: Question, image: Tensor) -> Tensor:
    """Returns HiResCAM at the pyramid level alone, the finest map that the decoder pools."""
    _, _, level, gradient = _gradients(question, image)
    return to_image((level * gradient).sum(dim=1, keepdim=True), question, image)


def _gradients(question: Question, image: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
    """Returns the encoder's maps and their gradients, and the pooled pyramid level and its gradient.

    The gradient of an encoder's map covers the path through the pooling only: the pyramid is cut off and has its own.
    """
    decoder = question.decoder
    with torch.no_grad():
        features, pyramid = question.encode(image)
    features = [each.clone().requires_grad_(True) for each in features]
    pyramid = [each.clone().requires_grad_(True) for each in pyramid]
    used = features[-len(decoder.projections) :]
    with torch.enable_grad():
        score = question.log_odds(decoder(features, pyramid, (image.shape[2], image.shape[3]))).sum()
        found = torch.autograd.grad(score, [*used, pyramid[decoder.pyramid_level]])
    unused = [torch.zeros_like(each) for each in features[: -len(decoder.projections)]]
    return (
        [each.detach() for each in features],
        [*unused, *found[:-1]],
        pyramid[decoder.pyramid_level].detach(),
        found[-1],
    )
