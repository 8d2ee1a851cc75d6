"""Screening of a round's messages, which leaves out sites whose steps are far longer than, or opposed to, the others'.

A poisoned site may scale its update or flip its sign. Two checks compare the sites' steps of the weights, per image:

- norm: a step longer than `largest` times the median norm is left out (norm bounding: Sun et al., arXiv 1911.07963;
  here the message is dropped rather than clipped, because a client with a factor must know what the server has added);
- direction: a step whose cosine with the coordinate-wise median of all steps of unit length (Yin et al., ICML 2018) is
  below `least_cosine` is left out.

Both need a majority of honest sites. A poisoned site that stays within the norms and directions of the others, such as
one that was trained on wrong labels, is not found by them.
"""

# N sites, D weights of a tensor

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .message import Message, TensorKind, Weights, key, pick
from .strategies.averaged import is_averaged
from .tensor_sums import compact


@dataclass(frozen=True)
class Screening:
    """What is left out.

    Attributes:
        largest: largest norm of a step, as a multiple of the median norm.
        least_cosine: smallest cosine of a step with the median direction.
        min_sites: number of sites below which none is left out, and which must share a tensor for it to be compared.
    """

    largest: float = 3.0
    least_cosine: float = 0.0
    min_sites: int = 4

    def __post_init__(self) -> None:
        """Validates the settings.

        Raises:
            ValueError: a number out of range.
        """
        if self.largest <= 1.0 or not -1.0 <= self.least_cosine < 1.0 or self.min_sites < 3:
            raise ValueError(
                "screening expects largest above 1, least_cosine from -1 to below 1 and min_sites of 3 or more, got "
                f"{self.largest}, {self.least_cosine} and {self.min_sites}."
            )


@dataclass(frozen=True)
class Sent:
    """A site's message of a round.

    Attributes:
        terms: the message, decoded.
        start: weights that were broadcast to the site.
        images: number of its training images.
    """

    terms: Message
    start: Weights
    images: int


def outliers(sites: Mapping[str, Sent], settings: Screening) -> dict[str, str]:
    """Returns {site: reason} of the sites to leave out; their order has no effect."""
    names = _common(sites, settings.min_sites)
    if len(sites) < settings.min_sites or not names:
        return {}
    norms = {
        site: sum(float(_step(sent, name).square().sum()) for name in names) ** 0.5 for site, sent in sites.items()
    }
    bound = settings.largest * statistics.median(norms.values())
    found = {
        site: f"its step has the norm {norm:.3g} per image, more than {settings.largest:g} times the median"
        for site, norm in norms.items()
        if norm > bound
    }
    rest = {site: sent for site, sent in sites.items() if site not in found and norms[site] > 0.0}
    if len(rest) < 3:
        return found
    for site, cosine in _cosines(rest, norms, names).items():
        if cosine < settings.least_cosine:
            found[site] = f"its step has the cosine {cosine:.2f} with the median direction of all sites"
    return found


def _cosines(sites: Mapping[str, Sent], norms: Mapping[str, float], names: list[str]) -> dict[str, float]:
    """Returns the cosine of each site's step with the coordinate-wise median of the steps of unit length."""
    products, squared = torch.zeros(len(sites), dtype=torch.float64), 0.0
    for name in names:
        steps = torch.stack([_step(sent, name).flatten() / norms[site] for site, sent in sites.items()])  # (N, D)
        ordered = steps.sort(dim=0).values
        middle = (ordered[(len(sites) - 1) // 2] + ordered[len(sites) // 2]) / 2
        products += (steps @ middle).double()
        squared += float(middle.square().sum())
    cosines = products / max(squared, 1e-300) ** 0.5
    return dict(zip(sites, cosines.tolist(), strict=True))


def _step(sent: Sent, name: str) -> Tensor:
    """Returns a site's step of a tensor per image, weighted by its precision; 0 for a tensor that it does not send."""
    start = sent.start[name].double()
    if key(TensorKind.PRECISION, name) not in sent.terms:
        return torch.zeros_like(start)
    precision = compact(sent.terms[key(TensorKind.PRECISION, name)]).double()
    return (sent.terms[key(TensorKind.PRECISION_MEAN, name)].double() - precision * start) / max(sent.images, 1)


def _common(sites: Mapping[str, Sent], least: int) -> list[str]:
    """Returns the parameters that enough sites send."""
    counts: dict[str, int] = {}
    for sent in sites.values():
        for name in pick(sent.terms, TensorKind.PRECISION_MEAN):
            if not is_averaged(name, sent.start[name]):
                counts[name] = counts.get(name, 0) + 1
    return sorted(name for name, count in counts.items() if count >= least)
