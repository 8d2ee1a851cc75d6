"""FedMix (Wicaksana et al., IEEE TMI 2023, arXiv 2205.01840): averaging of clients that complete their missing labels.

From round 2 on, a client completes the labels that its images lack by the predictions of the broadcast network, if the
last two global networks agree on them (`federated/client/completion.py`). Round 1 has no teacher, and in round 2 only
the confidence decides, because the initial network knows nothing.

The aggregation weights count labels and the training loss, so that clients with a high loss move the network further
(the authors' code, with lambda 10 and beta 1.5):

    w_k = (T_k / sum T + lambda loss_k ** beta / sum loss ** beta) / (1 + lambda)

with the number T_k of images with own or accepted labels. Both parts are weighted means, so clients send terms of two
sums: twice the bytes of federated averaging.

What differs from the paper: it trains two networks at each client, each supervised by the other's predictions; here,
the last two global networks take their place, at half the cost. The paper completes masks, and refines them by own
boxes or classes of the same lesion; here, each task is completed by itself. Weights and losses count by parameter, over
the clients that train it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from mtmedformer_monai.federated.message import Message, TensorKind, Weights, key, pick
from mtmedformer_monai.federated.running_sum import RunningSum
from mtmedformer_monai.federated.strategy import ClientRule, LocalTraining, ServerRule, Strategy
from mtmedformer_monai.federated.teaching import EVERY_TASK, Completion, Gate, Teacher, Teaching
from mtmedformer_monai.layers.permutation_groups import PermutationGroups

from .fedavg import weighted_terms

LOSS_MEAN: Final = "loss_mean"
"""Kind of tensors that a client sends: `loss ** beta` times its weights."""
LOSS_WEIGHT: Final = f"loss_{TensorKind.PRECISION}"
"""Kind of tensors that a client sends: `loss ** beta`, and 0 in rows of unknown classes; by its name a constant one is
transmitted as one number.
"""

CLOSED: Final = key(TensorKind.SETTING, "closed_rounds")
"""Broadcast: number of closed rounds."""


class FedMix(Strategy):
    """Averaging of clients with completed labels, weighted by labels and loss.

    Args:
        quality: lambda, the share of the loss in the weights relative to the number of labels; 0 averages by images.
        exponent: beta of the loss.
        completion_weight: weight of a completed label relative to an own one.
        min_probability: see `Gate`; 0.5 accepts every class and pixel, as the paper.
        min_score: see `Gate`.
        agreement: see `Gate`.
        soft: whether completed masks are probabilities.
    """

    image_precision = 1.0

    def __init__(
        self,
        quality: float = 10.0,
        exponent: float = 1.5,
        completion_weight: float = 1.0,
        min_probability: float = 0.7,
        min_score: float = 0.3,
        agreement: float = 0.9,
        soft: bool = False,
    ) -> None:
        for name, value in (("quality", quality), ("exponent", exponent)):
            if not value >= 0:
                raise ValueError(f"{name} expects 0 or more, got {value}.")
        self._quality, self._exponent = quality, exponent
        self._completion = Completion({}, Gate(min_probability, min_score, agreement), completion_weight, soft)

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """Returns a client that has received nothing."""
        return CompletingClient(self._completion, self._exponent if self._quality > 0 else None)

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """Returns a server that averages by labels and by loss."""
        return MixingServer(weights, self._quality)


class CompletingClient(ClientRule):
    """Completes labels by the broadcast network, and sends its weights times images, and times a power of its loss.

    Args:
        completion: how to complete, without teachers.
        exponent: of the loss; None sends no terms of the loss.
    """

    def __init__(self, completion: Completion, exponent: float | None) -> None:
        self._completion, self._exponent = completion, exponent
        self._current: Weights = {}
        self._previous: Weights = {}

    def receive(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """Returns the broadcast weights; they and the ones before them teach, unless they are the initial weights."""
        weights, self._previous = pick(broadcast, TensorKind.MEAN), self._current
        is_trained = int(broadcast[CLOSED]) > 0
        self._current = {name: value.clone() for name, value in weights.items()} if is_trained else {}
        return weights

    def teaching(self) -> Teaching | None:
        """Returns the global network as the teacher of every task, checked against the one before it."""
        if not self._current:
            return None
        teachers = {EVERY_TASK: Teacher(self._current, previous=self._previous or None)}
        given = self._completion
        return Completion(teachers, given.gate, given.weight, given.soft)

    def send(self, training: LocalTraining) -> Message:
        """Returns `n w`, `n`, `loss ** beta w` and `loss ** beta`; all are 0 in rows of unknown classes."""
        message = weighted_terms(training)
        if self._exponent is None or not math.isfinite(training.loss) or training.loss <= 0.0:
            return message
        score = training.loss**self._exponent
        for name, value in pick(message, TensorKind.PRECISION_MEAN).items():
            message[key(LOSS_MEAN, name)] = value * (score / training.num_samples[name])
            message[key(LOSS_WEIGHT, name)] = training.learned(name, torch.full_like(value, score))
        return message

    def state_dict(self) -> dict[str, Any]:
        """Returns the last two global networks."""
        return {"current": dict(self._current), "previous": dict(self._previous)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state."""
        self._current, self._previous = dict(state["current"]), dict(state["previous"])


class MixingServer(ServerRule):
    """Mixes the mean weighted by images with the mean weighted by the loss.

    Args:
        weights: initial weights.
        quality: lambda.
    """

    def __init__(self, weights: Mapping[str, Tensor], quality: float) -> None:
        self._weights = {name: value.detach().clone() for name, value in weights.items()}
        self._quality, self._closed = quality, 0
        kinds = (TensorKind.PRECISION_MEAN, TensorKind.PRECISION, LOSS_MEAN, LOSS_WEIGHT)
        self._sum = RunningSum({name: value.shape for name, value in weights.items()}, kinds)

    def add(self, message: Mapping[str, Tensor]) -> None:
        """Adds the terms of one client; one without terms of the loss counts by its images alone."""
        self._sum.add(message)

    def close_round(self) -> None:
        """Computes the mixed means; counters and weights that no client trained are as without mixing."""
        by_images = self._sum.weighted_means(self._weights)
        if any(name.startswith(f"{LOSS_MEAN}/") for name in self._sum.total):
            by_loss = self._sum.weighted_means(by_images, LOSS_MEAN, LOSS_WEIGHT)
            by_images = {name: self._mix(value, by_loss[name]) for name, value in by_images.items()}
        self._weights = by_images
        self._closed += 1
        self._sum.clear()

    def broadcast(self) -> Message:
        """Returns the weights and the number of closed rounds."""
        message = {key(TensorKind.MEAN, name): value for name, value in self._weights.items()}
        return {**message, CLOSED: torch.tensor(float(self._closed))}

    def state_dict(self) -> dict[str, Any]:
        """Returns the weights, the number of rounds and the messages added in this round."""
        return {"weights": dict(self._weights), "closed": self._closed, "total": dict(self._sum.total)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state."""
        self._weights, self._closed = dict(state["weights"]), int(state["closed"])
        self._sum.total = dict(state["total"])

    def _mix(self, by_images: Tensor, by_loss: Tensor) -> Tensor:
        if not by_images.is_floating_point():
            return by_images
        return by_images + self._quality / (1.0 + self._quality) * (by_loss - by_images)
