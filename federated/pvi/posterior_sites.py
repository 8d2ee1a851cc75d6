"""Posterior-site federation: a Gaussian over the weights, as a prior times one factor a site.

Partitioned variational inference with Gaussian sites (Ashman et al., arXiv 2202.12275, algorithm 1; FedEP: Guo et al.,
ICLR 2023, algorithm 1), each factor by a Laplace step with a diagonal precision, damped. At a fixed point all sites
train to the global mean, where the sum of their gradients and the prior's is 0: a stationary point of the pooled
objective, whatever the precisions. Its duality with the method of multipliers: arXiv 2501.17325 and 2506.13150.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mtmedformer_monai.federated.strategies.fedavg import AveragingServer
from mtmedformer_monai.federated.strategies.memoryless_site import MemorylessSite
from mtmedformer_monai.federated.strategy import ServerRule, SiteRule, Strategy
from mtmedformer_monai.layers.permutation_groups import PermutationGroups

from .posterior_server import PosteriorServer
from .posterior_site import PosteriorSite, SiteSettings
from .site_round import EvidenceScale


class PosteriorSites(Strategy):
    """The posterior of all sites' data, from sites that keep their own factor of it.

    A site's precision is `n (isotropic + curvature F ** power)`, with its n images and their mean squared gradient F.
    F is not asked for where curvature is 0, and is taken for 0 where it is missing.

    A site takes up its new precision at once, and goes a share of the way to its new factor's slope at the global mean.
    By default that is its share of the precision, H / (C + H), of each weight: the global mean then steps to the mean
    of the sites' trained weights by their precisions. Sites that correct the same error share the step, so that no
    number of sites overshoots (as one over their number does for all weights alike: Ashman et al., section 4); a weight
    of which one site knows goes the whole way.

    Args:
        isotropic: precision an image brings to each weight. Higher is slower and steadier.
        curvature: factor of the squared gradient.
        power: of the squared gradient, in (0, 1].
        average: share of the squared gradient that is remembered from the rounds before, in [0, 1).
        rate: in (0, 1]; None: each site's share of the precision. Higher, up to 1, where few sites send in a round, or
            where precisions are exact. Halved on divergence.
        prior_precision: of the prior around the initial weights, above 0; counted once, at the server. It should stay
            small beside the isotropic precision of all images, or it holds every weight back.
        memory: without it sites send their Gaussians anew each round, nothing pulls, and there is no prior:
            federated averaging if curvature is 0, Fisher merging if not.
        coded_precision: whether sites round changes of precision to what a byte holds (`federated/wire.py`).
    """

    def __init__(
        self,
        isotropic: float = 0.003,
        curvature: float = 1.0,
        power: float = 1.0,
        average: float = 0.5,
        rate: float | None = None,
        prior_precision: float = 0.001,
        memory: bool = True,
        coded_precision: bool = False,
    ) -> None:
        _check(isotropic, curvature, power, average, rate, prior_precision)
        self.prior_precision, self.sends_changes = prior_precision, memory
        self._site = SiteSettings(EvidenceScale(isotropic, curvature, power), average, rate, coded_precision)

    def site(self, groups: PermutationGroups | None = None) -> SiteRule:
        """A site that has said nothing yet."""
        return PosteriorSite(self._site) if self.sends_changes else MemorylessSite(self._site.scale)

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """A server that knows the prior alone."""
        if not self.sends_changes:
            return AveragingServer(weights)
        return PosteriorServer(weights, self.prior_precision)


def _check(
    isotropic: float, curvature: float, power: float, average: float, rate: float | None, prior_precision: float
) -> None:
    """Refuses settings that make no posterior."""
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
