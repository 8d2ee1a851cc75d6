"""The global posterior as a file beside the model: a byte a weight, and what is needed to trust it."""

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
    """Where a posterior comes from, in numbers alone: no name of a site, nothing of a patient.

    Attributes:
        num_sites: whose factors were multiplied.
        num_rounds: of the federation.
        num_samples: training images of all sites together.
    """

    num_sites: int = 0
    num_rounds: int = 0
    num_samples: int = 0


@dataclass(frozen=True)
class WeightPosterior:
    """A Gaussian over a network's weights around the weights themselves, diagonal.

    Attributes:
        likelihood_precision: {parameter: precision that the data added to the prior's, 0 or more}; exactly 0 where no
            data trained the parameter.
        prior: {parameter: the prior's precision, above 0}: a scalar (), or of the parameter's shape.
        temperature: that the covariance is multiplied by.
        provenance: of the likelihood.
        fingerprint: of the weights that it lies around; empty where unknown.
    """

    likelihood_precision: Mapping[str, Tensor]
    prior: Mapping[str, Tensor]
    temperature: float = 1.0
    provenance: Provenance = field(default_factory=Provenance)
    fingerprint: str = ""

    def precision(self) -> dict[str, Tensor]:
        """{parameter: precision of prior and likelihood together}, of the parameters' shapes."""
        return {name: value + self.prior[name].to(value.dtype) for name, value in self.likelihood_precision.items()}


def save_posterior(posterior: WeightPosterior, path: str | Path) -> None:
    """Writes the file, atomically: precision in 8-bit logarithms, a byte a weight.

    The likelihood's precision is coded apart from the prior's: 0 stays exactly 0, and no sum falls below the prior's.
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
    """Reads the file: tensors and plain values only, no code runs.

    Raises:
        FileNotFoundError: there is none.
        ValueError: damaged, or a file of another kind, such as the weights.
    """
    content: Any = load_checkpoint(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"posterior expects a file written by save_posterior, got another kind at {path}.")
    return WeightPosterior(
        {name: decode_precision(PrecisionCode(*code)) for name, code in content["likelihood_precision"].items()},
        {name: decode_precision(PrecisionCode(*code)) for name, code in content["prior"].items()},
        content["temperature"],
        Provenance(**content["provenance"]),
        content["fingerprint"],
    )


def check_fit(posterior: WeightPosterior, network: nn.Module) -> None:
    """Checks that a posterior is one of this network, and lies around its weights.

    Parameters that it doesn't name are allowed: those that a site keeps for itself have no spread.

    Raises:
        ValueError: parameters that the network doesn't have, other shapes, or other weights.
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
            "posterior expects the weights that it was saved with, and the network has others; load the model.pt "
            "beside it, or clear its fingerprint if the weights are meant to differ (personal models)."
        )


def fingerprint_of(weights: Mapping[str, Tensor], names: Mapping[str, Any]) -> str:
    """SHA-256 of the named weights as float32, in the order of the sorted names."""
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(name.encode())
        digest.update(weights[name].detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _shortest(precision: Tensor) -> Tensor:
    """A scalar where all values are equal."""
    first = precision.reshape(-1)[:1]
    return first.reshape(()) if first.numel() and bool(torch.all(precision == first)) else precision
