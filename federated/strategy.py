"""The interface of federated strategies: a rule for the clients and a rule for the server.

Every client message is a term of a sum. The server adds terms as they arrive, so the order of clients never matters,
secure aggregation applies, and the server's memory is that of the running sum, independent of the number of clients.

Tensors in a message are named `kind/parameter`, with a kind of `TensorKind`. A client sends only the parameters that it
trains.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from torch import Tensor

from mtmedformer_monai.layers.permutation_groups import PermutationGroups

from .teaching import Teaching

Weights = dict[str, Tensor]
"""{parameter or buffer: tensor}."""
Message = dict[str, Tensor]
"""{`kind/parameter`: tensor}: the server's broadcast, or a client's terms of the sums."""


class TensorKind:
    """Kinds of tensors in messages."""

    MEAN: Final = "mean"
    """Broadcast: the global weights, from which training starts."""
    PRECISION_MEAN: Final = "precision_mean"
    """Sent: precision times mean, or its change; for plain averages, weight times value."""
    PRECISION: Final = "precision"
    """Sent: precision, or its change; for plain averages, the weight. Broadcast: precision of the posterior."""
    CONTROL: Final = "control"
    """Sent and broadcast: control variates and other corrections, or their change."""
    COUNT: Final = "count"
    """Sent: number of images behind a control variate, or its change; one number per parameter."""
    SETTING: Final = "setting"
    """Broadcast: a scalar setting of the round, common to all clients."""


def key(kind: str, name: str) -> str:
    """Returns the name of a tensor in a message.

    Example:
        >>> key(TensorKind.MEAN, "encoder.weight")
        'mean/encoder.weight'
    """
    return f"{kind}/{name}"


def pick(message: Mapping[str, Tensor], kind: str) -> Weights:
    """Returns {parameter: tensor} of one kind."""
    return {name[len(kind) + 1 :]: value for name, value in message.items() if name.startswith(f"{kind}/")}


@dataclass(frozen=True)
class LocalTraining:
    """The result of a client's local training.

    Attributes:
        weights: {parameter or buffer: trained tensor}; float32 copies on the CPU.
        num_samples: {parameter or buffer: number of training images with a label of a task that uses it}; if 0 or
            missing, the client neither trains nor sends it.
        squared_gradient: {parameter: mean over samples of the squared gradient of one sample's loss}; empty unless the
            strategy needs it.
        num_steps: number of optimizer steps in this round.
        learning_rate: mean over these steps.
        loss: mean over these steps of the batch's loss, divided by its number of annotated tasks.
    """

    weights: Mapping[str, Tensor]
    num_samples: Mapping[str, int]
    squared_gradient: Mapping[str, Tensor] = field(default_factory=dict)
    num_steps: int = 0
    learning_rate: float = 0.0
    loss: float = 0.0


class ClientRule(ABC):
    """The client's side of a strategy, with its state between rounds. The methods are listed in calling order."""

    needs_squared_gradient: bool = False
    """Whether `LocalTraining.squared_gradient` must be estimated."""

    @abstractmethod
    def receive(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """Processes the server's broadcast and returns the weights from which training starts."""

    def teaching(self) -> Teaching | None:
        """Returns how the client's missing labels are made up for in this round; None leaves them missing."""
        return None

    def correct(self, name: str, weight: Tensor, gradient: Tensor, num_samples: int) -> Tensor:
        """Returns the gradient for the optimizer. Called in every step, for every trained parameter.

        Args:
            name: of the parameter.
            weight: its value.
            gradient: of the mean loss over a batch.
            num_samples: number of the client's training images that train the parameter; the mean loss times this
                number is the client's total loss.
        """
        return gradient

    def after_step(self, weights: Mapping[str, Tensor], step: int, num_steps: int) -> None:  # noqa: B027 optional
        """Called with the weights after each optimizer step.

        Args:
            weights: {parameter: value}, live references; copy what must be kept.
            step: number of the step, starting at 1.
            num_steps: number of steps in the round.
        """

    @abstractmethod
    def send(self, training: LocalTraining) -> Message:
        """Returns the client's terms of the server's sums, and updates the state."""

    def own_factor(self) -> Message:
        """Returns the client's factor of the global posterior; empty if there is none.

        Its tensors are precision-weighted means and precisions.
        """
        return {}

    def withdraw(self) -> Message:
        """Returns the message that removes the client's contribution from the server's sums.

        It is empty if the server keeps none.
        """
        return {}

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Returns the state as nested dicts, lists, tensors and numbers."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state."""


class ServerRule(ABC):
    """The server's side of a strategy: adds messages as they arrive and closes rounds."""

    @abstractmethod
    def add(self, message: Mapping[str, Tensor]) -> None:
        """Adds a client's message.

        Raises:
            KeyError: a parameter that the federation's network does not have.
            ValueError: numbers that are not finite, or a wrong shape; nothing of the message is added.
        """

    @abstractmethod
    def close_round(self) -> None:
        """Computes the next global weights; without any message, they stay unchanged bit for bit."""

    @abstractmethod
    def broadcast(self) -> Message:
        """Returns the current message for all clients."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Returns the state as nested dicts, lists, tensors and numbers."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state."""

    def weights(self) -> Weights:
        """Returns the global weights, float32."""
        return pick(self.broadcast(), TensorKind.MEAN)


class Strategy(ABC):
    """A federated strategy: builds the client's and the server's side. Its settings are constructor arguments.

    Example:
        >>> import torch
        >>> from mtmedformer_monai.federated.strategies import FedAvg
        >>> strategy = FedAvg()
        >>> server, client = strategy.server({"w": torch.zeros(1)}), strategy.client()
        >>> start = client.receive(server.broadcast())
        >>> server.add(client.send(LocalTraining({"w": start["w"] + 3.0}, {"w": 10})))
        >>> server.close_round()
        >>> server.weights()
        {'w': tensor([3.])}
    """

    sends_changes: bool = False
    """Whether clients send changes since their previous message, so the server keeps absent clients' contributions."""

    @abstractmethod
    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """Returns a new client side.

        Args:
            groups: permutation groups of the network, for strategies that match units; None if the network declares
                none.
        """

    @abstractmethod
    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """Returns a new server side.

        Args:
            weights: all parameters and buffers of the initial network.
        """
