"""Conversion of the server's broadcast into a posterior over weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mtmedformer_monai.federated.message import TensorKind, pick
from mtmedformer_monai.uncertainty.posterior_file import Provenance, WeightPosterior, fingerprint_of


def from_broadcast(
    broadcast: Mapping[str, Tensor],
    prior_precision: float,
    network: nn.Module,
    provenance: Provenance | None = None,
) -> WeightPosterior:
    """Returns the global posterior, to be saved with the model.

    Args:
        broadcast: of a strategy that has a posterior, with means and precisions.
        prior_precision: of the strategy.
        network: determines which parameters are trained; frozen parameters have no variance.
        provenance: of the federation.

    Raises:
        ValueError: a broadcast without precisions.
    """
    precision = pick(broadcast, TensorKind.PRECISION)
    if not precision:
        raise ValueError(
            "broadcast expects precisions in addition to means, got none; strategies that average weights have no "
            "posterior, choose the strategy `bayesian`."
        )
    names = [name for name, value in network.named_parameters() if value.requires_grad and name in precision]
    prior = torch.tensor(prior_precision)
    likelihood = {name: (precision[name].float() - prior).clamp(min=0.0) for name in names}
    return WeightPosterior(
        likelihood,
        dict.fromkeys(names, prior),
        provenance=provenance or Provenance(),
        fingerprint=fingerprint_of(pick(broadcast, TensorKind.MEAN), likelihood),
    )
