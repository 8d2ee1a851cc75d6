"""ConDistFL (Wang et al., MICCAI DeCaF 2023, arXiv 2308.04070): averaging of clients with conditional distillation.

The broadcast network teaches a client the tasks that its images lack labels for: in each step it predicts the same
augmented batch, and the client's outputs of these tasks are pulled towards its soft predictions.

What differs from the paper:

- The paper segments mutually exclusive structures with a softmax. Its marginal loss merges the structures that a client
  does not annotate, and its distillation conditions the probabilities on not being an annotated structure. Here, every
  structure has a sigmoid of its own, as structures may overlap: missing structures contribute nothing to the loss of
  own labels, and the conditioning changes nothing.
- The distance of masks is Dice plus cross-entropy instead of Dice alone, the distillation extends to boxes and classes
  (`federated/client/taught_losses.py`), and labels may be missing for some images of a task.
- The weight of the distillation rises linearly, as in the paper, but from 0 at the initial network, over `ramp_rounds`
  rounds instead of all.
- A client weighs in the average of a decoder by all images, those that are taught included; the paper averages whole
  networks by images, which is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mtmedformer_monai.federated.message import Message, Weights
from mtmedformer_monai.federated.strategy import ClientRule, ServerRule, Strategy
from mtmedformer_monai.federated.teaching import EVERY_TASK, Distillation, Teacher, Teaching
from mtmedformer_monai.layers.permutation_groups import PermutationGroups

from .fedavg import AveragingClient, AveragingServer
from .fedmix import CLOSED


class ConDistFL(Strategy):
    """Averaging of clients with conditional distillation.

    Args:
        weight: of the distillation loss after the ramp, relative to the loss of own labels.
        ramp_rounds: number of rounds over which the weight rises from 0, 1 or more.
        temperature: that divides the logits of masks and classes (2 in the paper).
    """

    image_precision = 1.0

    def __init__(self, weight: float = 1.0, ramp_rounds: int = 3, temperature: float = 2.0) -> None:
        if not weight >= 0 or not ramp_rounds >= 1 or not temperature > 0:
            raise ValueError(
                "weight expects 0 or more, ramp_rounds 1 or more and temperature a number above 0, got "
                f"{weight}, {ramp_rounds} and {temperature}."
            )
        self._weight, self._ramp, self._temperature = weight, ramp_rounds, temperature

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """Returns a client that distills from the broadcast."""
        return DistillingClient(self._weight, self._ramp, self._temperature)

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """Returns a server that averages and counts rounds."""
        return CountingServer(weights)


class DistillingClient(AveragingClient):
    """Trains from the broadcast weights, which also teach; keeps no state between rounds.

    Args:
        weight: of the distillation loss after the ramp.
        ramp_rounds: number of rounds of the ramp.
        temperature: of the logits.
    """

    sends_weights_alone = False  # filtered sites send nothing in rounds with a teacher, which are all but the first

    def __init__(self, weight: float, ramp_rounds: int, temperature: float) -> None:
        self._weight, self._ramp, self._temperature = weight, ramp_rounds, temperature
        self._teacher: Weights = {}
        self._closed = 0

    def receive(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """Returns the broadcast weights."""
        weights = super().receive(broadcast)
        self._closed = int(broadcast[CLOSED])
        self._teacher = {name: value.clone() for name, value in weights.items()} if self._closed else {}
        return weights

    def teaching(self) -> Teaching | None:
        """Returns the global network as the teacher of every task; None in the first round."""
        weight = self._weight * min(1.0, self._closed / self._ramp)
        return Distillation({EVERY_TASK: Teacher(self._teacher)}, weight, self._temperature) if weight > 0 else None


class CountingServer(AveragingServer):
    """Averages, and broadcasts the number of closed rounds.

    Args:
        weights: initial weights.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__(weights)
        self._closed = 0

    def close_round(self) -> None:
        """Computes the means."""
        super().close_round()
        self._closed += 1

    def broadcast(self) -> Message:
        """Returns the weights and the number of closed rounds."""
        return {**super().broadcast(), CLOSED: torch.tensor(float(self._closed))}

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of the average and the number of rounds."""
        return {**super().state_dict(), "closed": self._closed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state."""
        super().load_state_dict(state)
        self._closed = int(state["closed"])
