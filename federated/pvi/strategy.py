"""Partitioned variational inference (PVI): a Gaussian over the weights, as a prior times one factor per client.

Ashman et al., arXiv 2202.12275, algorithm 1; FedEP: Guo et al., ICLR 2023, algorithm 1. Each factor is a damped Laplace
approximation with a diagonal precision (`equations.py`). At a fixed point, the training of every client ends at the
global mean, where the sum of their gradients and the prior's is 0: a stationary point of the pooled objective, whatever
the precisions. For the duality with the method of multipliers, see arXiv 2501.17325 and 2506.13150.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mtmedformer_monai.federated.strategies.fedavg import AveragingServer
from mtmedformer_monai.federated.strategies.memoryless_client import MemorylessClient
from mtmedformer_monai.federated.strategy import ClientRule, ServerRule, Strategy
from mtmedformer_monai.layers.permutation_groups import PermutationGroups

from .client_side import ClientSettings, PVIClient
from .equations import PrecisionScale
from .pooling import PoolingSettings
from .server_side import PVIServer


class PVI(Strategy):
    """Posterior of all clients' data; each client keeps its own factor of it.

    A client's precision is `n (isotropic + curvature F ** power)`, with its number of images n and their mean squared
    gradient F. F is not estimated if curvature is 0, and counts as 0 if it is missing.

    Simultaneous updates overshoot, so each client applies only a share of its update (damping). By default this is its
    share H / (C + H) of each weight's precision: the global mean then moves to the precision-weighted mean of the
    clients' trained weights. Clients that correct the same error share the step, whatever their number (a share of one
    over the number of clients would slow down all weights alike: Ashman et al., section 4); a weight that a single
    client trains takes the whole step.

    Args:
        isotropic: precision that each image adds to each weight. Higher is slower and more stable.
        curvature: factor of the squared gradient.
        power: exponent of the squared gradient, in (0, 1].
        average: weight of earlier rounds in the moving average of the squared gradient, in [0, 1).
        rate: in (0, 1]; None: each client's share of the precision. Use a higher rate, up to 1, if few clients take
            part in a round, or if precisions are exact. Halved on divergence.
        prior_precision: precision of the prior around the initial weights, above 0; counted once, at the server. It
            should be small compared to the isotropic precision of all images; otherwise it holds every weight back.
        between: share of the prior's variance that lies between groups of clients with different tasks, in [0, 1]: 0
            is one mean for all (full pooling), 1 one federation per group (no pooling). None estimates it per tensor
            in each round (`variance_components.py`); with a `rate` or `within`, it is 0.
        within: variance of the clients' weights around their group's mean, of the unit of an inverse
            precision; 0: clients share the group's weights.
        prior_rounds: number of first rounds that learn the means of the groups' priors, from averages of their clients
            (`learned_prior.py`); factors begin after them. None: all but the last one if `between` is estimated and the
            number of rounds is known, otherwise 0.
        num_rounds: of the federation, if it is known.
        noise_steps: share of a round's last steps, in [0, 1], whose spread of weights is taken as the noise in the
            estimate of `between`; 0: differences between clients of a group are.
        memory: False: clients send new Gaussians in each round, without cavity and prior: federated averaging if
            curvature is 0, Fisher merging otherwise. Settings of factors and groups are refused then.
        coded_precision: whether clients round changes of precision to one-byte codes (`federated/wire.py`).

    Raises:
        ValueError: a setting is out of its range, or does nothing without memory.
    """

    def __init__(
        self,
        isotropic: float = 0.0003,
        curvature: float = 0.0,
        power: float = 1.0,
        average: float = 0.5,
        rate: float | None = None,
        prior_precision: float = 1e-6,
        between: float | None = None,
        within: float = 0.0,
        prior_rounds: int | None = None,
        num_rounds: int | None = None,
        noise_steps: float = 0.5,
        memory: bool = True,
        coded_precision: bool = False,
    ) -> None:
        _check(isotropic, curvature, power, average, rate, prior_precision)
        _check_pooling(between, within, noise_steps)
        if not memory:
            _check_unused(rate=rate, between=between, within=within, prior_rounds=prior_rounds)
        self.prior_precision, self.sends_changes = prior_precision, memory
        self.is_personal = memory
        self.image_precision = isotropic if curvature == 0.0 else None
        scale = PrecisionScale(isotropic, curvature, power)
        self._client = ClientSettings(scale, average, rate, coded_precision, noise_steps)
        known = rate is None and within == 0.0  # otherwise, the sums do not tell the clients' steps
        self._pooling = PoolingSettings(0.0 if between is None and not known else between, within)
        if prior_rounds is None:
            prior_rounds = 0 if num_rounds is None or self._pooling.between is not None else max(num_rounds - 1, 0)
        if prior_rounds < 0 or (num_rounds is not None and prior_rounds >= num_rounds):
            raise ValueError(
                f"prior_rounds expects at least 0 and less than the number of rounds before distillation, "
                f"{num_rounds}, got {prior_rounds}; in the last round, each group keeps its own mean."
            )
        self._prior_rounds = prior_rounds

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """Returns a client without a factor."""
        return PVIClient(self._client) if self.sends_changes else MemorylessClient(self._client.scale)

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """Returns a server that starts from the prior."""
        if not self.sends_changes:
            return AveragingServer(weights)
        return PVIServer(weights, self.prior_precision, self._pooling, self._prior_rounds)


def _check(
    isotropic: float, curvature: float, power: float, average: float, rate: float | None, prior_precision: float
) -> None:
    """Validates the settings."""
    if isotropic < 0 or curvature < 0 or isotropic + curvature == 0:
        raise ValueError(
            f"isotropic and curvature expect 0 or more, one of them above 0, got {isotropic}, {curvature}."
        )
    if not 0.0 < power <= 1.0:
        raise ValueError(f"power expects a number above 0 and up to 1, got {power}.")
    if not 0.0 <= average < 1.0:
        raise ValueError(f"average expects a share from 0 up to below 1, got {average}.")
    if rate is not None and not 0.0 < rate <= 1.0:
        raise ValueError(f"rate expects a share above 0 and up to 1, got {rate}.")
    if prior_precision <= 0:
        raise ValueError(f"prior_precision expects a number above 0, got {prior_precision}.")


def _check_pooling(between: float | None, within: float, noise_steps: float) -> None:
    """Validates the settings of pooling."""
    if between is not None and not 0.0 <= between <= 1.0:
        raise ValueError(f"between expects a share from 0 to 1, or None to estimate it, got {between}.")
    if within < 0.0:
        raise ValueError(f"within expects a variance of 0 or more, got {within}.")
    if not 0.0 <= noise_steps <= 1.0:
        raise ValueError(f"noise_steps expects a share from 0 to 1, got {noise_steps}.")


def _check_unused(**settings: float | None) -> None:
    """Refuses settings that do nothing without memory."""
    given = sorted(name for name, value in settings.items() if value)
    if given:
        raise ValueError(f"memory=False has neither factors nor groups, but got {', '.join(given)}; leave them out.")
