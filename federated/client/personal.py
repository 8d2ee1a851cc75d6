"""Personal weights for inference at one client.

Parameters that the strategy keeps at the client (norms, heads) are already personal. Beyond that, a client may give its
own factor more weight than in the global posterior, which contains it once: the product of the posterior with the
factor raised to the power w is a Gaussian with mean `(Lambda mu + w eta_k) / (Lambda + w Lambda_k)`. At w = 0 this is
the global mean; as w grows, each weight approaches the mean of the client's own factor, as far as the client's images
determine it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from mtmedformer_monai.federated.message import TensorKind, Weights, pick
from mtmedformer_monai.federated.strategy import ClientRule

OWN_SHARE: Final = 1.0
"""Default weight: the client's own images count twice."""


def mix(
    mean: Mapping[str, Tensor],
    precision: Mapping[str, Tensor],
    own_precision_mean: Mapping[str, Tensor],
    own_precision: Mapping[str, Tensor],
    share: float,
) -> Weights:
    """Returns the means of the global posterior times a power of the client's own factor.

    Args:
        mean: {weight: mu} of the global posterior.
        precision: {weight: Lambda}; missing weights keep their mean.
        own_precision_mean: {weight: eta_k}; missing where the client has no factor.
        own_precision: {weight: Lambda_k}.
        share: w, 0 or more.

    Raises:
        ValueError: `share` is negative.

    Example:
        >>> one, two, four = (torch.tensor([value]) for value in (1.0, 2.0, 4.0))
        >>> mix({"w": one}, {"w": two}, {"w": four}, {"w": one}, share=2.0)
        {'w': tensor([2.5000])}
    """
    if share < 0:
        raise ValueError(f"own_share expects 0 or more, got {share}.")
    mixed = dict(mean)
    for name in own_precision_mean:
        if name in precision and share > 0:
            total = precision[name].double() + share * own_precision[name].double()
            value = (precision[name].double() * mean[name].double() + share * own_precision_mean[name].double()) / total
            mixed[name] = torch.where(total > 0, value, mean[name].double()).to(mean[name].dtype)
    return mixed


def personal_weights(rule: ClientRule, broadcast: Mapping[str, Tensor], share: float) -> Weights:
    """Returns the client's weights for inference: those it would train from, mixed with its own factor.

    Args:
        rule: of the client; it does not change.
        broadcast: from the server.
        share: additional weight of the client's own factor. If it is 0, the strategy has no posterior, or the factor
            has ended, only the parameters that the rule keeps are personal.
    """
    broadcast = rule.served(broadcast)
    own = rule.own_factor(broadcast)
    return mix(
        rule.inference_weights(broadcast),
        pick(broadcast, TensorKind.PRECISION),
        pick(own, TensorKind.PRECISION_MEAN),
        pick(own, TensorKind.PRECISION),
        share,
    )
