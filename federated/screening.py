"""Screening of a round's messages, which leaves out sites whose steps are far longer than, or opposed to, the others'.

A poisoned site may scale its update or flip its sign. Two checks compare the sites' steps of the weights, per image:

- norm: a step longer than `largest` times the median norm is left out (norm bounding: Sun et al., arXiv 1911.07963;
  here the message is dropped rather than clipped, because a client with a factor must know what the server has added);
- direction: a step whose cosine with the coordinate-wise median of all steps of unit length (Yin et al., ICML 2018) is
  below `least_cosine` is left out.

Medians of a tensor are those of the sites that send it: a site without labels of a task says nothing about its decoder.
Both checks need a majority of honest sites among them. A poisoned site that stays within the norms and directions of
the others, such as one that was trained on wrong labels, is not found by them.

Running statistics of norms differ between honest sites, in any direction, so they have a wide bound of their own, layer
by layer: `largest` times the sum of the median norm of the steps and the norm of the layer's broadcast statistics.
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


_Squares = Mapping[str, Mapping[str, float]]
"""{tensor: {site that sends it: squared norm of its step}}."""


def outliers(sites: Mapping[str, Sent], settings: Screening) -> dict[str, str]:
    """Returns {site: reason} of the sites to leave out; their order has no effect."""
    squares = {
        name: {site: float(_step(sites[site], name).square().sum()) for site in senders}
        for name, senders in _common(sites, settings.min_sites).items()
    }
    start = {name: sites[next(iter(own))].start[name] for name, own in squares.items()}
    learned = {name: own for name, own in squares.items() if not is_averaged(name, start[name])}
    norms = _norms(learned)
    found = {
        site: f"its step has the norm {norm:.3g} per image, more than {settings.largest:g} times the median"
        for site, (norm, median) in norms.items()
        if norm > settings.largest * median
    }
    found = {**_far_statistics(squares, start, settings.largest), **found}
    rest = {site: norm for site, (norm, _) in norms.items() if site not in found and norm > 0.0}
    for site, cosine in _cosines(sites, rest, learned).items():
        if cosine < settings.least_cosine:
            found[site] = f"its step has the cosine {cosine:.2f} with the median direction of all sites"
    return found


def _norms(squares: _Squares) -> dict[str, tuple[float, float]]:
    """Returns {site: (norm of its step, median norm)}, over the tensors that the site sends.

    Tensors with the same senders count as one, whose median norm is that of their senders.
    """
    blocks: dict[frozenset[str], dict[str, float]] = {}
    for own in squares.values():
        block = blocks.setdefault(frozenset(own), dict.fromkeys(own, 0.0))
        for site, square in own.items():
            block[site] += square
    totals: dict[str, tuple[float, float]] = {}
    for block in blocks.values():
        median = statistics.median(square**0.5 for square in block.values())
        for site, square in block.items():
            one, other = totals.get(site, (0.0, 0.0))
            totals[site] = (one + square, other + median**2)
    return {site: (one**0.5, other**0.5) for site, (one, other) in totals.items()}


def _far_statistics(squares: _Squares, start: Weights, largest: float) -> dict[str, str]:
    """Returns {site: reason} of the sites whose running statistics of a layer are far from the broadcast ones."""
    layers: dict[str, list[str]] = {}
    for name, value in start.items():
        if value.is_floating_point() and is_averaged(name, value):
            layers.setdefault(name.rpartition(".")[0], []).append(name)
    found: dict[str, str] = {}
    for layer, names in layers.items():
        size = sum(float(start[name].double().square().sum()) for name in names) ** 0.5
        for site, (norm, median) in _norms({name: squares[name] for name in names}).items():
            if norm > largest * (median + size):
                found[site] = f"its running statistics of {layer!r} are {norm:.3g} from the broadcast ones, {size:.3g}"
    return found


def _cosines(sites: Mapping[str, Sent], norms: Mapping[str, float], squares: _Squares) -> dict[str, float]:
    """Returns the cosine of each site's step with the coordinate-wise median of the steps of unit length.

    Args:
        sites: all of them.
        norms: {site: norm of its step, above 0} of the sites to compare.
        squares: of the tensors to compare; those that fewer than three of these sites send have no majority.
    """
    products, squared = dict.fromkeys(norms, 0.0), dict.fromkeys(norms, 0.0)
    for name, own in squares.items():
        senders = [site for site in norms if site in own]
        if len(senders) < 3:
            continue
        steps = torch.stack([_step(sites[site], name).flatten() / norms[site] for site in senders])  # (N, D)
        ordered = steps.sort(dim=0).values
        middle = (ordered[(len(senders) - 1) // 2] + ordered[len(senders) // 2]) / 2
        length = float(middle.square().sum())
        for site, product in zip(senders, (steps @ middle).tolist(), strict=True):
            products[site], squared[site] = products[site] + product, squared[site] + length
    return {site: products[site] / max(squared[site], 1e-300) ** 0.5 for site in norms}


def _step(sent: Sent, name: str) -> Tensor:
    """Returns a site's step of a tensor that it sends, per image, weighted by its precision."""
    precision = compact(sent.terms[key(TensorKind.PRECISION, name)]).double()
    start = precision * sent.start[name].double()
    return (sent.terms[key(TensorKind.PRECISION_MEAN, name)].double() - start) / max(sent.images, 1)


def _common(sites: Mapping[str, Sent], least: int) -> dict[str, list[str]]:
    """Returns {tensor: its senders} of the tensors that enough sites send; terms of 0 say nothing."""
    senders: dict[str, list[str]] = {}
    for site, sent in sites.items():
        for name, mean in pick(sent.terms, TensorKind.PRECISION_MEAN).items():
            if bool(mean.any()) or bool(sent.terms[key(TensorKind.PRECISION, name)].any()):
                senders.setdefault(name, []).append(site)
    return {name: senders[name] for name in sorted(senders) if len(senders[name]) >= least}
