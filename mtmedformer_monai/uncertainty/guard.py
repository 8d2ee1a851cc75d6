"""Out-of-distribution guard: Mahalanobis distance of an image's encoder features from those of the training images.

Features are pooled over each stage of the encoder (Lee et al., NeurIPS 2018, use every stage likewise). Their
covariance is estimated with shrinkage (Ledoit and Wolf, J. Multivariate Analysis 2004), because a few hundred images
do not determine it. The limit is the quantile of validation images at which at most a stated share of
new images from the same source is flagged (split conformal prediction, Vovk et al., 2005): rank
ceil((n + 1) (1 - rate)) of the n distances.
"""

# B batch, N images, F features, C channels

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from sklearn.covariance import LedoitWolf
from torch import Tensor, nn

from mtmedformer_monai.io.atomic_files import load_checkpoint, save_checkpoint
from mtmedformer_monai.io.file_sha256 import file_sha256
from mtmedformer_monai.io.weights_files import GUARD, check_companion, companion, find_companion

FORMAT = "mtmedformer guard 1"


@dataclass(frozen=True)
class Guard:
    """The distribution of the training images' features, and the limit of the distance from it.

    Attributes:
        mean: float32 (F,).
        whitening: float32 (F, F); the distance is the norm of `(features - mean) @ whitening`, divided by sqrt(F).
        limit: distance above which an image is flagged.
        false_alarm_rate: stated share of good images that are flagged.
        num_training: number of images behind mean and covariance.
        num_validation: number of images behind the limit.
        weights_sha256: SHA-256 of the file of weights.
    """

    mean: Tensor
    whitening: Tensor
    limit: float
    false_alarm_rate: float
    num_training: int
    num_validation: int
    weights_sha256: str = ""

    def distance(self, features: Tensor) -> Tensor:
        """Returns the Mahalanobis distances (B,) of features (B, F), about 1 for training images.

        Raises:
            ValueError: if the features have another size than those of the training images.
        """
        if features.shape[1] != len(self.mean):
            raise ValueError(
                f"the guard expects {len(self.mean)} features of the encoder, got {features.shape[1]}; it belongs to "
                "another network: run mtmedformer calibrate again."
            )
        whitened = (features.float().cpu() - self.mean) @ self.whitening
        return whitened.norm(dim=1) / math.sqrt(len(self.mean))


def pool_features(maps: Sequence[Tensor]) -> Tensor:
    """Pools an encoder's feature maps to one vector per image: the mean of each channel of each stage.

    Of the pooled features measured in benchmarks/guard.py, these detect the most images that do not belong; adding
    standard deviations or a grid over the coarsest stage detects fewer films that are upside down.

    Args:
        maps: maps (B, C, H, W), finest first.

    Returns:
        float32 (B, F).
    """
    return torch.cat([each.as_subclass(Tensor).float().mean(dim=(2, 3)) for each in maps], dim=1)


@contextmanager
def tap_encoder(network: nn.Module) -> Iterator[list[Tensor]]:
    """Collects the pooled features of the encoder while the network runs, one entry (B, F) per forward pass.

    Args:
        network: a network with an `encoder`, possibly that of single images within a network for studies.

    Raises:
        ValueError: if the network has no encoder.
    """
    owner = getattr(network, "image_network", network)
    encoder = getattr(owner, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise ValueError(f"the guard expects a network with an encoder, got {type(network).__name__}; set guard='off'.")
    taken: list[Tensor] = []

    def take(module: nn.Module, inputs: tuple[Tensor, ...], maps: Sequence[Tensor]) -> None:
        taken.append(pool_features(maps).detach())

    handle = encoder.register_forward_hook(take)
    try:
        yield taken
    finally:
        handle.remove()


def fit_guard(training: Tensor, validation: Tensor, false_alarm_rate: float = 0.05) -> Guard:
    """Fits the guard.

    Args:
        training: features (N, F) of the training images, as inference preprocesses them.
        validation: features (n, F) of other images from the same source.
        false_alarm_rate: stated share of good images that are flagged.

    Raises:
        ValueError: if the rate is not in (0, 1), or there are too few images for it.
    """
    if not 0.0 < false_alarm_rate < 1.0:
        raise ValueError(f"false_alarm_rate expects a number between 0 and 1, got {false_alarm_rate}.")
    if len(training) < 2:
        raise ValueError(f"the guard expects two or more training images, got {len(training)}.")
    fitted = LedoitWolf().fit(training.double().numpy())
    values, vectors = torch.linalg.eigh(torch.from_numpy(fitted.covariance_))
    whitening = vectors * values.clamp(min=float(values.max()) * 1e-7).rsqrt()
    mean = torch.from_numpy(fitted.location_)
    guard = Guard(mean.float(), whitening.float(), math.inf, false_alarm_rate, len(training), len(validation))
    limit = conformal_limit(guard.distance(validation), false_alarm_rate)
    return Guard(**{**vars(guard), "limit": limit})


def conformal_limit(distances: Tensor, rate: float) -> float:
    """Returns the distance that a new image of the same source exceeds with a probability of at most `rate`.

    Args:
        distances: (n,) distances of validation images.
        rate: false alarm rate.

    Raises:
        ValueError: if there are fewer than 1 / rate - 1 distances.

    Example:
        >>> conformal_limit(torch.arange(1.0, 20.0), 0.1)
        18.0
    """
    rank = math.ceil((len(distances) + 1) * (1.0 - rate) - 1e-9)
    if rank > len(distances) or rank < 1:
        needed = math.ceil(1.0 / rate - 1.0 - 1e-9)
        raise ValueError(
            f"a false alarm rate of {rate:g} expects {needed} or more validation images, got {len(distances)}; add "
            "images, or state a higher false alarm rate."
        )
    return float(distances.sort().values[rank - 1])


def guard_path(weights: str | Path) -> Path:
    """Returns the path of the guard, `guard.pt` for `model.pt`."""
    return companion(weights, GUARD)


def save_guard(guard: Guard, weights: str | Path) -> Path:
    """Writes `guard.pt` beside the weights, with their SHA-256, and returns its path."""
    path = guard_path(weights)
    save_checkpoint({"format": FORMAT, **asdict(guard), "weights_sha256": file_sha256(weights)}, path)
    return path


def load_guard(weights: str | Path) -> Guard:
    """Reads the guard beside the weights. Only tensors and plain values are loaded; no code is executed.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged, or belongs to other weights.
    """
    path = find_companion(weights, GUARD)
    content = load_checkpoint(path)
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise ValueError(f"guard expects a file written by save_guard, got another kind of file at {path}.")
    guard = Guard(**content)
    check_companion(path, weights, guard.weights_sha256, "--guard")
    return guard
