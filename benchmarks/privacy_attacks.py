"""Attacks on an update, as plain functions: membership inference and gradient inversion."""

# K models, N examples, P pixels

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from monai.metrics.regression import SSIMMetric
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

Array = NDArray[np.float64]
Loss = Callable[[Tensor], Tensor]
"""Maps images (B, 1, H, W) to the loss of the network."""


def roc(scores: Array, members: NDArray[np.bool_], rate: float = 0.05) -> tuple[float, float]:
    """Returns the area under the ROC curve, and the true positive rate at a false positive rate.

    Args:
        scores: higher for members.
        members: whether each example is one.
        rate: of false positives.
    """
    inside, outside = scores[members], scores[~members]
    wins = (inside[:, None] > outside).mean() + 0.5 * (inside[:, None] == outside).mean()
    threshold = np.quantile(outside, 1.0 - rate, method="higher")
    return float(wins), float((inside > threshold).mean())


def likelihood_ratios(losses: Array, members: NDArray[np.bool_], target: int) -> Array:
    """Returns the scores (N,) of the likelihood ratio attack (LiRA: Carlini et al., S&P 2022, algorithm 1).

    The other models, which the attacker has trained with known members, give each example's mean log loss as a member
    and as a non-member; the variance is common to all examples, as recommended for few models.

    Args:
        losses: (K, N).
        members: (K, N), whether an example trained a model.
        target: number of the attacked model.
    """
    values = np.log(np.maximum(losses, 1e-12))
    others = [number for number in range(len(losses)) if number != target]
    inside, outside = (_means(values[others], chosen[others]) for chosen in (members, ~members))
    spread = np.where(members[others], values[others] - inside, values[others] - outside).std()
    found = values[target]
    ratio: Array = ((found - outside) ** 2 - (found - inside) ** 2) / (2 * max(spread, 1e-6) ** 2)
    return ratio


def _means(values: Array, chosen: NDArray[np.bool_]) -> Array:
    counts = chosen.sum(0)
    overall = values[chosen].mean()
    means: Array = np.where(counts > 0, (values * chosen).sum(0) / np.maximum(counts, 1), overall)
    return means


def gradients(loss: Tensor, network: nn.Module, create_graph: bool = False) -> list[Tensor]:
    """Returns the gradients of all parameters; zeros for those that the loss does not depend on."""
    parameters = list(network.parameters())
    found = torch.autograd.grad(loss, parameters, create_graph=create_graph, allow_unused=True)
    return [torch.zeros_like(one) if value is None else value for one, value in zip(parameters, found, strict=True)]


def invert(
    seen: Sequence[Tensor], network: nn.Module, loss: Loss, shape: Sequence[int], steps: int, smooth: float, seed: int
) -> Tensor:
    """Returns images whose gradient has the direction of the one seen (Geiping et al., NeurIPS 2020, eq. 4).

    Adam with the signs of the gradients minimizes `1 - cosine similarity + smooth * total variation`.

    Args:
        seen: gradient of each parameter.
        network: with the weights at which it was computed; in evaluation mode.
        loss: of images with the true targets, which this attacker knows.
        shape: (B, 1, H, W).
        steps: of Adam.
        smooth: weight of the total variation.
        seed: of the first image.
    """
    generator = torch.Generator().manual_seed(seed)
    image = (0.5 + 0.1 * torch.randn(tuple(shape), generator=generator)).requires_grad_()
    optimizer = torch.optim.Adam([image], lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    norm = torch.sqrt(sum((value.square().sum() for value in seen), torch.zeros(())))
    with sdpa_kernel(SDPBackend.MATH):  # other kernels have no second derivative
        for _ in range(steps):
            own = gradients(loss(image), network, create_graph=True)
            product = sum(((one * other).sum() for one, other in zip(own, seen, strict=True)), torch.zeros(()))
            own_norm = torch.sqrt(sum((value.square().sum() for value in own), torch.zeros(())))
            cost = 1.0 - product / (norm * own_norm) + smooth * total_variation(image)
            (gradient,) = torch.autograd.grad(cost, image)
            image.grad = gradient.sign()
            optimizer.step()
            schedule.step()
            image.data.clamp_(0.0, 1.0)
    return image.detach()


def total_variation(image: Tensor) -> Tensor:
    """Returns the mean absolute difference of neighboring pixels."""
    return image.diff(dim=-1).abs().mean() + image.diff(dim=-2).abs().mean()


def similarity(found: Tensor, true: Tensor, mean: Tensor) -> dict[str, float]:
    """Returns the mean PSNR (dB), SSIM and `own` of reconstructed images, each assigned to a true one.

    `own` is the correlation of what tells the reconstruction and the true image from the mean image of the cohort: 0
    if nothing of the patient is recovered. The assignment is the best for the attacker.

    Args:
        found: (B, 1, H, W).
        true: (B, 1, H, W).
        mean: (1, 1, H, W), of other images.
    """
    errors = (found[:, None] - true[None]).square().mean(dim=(2, 3, 4))
    ratio = -10.0 * torch.log10(errors.clamp(min=1e-12))
    rows, columns = linear_sum_assignment(-ratio.numpy())
    ssim = SSIMMetric(spatial_dims=2, data_range=1.0, win_size=7)(found[rows], true[columns])
    parts = [(each - mean).flatten(1) for each in (found[rows], true[columns])]
    parts = [each - each.mean(1, keepdim=True) for each in parts]
    own = torch.cosine_similarity(*parts, dim=1)
    return {"psnr": float(ratio[rows, columns].mean()), "ssim": float(ssim.mean()), "own": float(own.mean())}


def mean_of(results: Sequence[Mapping[str, float]], name: str) -> str:
    """Returns the mean and the standard deviation of a result as text."""
    values = [each[name] for each in results]
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1) if len(values) > 1 else 0:.2f}"
