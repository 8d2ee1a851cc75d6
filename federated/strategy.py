"""What makes a federation: a rule for the clients and a rule for the server, chosen together by one option.

All that a client sends is a term of a sum. The server adds terms as they arrive, so that the order of clients never
matters, secure sums apply, and its memory is that of the running sum, whatever the number of clients.

Names of tensors in a message are `kind/parameter`, with the kinds of `TensorKind`; a client sends only the parameters
that it trains.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from torch import Tensor

from mtmedformer_monai.layers.permutation_groups import PermutationGroups

Weights = dict[str, Tensor]
"""{parameter or buffer: tensor}."""
Message = dict[str, Tensor]
"""{`kind/parameter`: tensor}: what the server broadcasts, or what a site sends to be added."""


class TensorKind:
    """Kinds of tensors in messages."""

    MEAN: Final = "mean"
    """Broadcast: the weights to start from."""
    PRECISION_MEAN: Final = "precision_mean"
    """Sent: precision times mean, or its change; of a plain average, weight times value."""
    PRECISION: Final = "precision"
    """Sent: precision, or its change; of a plain average, the weight. Broadcast: the posterior's."""
    CONTROL: Final = "control"
    """Sent and broadcast: control variates and other corrections, or their change."""
    COUNT: Final = "count"
    """Sent: images behind a control, or their change; one number a parameter."""
    SETTING: Final = "setting"
    """Broadcast: a scalar that all sites follow in this round."""


def key(kind: str, name: str) -> str:
    """The name of a tensor in a message.

    Example:
        >>> key(TensorKind.MEAN, "encoder.weight")
        'mean/encoder.weight'
    """
    return f"{kind}/{name}"


def pick(message: Mapping[str, Tensor], kind: str) -> Weights:
    """{parameter: tensor} of one kind."""
    return {name[len(kind) + 1 :]: value for name, value in message.items() if name.startswith(f"{kind}/")}


@dataclass(frozen=True)
class LocalTraining:
    """What a site has at the end of its local training.

    Attributes:
        weights: {parameter or buffer: tensor}, trained; float32 on the CPU, no live views.
        num_samples: {parameter or buffer: training images with a label of a task that uses it}; 0 or left out: the site
            doesn't train it, and doesn't send it.
        squared_gradient: {parameter: mean over samples of the squared gradient of a sample's loss}; empty unless the
            site's strategy asks for it.
        num_steps: of the optimizer, in this round.
        learning_rate: mean over these steps.
    """

    weights: Mapping[str, Tensor]
    num_samples: Mapping[str, int]
    squared_gradient: Mapping[str, Tensor] = field(default_factory=dict)
    num_steps: int = 0
    learning_rate: float = 0.0


class ClientRule(ABC):
    """A site's side, with its memory from round to round. Called in the order of its methods."""

    needs_squared_gradient: bool = False
    """Whether `LocalTraining.squared_gradient` has to be estimated."""

    @abstractmethod
    def receive(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """Takes what the server broadcasts; returns the weights to train from."""

    def correct(self, name: str, weight: Tensor, gradient: Tensor, num_samples: int) -> Tensor:
        """The gradient to step along, instead of that of the site's loss. In every step, for every trained parameter.

        Args:
            name: of the parameter.
            weight: its value.
            gradient: of the mean loss over a batch.
            num_samples: the site's training images that the parameter learns from: the mean loss times this number is
                the site's whole loss.
        """
        return gradient

    def after_step(self, weights: Mapping[str, Tensor], step: int, num_steps: int) -> None:  # noqa: B027 optional
        """Sees the weights after an optimizer step.

        Args:
            weights: {parameter: value}, live: copy what is kept.
            step: from 1 on.
            num_steps: of the round.
        """

    @abstractmethod
    def send(self, training: LocalTraining) -> Message:
        """What the site tells: terms of the server's sums. Updates the memory."""

    def own_factor(self) -> Message:
        """The site's own factor of the global posterior, as shifts and precisions; nothing where there is none."""
        return {}

    def withdraw(self) -> Message:
        """What takes the site's part out of the server's sums, to be added by it; nothing where it keeps none."""
        return {}

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """The memory: nested dicts, lists, tensors and numbers."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the memory."""


class ServerRule(ABC):
    """The server's side: adds messages as they arrive, and closes the round."""

    @abstractmethod
    def add(self, message: Mapping[str, Tensor]) -> None:
        """Adds what one site sent.

        Raises:
            KeyError: a parameter that the federation's network doesn't have.
            ValueError: numbers that are not finite, or another shape; nothing of the message is added.
        """

    @abstractmethod
    def close_round(self) -> None:
        """Makes the next global weights out of what was added; without any message they stay, bit for bit."""

    @abstractmethod
    def broadcast(self) -> Message:
        """What all sites receive, now."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """All that the server knows: nested dicts, lists, tensors and numbers."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores it."""

    def weights(self) -> Weights:
        """The global weights, float32."""
        return pick(self.broadcast(), TensorKind.MEAN)


class Strategy(ABC):
    """A way to federate: builds both sides. Its settings are constructor arguments.

    Example:
        >>> import torch
        >>> from mtmedformer_monai.federated.strategies import FedAvg
        >>> strategy = FedAvg()
        >>> server, site = strategy.server({"w": torch.zeros(1)}), strategy.client()
        >>> start = site.receive(server.broadcast())
        >>> server.add(site.send(LocalTraining({"w": start["w"] + 3.0}, {"w": 10})))
        >>> server.close_round()
        >>> server.weights()
        {'w': tensor([3.])}
    """

    sends_changes: bool = False
    """Whether sites send the change of what they sent before, which stays with the server while a site is silent."""

    @abstractmethod
    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """A site's side, new.

        Args:
            groups: of the network, for strategies that match units; None where the network declares none.
        """

    @abstractmethod
    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """The server's side.

        Args:
            weights: all parameters and buffers of the network, to start from.
        """
