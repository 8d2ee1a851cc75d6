"""File format of the global posterior: one byte per weight, with its provenance and a fingerprint of the weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mtmedformer_monai.io.atomic_files import load_checkpoint, save_checkpoint

from .precision_code import PrecisionCode, decode_precision, encode_precision

FORMAT = "mtmedformer posterior 1"


@dataclass(frozen=True)
class Provenance:
    """Provenance of a posterior, without names of clients or patient attributes.

    Attributes:
        num_sites: number of clients whose factors were multiplied.
        num_rounds: number of federated rounds.
        num_samples: total number of training images of all clients.
    """

    num_sites: int = 0
    num_rounds: int = 0
    num_samples: int = 0


@dataclass(frozen=True)
class WeightPosterior:
    """A diagonal Gaussian posterior over a network's weights, whose mean is the weights themselves.

    Attributes:
        likelihood_precision: {parameter: precision of the approximate likelihood, 0 or more}; exactly 0 where no data
            have trained the parameter.
        prior: {parameter: precision of the prior, above 0}, a scalar () or of the parameter's shape.
        temperature: factor of the covariance.
        provenance: provenance of the likelihood.
        fingerprint: fingerprint of the mean weights; '' if unknown.
    """

    likelihood_precision: Mapping[str, Tensor]
    prior: Mapping[str, Tensor]
    temperature: float = 1.0
    provenance: Provenance = field(default_factory=Provenance)
    fingerprint: str = ""

    def precision(self) -> dict[str, Tensor]:
        """Returns {parameter: posterior precision}, the sum of prior and likelihood precision."""
        return {name: value + self.prior[name].to(value.dtype) for name, value in self.likelihood_precision.items()}


def save_posterior(posterior: WeightPosterior, path: str | Path) -> None:
    """Writes a posterior atomically, with precisions quantized to one byte per weight.

    The precisions of likelihood and prior are quantized separately, so 0 is preserved exactly, and the posterior
    precision is never below the prior's.
    """
    precision = posterior.likelihood_precision
    content = {
        "format": FORMAT,
        "temperature": float(posterior.temperature),
        "provenance": asdict(posterior.provenance),
        "fingerprint": posterior.fingerprint,
        "likelihood_precision": {name: tuple(encode_precision(value)) for name, value in precision.items()},
        "prior": {name: tuple(encode_precision(_shortest(posterior.prior[name]))) for name in precision},
    }
    save_checkpoint(content, path)


def load_posterior(path: str | Path) -> WeightPosterior:
    """Reads a posterior. Only tensors and plain values are loaded; no code is executed.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file is damaged or not a posterior.
    """
    content: Any = load_checkpoint(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"posterior expects a file written by save_posterior, got another kind of file at {path}.")
    return WeightPosterior(
        {name: decode_precision(PrecisionCode(*code)) for name, code in content["likelihood_precision"].items()},
        {name: decode_precision(PrecisionCode(*code)) for name, code in content["prior"].items()},
        content["temperature"],
        Provenance(**content["provenance"]),
        content["fingerprint"],
    )


def check_fit(posterior: WeightPosterior, network: nn.Module) -> None:
    """Checks that a posterior belongs to this network and that its mean is the network's weights.

    The network may have further parameters, such as those that clients do not share, which have no variance.

    Raises:
        ValueError: if parameters are missing in the network, or shapes or weights differ.
    """
    weights = dict(network.named_parameters())
    unknown = sorted(set(posterior.likelihood_precision) - set(weights))
    if unknown or not posterior.likelihood_precision:
        raise ValueError(
            f"posterior expects parameters of the network, got {len(unknown)} that it doesn't have of "
            f"{len(posterior.likelihood_precision)}, first {unknown[:3]}; build the network from "
            "the config it was trained with."
        )
    for name, value in posterior.likelihood_precision.items():
        if value.shape != weights[name].shape:
            raise ValueError(
                f"posterior expects the shape {tuple(weights[name].shape)} of {name!r}, got {tuple(value.shape)}; "
                "build the network from the config it was trained with."
            )
    if posterior.fingerprint and posterior.fingerprint != fingerprint_of(weights, posterior.likelihood_precision):
        raise ValueError(
            "posterior expects the weights that it was saved with, but the network has others; load the model.pt "
            "beside it, or clear its fingerprint if the weights are meant to differ (personalized models)."
        )


def fingerprint_of(weights: Mapping[str, Tensor], names: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of the named weights as float32, in the order of sorted names."""
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(name.encode())
        digest.update(weights[name].detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _shortest(precision: Tensor) -> Tensor:
    """Returns a scalar if all values are equal, otherwise the tensor."""
    first = precision.reshape(-1)[:1]
    return first.reshape(()) if first.numel() and bool(torch.all(precision == first)) else precision
