"""Explanations from the decoder's attention pooling: its weights, and what each token contributes to the class."""

# B batch, N tokens, D width, M attention heads; h, w grid of a feature map

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .score import Question


def attention_weights(question: Question, image: Tensor) -> Tensor:
    """Returns the mean attention weight over heads; it is the same for every class.

    Args:
        question: what to explain.
        image: float (1, 1, H, W) in [0, 1].

    Returns:
        float (H, W), 0 or more.
    """
    with torch.no_grad():
        features, pyramid = question.encode(image)
        tokens = question.decoder.tokenize(features, pyramid)
        shares = question.decoder.shares(tokens, None).mean(dim=2)[0]
        return _spread(shares, question, features, pyramid, image)


def token_contributions(question: Question, image: Tensor) -> Tensor:
    """Returns how much each token adds to the log-odds of the class, to first order in the pooled vector.

    The pooled vector is a sum over tokens of attention weight times value, so its change of the log-odds divides among
    the tokens without a remainder: a token contributes the product of that term with the gradient at the pooled vector.
    The mean value over all tokens is subtracted first, because what all tokens have in common localizes nothing.

    Args:
        question: what to explain.
        image: float (1, 1, H, W) in [0, 1].

    Returns:
        float (H, W); positive where the token speaks for the class, negative where against it.
    """
    decoder = question.decoder
    with torch.no_grad():
        features, pyramid = question.encode(image)
        tokens = decoder.tokenize(features, pyramid)
        shares = decoder.shares(tokens, None)[0]
        pooled = decoder.pool(tokens, None)
    pooled = pooled.clone().requires_grad_(True)
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(question.log_odds(decoder.classify(pooled)).sum(), pooled)
    with torch.no_grad():
        width = tokens.shape[2]
        heads = decoder.num_heads
        wanted = (gradient[0] @ decoder.output.weight).reshape(heads, 1, width // heads)
        value_layers = decoder.key_value.weight[width:].reshape(heads, width // heads, width)
        directions = torch.matmul(wanted, value_layers).squeeze(1)
        values = tokens[0] @ directions.transpose(0, 1)
        centered = values - values.mean(dim=0, keepdim=True)
        return _spread((shares * centered).sum(dim=1), question, features, pyramid, image)


def _spread(
    per_token: Tensor, question: Question, features: list[Tensor], pyramid: list[Tensor], image: Tensor
) -> Tensor:
    """Adds the grids of the pooled maps up at image size; a token's amount is spread over the pixels of its cell."""
    decoder = question.decoder
    pooled = [*features[-len(decoder.projections) :], pyramid[decoder.pyramid_level]]
    total, start = torch.zeros(image.shape[2:]), 0
    for level in pooled:
        height, width = int(level.shape[2]), int(level.shape[3])
        cells = per_token[start : start + height * width].reshape(1, 1, height, width) * height * width
        total = total + to_image(cells, question, image)
        start += height * width
    return total


def to_image(cells: Tensor, question: Question, image: Tensor) -> Tensor:
    """Resamples a map (1, 1, h, w) of the padded image to the pixels of the image, (H, W)."""
    height, width = image.shape[2], image.shape[3]
    stride = question.network.stride
    padded = (-(-height // stride) * stride, -(-width // stride) * stride)
    upsampled = F.interpolate(cells.float().cpu(), size=padded, mode="bilinear", align_corners=False)
    return upsampled[0, 0, :height, :width]
