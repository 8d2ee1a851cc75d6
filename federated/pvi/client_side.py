"""The client's side of partitioned variational inference: its factor of the posterior and its rounds."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from mtmedformer_monai.federated.gaussian import Gaussian, identity, quotient
from mtmedformer_monai.federated.message import Message, TensorKind, Weights, key, pick
from mtmedformer_monai.federated.strategies.averaged import is_averaged
from mtmedformer_monai.federated.strategy import ClientRule, LocalTraining
from mtmedformer_monai.uncertainty.precision_code import decode_signed, encode_signed

from .equations import (
    Cavity,
    PrecisionScale,
    cavity_gradient,
    cavity_of,
    for_client,
    likelihood_precision,
    new_factor,
    sent_precision,
    step_of_mean,
)
from .factor_sums import Factor
from .iterate_spread import IterateSpread
from .messages import DAMPING, PRIOR_NUMBER, group_tags, prior_number_of, tasks_with_images
from .variance_components import moments

_logger = logging.getLogger(__name__)

LARGEST_FALL: Final = 0.9
"""Largest share of its precision that a factor may lose in one round if changes are rounded (by up to 5 percent)."""


@dataclass(frozen=True)
class ClientSettings:
    """Settings of a client's factor.

    Attributes:
        scale: of the factor's precision.
        average: weight of earlier rounds in the moving average of the squared gradient.
        rate: share of the step to the new factor; None: the client's share of the precision.
        coded_precision: whether changes of precision are rounded to one-byte codes; the precision-weighted mean is
            computed for the rounded precision.
        noise_steps: share of a round's last steps whose spread of weights is measured.
    """

    scale: PrecisionScale
    average: float
    rate: float | None
    coded_precision: bool
    noise_steps: float


class PVIClient(ClientRule):
    """Trains with the cavity's gradient, and sends the change of its factor of the group's mean.

    State: natural parameters of the factor and the moving average of the squared gradient, in float32; the numbers of
    images by task, which determine its group.

    Args:
        settings: of the factor.
    """

    corrects_labeled_steps = True

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._own: Factor = {}
        self._squares: Weights = {}
        self._images_by_task: dict[str, int] = {}
        self._cavities: dict[str, Cavity] = {}
        self._priors: dict[str, Cavity] = {}
        self._within: dict[str, float] = {}
        self._damping = 1.0
        self._prior_number: int | None = None
        self._iterates = IterateSpread(settings.noise_steps)
        self.needs_squared_gradient = settings.scale.curvature > 0
        self.sends_weights_alone = not self.needs_squared_gradient

    def receive(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """Stores the cavity, the posterior without the client's own factor, and returns the posterior mean.

        Raises:
            ValueError: a broadcast without precisions, of another strategy or of a round of distillation.
        """
        if not pick(broadcast, TensorKind.PRECISION):
            raise ValueError(
                "a client of the strategy bayesian expects a broadcast with precisions, got none; build it with the "
                "server's strategy and settings, including num_rounds."
            )
        number = prior_number_of(broadcast)
        if number != self._prior_number:
            self._forget()
            self._prior_number = number
        self._iterates.clear()  # of a round that was not sent
        mean, precision = pick(broadcast, TensorKind.MEAN), pick(broadcast, TensorKind.PRECISION)
        self._cavities = {
            name: cavity_of(mean[name].clone(), precision[name], self._own.get(name)) for name in precision
        }
        self._within = {name: float(value) for name, value in pick(broadcast, TensorKind.WITHIN).items()}
        self._priors = {
            name: for_client(cavity, self._within.get(name, 0.0)) for name, cavity in self._cavities.items()
        }
        self._damping = float(broadcast.get(DAMPING, 1.0))
        return mean

    def inference_weights(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """Returns the broadcast mean."""
        return pick(broadcast, TensorKind.MEAN)

    def correct(self, name: str, weight: Tensor, gradient: Tensor, num_samples: int) -> Tensor:
        """Adds the cavity's gradient divided by the number of images: `gradient + (g + C (theta - mu)) / n`."""
        if name not in self._priors or num_samples <= 0:
            return gradient
        prior = self._priors[name]
        if prior.mean.device != weight.device:
            prior = self._priors[name] = Cavity(*(each.to(weight.device) for each in prior))
        return cavity_gradient(weight.detach(), prior).div_(num_samples).add_(gradient)

    def after_step(self, weights: Mapping[str, Tensor], step: int, num_steps: int) -> None:
        """Adds the weights to the spread of the last steps of the round."""
        self._iterates.add(weights, step, num_steps)

    def send(self, training: LocalTraining) -> Message:
        """Returns the change of the factor; empty, with a warning, if the training has diverged."""
        squares, spread = self._averaged_squares(training), self._iterates.variances()
        new, terms = Factor(), Message()
        for name, count in training.num_samples.items():
            if count > 0 and is_averaged(name, training.weights[name]):
                images = training.images_of(name)
                new[name] = Gaussian(images * training.weights[name].float(), images)
            elif count > 0:
                new[name], terms[key(TensorKind.MOMENTS, name)] = self._new_factor(
                    name, training.weights[name], squares.get(name), spread.get(name, 0.0), training
                )
        self._iterates.clear()
        self._images_by_task = dict(training.images_by_task)
        message = {**_change(new, self._own), **terms, **self._tags()}
        if not all(bool(torch.isfinite(value).all()) for value in message.values()):
            _logger.warning("Training produced numbers that are not finite: this round's update is withheld.")
            return {}
        self._own.update(new)
        self._squares.update(squares)
        return message

    def withdraw(self) -> Message:
        """Returns the change that removes this client's factor from the federation, and resets the client."""
        message = _change({name: identity(value.precision_mean) for name, value in self._own.items()}, self._own)
        message |= self._tags()
        self._forget()
        return message

    def _tags(self) -> Message:
        """Returns the client's tasks, and the prior that its factor refers to."""
        tags = group_tags(tasks_with_images(self._images_by_task))
        return tags if self._prior_number is None else {**tags, PRIOR_NUMBER: torch.tensor(float(self._prior_number))}

    def _forget(self) -> None:
        self._own, self._squares, self._cavities, self._priors = {}, {}, {}, {}

    def own_factor(self, broadcast: Mapping[str, Tensor]) -> Message:
        """Returns the client's factor, unless the broadcast belongs to another prior than the factor."""
        return _change(self._own, {}) if prior_number_of(broadcast) == self._prior_number else {}

    def state_dict(self) -> dict[str, Any]:
        """Returns the factor, the squared gradients, and the number of images of each task."""
        own = {name: list(value) for name, value in self._own.items()}
        state = {"own": own, "squares": dict(self._squares)}
        return {**state, "images_by_task": dict(self._images_by_task), "prior_number": self._prior_number}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the factor, the squared gradients, and the number of images of each task."""
        self._own = {name: Gaussian(*value) for name, value in state["own"].items()}
        self._squares, self._images_by_task = dict(state["squares"]), dict(state["images_by_task"])
        self._prior_number = state["prior_number"]

    def _averaged_squares(self, training: LocalTraining) -> Weights:
        """Returns {parameter: moving average of its squared gradient} for parameters with one in this round."""
        share = self._settings.average
        found = {name: value.float() for name, value in training.squared_gradient.items()}
        return {
            name: share * self._squares[name] + (1.0 - share) * value if name in self._squares else value
            for name, value in found.items()
        }

    def _new_factor(
        self, name: str, trained: Tensor, square: Tensor | None, spread: float, training: LocalTraining
    ) -> tuple[Gaussian, Tensor]:
        """Computes `equations.new_factor` in float64; returns it in float32, and the tensor's `moments`."""
        cavity = Cavity(*(each.cpu().double() for each in self._cavities[name]))
        within = self._within.get(name, 0.0)
        known = torch.zeros_like(cavity.mean) if square is None else square.double()
        precision = likelihood_precision(known, training.num_samples[name], self._settings.scale)
        precision = training.learned(name, precision)
        if self._settings.coded_precision:
            precision = _unsent(_rounded(self._own.get(name), sent_precision(precision, within)), within)
        factor = new_factor(trained.double(), cavity, precision, self._settings.rate, self._damping, within)
        step = step_of_mean(trained.double(), cavity, precision, within)
        weight, squared_step = float(factor.precision.mean()), float(step.square().mean())
        found = moments(weight, float(precision.mean()), spread, squared_step, training.relative_loss)
        return Gaussian(*(training.learned(name, each).float() for each in factor)), found


def _unsent(sent: Tensor, within: float) -> Tensor:
    """Returns the likelihood's precision whose `sent_precision` is given."""
    return sent if within == 0.0 else sent / (1.0 - within * sent).clamp(min=1e-6)


def _rounded(own: Gaussian | None, new: Tensor) -> Tensor:
    """Returns the precision whose change fits a one-byte code; rounding never makes a factor's precision negative."""
    if not bool(torch.isfinite(new).all()):
        return new
    old = torch.zeros_like(new) if own is None else own.precision.double()
    change = torch.maximum(new - old, -LARGEST_FALL * old)
    return old + decode_signed(encode_signed(change), torch.float64)


def _change(new: Mapping[str, Gaussian], old: Mapping[str, Gaussian]) -> Message:
    """Returns the quotient of two factors, the change of their natural parameters, as a message."""
    message: Message = {}
    for name, value in new.items():
        change = quotient(value, old[name]) if name in old else value
        message[key(TensorKind.PRECISION_MEAN, name)] = change.precision_mean
        message[key(TensorKind.PRECISION, name)] = change.precision
    return message
