"""A site of posterior-site federation: its factor of the posterior, and its round."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from mtmedformer_monai.federated.gaussian import Gaussian
from mtmedformer_monai.federated.strategies.averaged import is_averaged
from mtmedformer_monai.federated.strategy import Kind, LocalTraining, Message, SiteRule, Weights, key, pick
from mtmedformer_monai.uncertainty.precision_code import decode_signed, encode_signed

from .posterior import Factor, zeros_like
from .posterior_server import DAMPING
from .site_round import EvidenceScale, Pull, evidence, pull_at, pull_of

_logger = logging.getLogger(__name__)

LARGEST_FALL: Final = 0.9
"""Share of its precision that a factor may lose in a round, where changes are rounded (by up to 5 per cent)."""


@dataclass(frozen=True)
class SiteSettings:
    """How a site makes its factor.

    Attributes:
        scale: of the precision that its data bring.
        average: share of the squared gradient that is remembered from the rounds before.
        rate: of the way to the new factor's slope; None: the site's share of the precision.
        coded_precision: whether changes of precision are rounded to what a byte holds; the shift is made for those.
    """

    scale: EvidenceScale
    average: float
    rate: float | None
    coded_precision: bool


class PosteriorSite(SiteRule):
    """Trains beside the pull of all others, and tells by how much its factor changed.

    Memory: shift and precision of the factor, and the average of the squared gradient, in float32.

    Args:
        settings: of the factor.
    """

    def __init__(self, settings: SiteSettings) -> None:
        self._settings = settings
        self._own: Factor = {}
        self._squares: Weights = {}
        self._pulls: dict[str, Pull] = {}
        self._damping = 1.0
        self.needs_squared_gradient = settings.scale.curvature > 0

    def receive(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """The posterior's mean; what all others believe is the posterior without the site's own factor."""
        mean, precision = pick(broadcast, Kind.MEAN), pick(broadcast, Kind.PRECISION)
        self._pulls = {name: pull_of(mean[name].clone(), precision[name], self._own.get(name)) for name in precision}
        self._damping = float(broadcast.get(DAMPING, 1.0))
        return mean

    def correct(self, name: str, weight: Tensor, gradient: Tensor, num_samples: int) -> Tensor:
        """`gradient + (C theta - e) / n`: the gradient of the site's mean loss and its share of the pull."""
        if name not in self._pulls or num_samples <= 0:
            return gradient
        pull = self._pulls[name]
        if pull.center.device != weight.device:
            pull = self._pulls[name] = Pull(*(each.to(weight.device) for each in pull))
        return pull_at(weight.detach(), pull).div_(num_samples).add_(gradient)

    def send(self, training: LocalTraining) -> Message:
        """The change of the factor; nothing at all, and a warning, where the training has diverged."""
        squares = self._averaged_squares(training)
        new: Factor = {}
        for name, count in training.num_samples.items():
            if count > 0 and is_averaged(name, training.weights[name]):
                total = count * training.weights[name].float()
                new[name] = Gaussian(total, torch.full_like(total, count))
            elif count > 0:
                new[name] = self._new_factor(name, training.weights[name], squares.get(name), count)
        message = _change(new, self._own)
        if not all(bool(torch.isfinite(value).all()) for value in message.values()):
            _logger.warning("Training gave numbers that are not finite: this round's update is withheld.")
            return {}
        self._own.update(new)
        self._squares.update(squares)
        return message

    def withdraw(self) -> Message:
        """What takes this site's factor out of the federation, to be added by the server; the site starts anew."""
        message = _change({name: zeros_like(value) for name, value in self._own.items()}, self._own)
        self._own, self._squares, self._pulls = {}, {}, {}
        return message

    def own_evidence(self) -> Message:
        """The factor."""
        return _change(self._own, {})

    def state_dict(self) -> dict[str, Any]:
        """Factor and squared gradients."""
        return {"own": {name: list(value) for name, value in self._own.items()}, "squares": dict(self._squares)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores both."""
        self._own = {name: Gaussian(*value) for name, value in state["own"].items()}
        self._squares = dict(state["squares"])

    def _averaged_squares(self, training: LocalTraining) -> Weights:
        """{parameter: moving average of its squared gradient}, of those that have one in this round."""
        share = self._settings.average
        found = {name: value.float() for name, value in training.squared_gradient.items()}
        return {
            name: share * self._squares[name] + (1.0 - share) * value if name in self._squares else value
            for name, value in found.items()
        }

    def _new_factor(self, name: str, trained: Tensor, square: Tensor | None, count: int) -> Gaussian:
        """Precision H at once; the slope at the global mean a step towards that of `shift (C + H) m - e`.

        A factor of precision H whose slope at mu is g has the shift `H mu + g`; the new slope is
        `g + (C + H) (m - mu)`. In float64, kept in float32.
        """
        pull = Pull(*(each.cpu().double() for each in self._pulls[name]))
        step = trained.double() - pull.center
        known = torch.zeros_like(step) if square is None else square.double()
        precision = evidence(known, count, self._settings.scale)
        if self._settings.coded_precision:
            precision = _rounded(self._own.get(name), precision)
        rate = self._settings.rate
        change = precision * step if rate is None else rate * (pull.precision + precision) * step
        shift = precision * pull.center + pull.slope + self._damping * change
        return Gaussian(shift.float(), precision.float())


def _rounded(own: Gaussian | None, new: Tensor) -> Tensor:
    """The precision whose change a byte can tell; a factor never falls below 0 by rounding."""
    if not bool(torch.isfinite(new).all()):
        return new
    old = torch.zeros_like(new) if own is None else own.precision.double()
    change = torch.maximum(new - old, -LARGEST_FALL * old)
    return old + decode_signed(encode_signed(change), torch.float64)


def _change(new: Mapping[str, Gaussian], old: Mapping[str, Gaussian]) -> Message:
    """New minus old, as a message."""
    message: Message = {}
    for name, value in new.items():
        before = old.get(name)
        shift, precision = value if before is None else (value.shift - before.shift, value.precision - before.precision)
        message[key(Kind.SHIFT, name)], message[key(Kind.PRECISION, name)] = shift, precision
    return message
