"""Training of a site's own heads on a pretrained encoder."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mtmedformer_monai.federated.client.ownership import Ownership, labels_of_batch
from mtmedformer_monai.federated.message import Weights
from mtmedformer_monai.networks.mtmedformer import MTMedFormer

from .system import Batches, LocalSettings


class HeadLearner:
    """Trains pyramids and decoders, and selected parameters of the encoder.

    Args:
        network: the site's own.
        settings: of its training.
        adapted: names of the parameters of the encoder (and of the stem that it follows) that are trained; other names
            are ignored.

    Attributes:
        network: in its current state.
        num_samples: {parameter: number of images of the last round with a label of a task that it serves}.
    """

    def __init__(self, network: MTMedFormer, settings: LocalSettings, adapted: Collection[str]) -> None:
        encoder = network.encoder_state()
        self.network, self._settings, self._adapted = network, settings, encoder.keys() & set(adapted)
        self._tasks_of = settings.tasks_of(network)
        for name, value in encoder.items():
            if isinstance(value, nn.Parameter):
                value.requires_grad_(name in self._adapted)
        self._optimizer = settings.make_optimizer([each for each in network.parameters() if each.requires_grad])
        self.num_samples: dict[str, int] = {}

    def train(self, batches: Batches) -> float:
        """Trains one round; returns the mean loss."""
        self.network.train()
        self.network.encoder.train(bool(self._adapted))  # no dropout in a frozen encoder
        losses: list[float] = []
        labels: list[dict[str, Tensor]] = []
        for _ in range(self._settings.epochs):
            for image, targets in self._settings.prepared(batches):
                loss = self._settings.loss(self.network(image), targets)
                self._optimizer.zero_grad(set_to_none=True)
                loss.backward()
                self._optimizer.step()
                losses.append(float(loss.detach()))
                labels.append(labels_of_batch(self._settings.loss, targets, len(image)))
        self.num_samples = count_samples(self._tasks_of, labels, self._settings.epochs)
        return sum(losses) / max(len(losses), 1)

    def weights(self) -> Weights:
        """Returns all parameters and buffers."""
        return {name: value.detach() for name, value in self.network.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """Returns weights, optimizer state and counts."""
        return {
            "weights": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "num_samples": dict(self.num_samples),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores weights, optimizer state and counts."""
        self.network.load_state_dict(state["weights"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.num_samples = dict(state["num_samples"])


def count_samples(
    tasks_of: Mapping[str, frozenset[str]], labels: list[dict[str, Tensor]], epochs: int
) -> dict[str, int]:
    """Returns {parameter: number of images per epoch with a label of any task that it serves}.

    Args:
        tasks_of: {parameter: tasks that it serves}.
        labels: of each batch of all epochs, {task: bool (B,)}.
        epochs: number of epochs.
    """
    names = labels[0] if labels else {}
    known = {name: torch.cat([each[name] for each in labels]) for name in names}
    return {name: count // epochs for name, count in Ownership(tasks_of, known).num_samples.items()}
