"""The interface of federated strategies: a rule for the clients and a rule for the server.

Every client message is a term of a sum. The server adds terms as they arrive, so the order of clients never matters,
secure aggregation applies, and the server's memory is that of the running sum, independent of the number of clients.
`Strategy.sends_sums` is False for the exceptions, whose server has to see each client's weights.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from mtmedformer_monai.layers.permutation_groups import PermutationGroups

from .message import Message, TensorKind, Weights, pick
from .teaching import Teaching

if TYPE_CHECKING:
    from .screening import Screening


@dataclass(frozen=True)
class GramRequest:
    """Which Gram matrices of the layers' inputs a strategy needs after training, and how much they may cost.

    Attributes:
        max_inputs: layers with more inputs per output have no Gram matrix; for convolutions, inputs are channels times
            kernel positions.
        max_images: maximum number of training images behind each Gram matrix.
    """

    max_inputs: int
    max_images: int


UNKNOWN_LOSS: Final = 0.5
"""Relative loss of a client that does not tell it."""


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
        images_by_task: {task: number of training images with its label}; empty where tasks are unknown.
        input_gram: {weight of a layer: mean of x x' over the inputs x of the trained layer, (D, D)}; D counts a last
            input of 1 if the layer has a bias. Empty unless the strategy needs it.
        loss: mean over these steps of the batch's loss, divided by its number of annotated tasks.
        unlearned: {parameter: bool (R,), rows of classes that the client does not know}; empty if it knows all.
        relative_loss: mean over these steps of the batch's losses by annotated task, each as a share of the task's
            initial loss; `UNKNOWN_LOSS` where initial losses are unknown, or may not be told.
    """

    weights: Mapping[str, Tensor]
    num_samples: Mapping[str, int]
    squared_gradient: Mapping[str, Tensor] = field(default_factory=dict)
    num_steps: int = 0
    learning_rate: float = 0.0
    images_by_task: Mapping[str, int] = field(default_factory=dict)
    input_gram: Mapping[str, Tensor] = field(default_factory=dict)
    loss: float = 0.0
    unlearned: Mapping[str, Tensor] = field(default_factory=dict)
    relative_loss: float = UNKNOWN_LOSS

    def images_of(self, name: str) -> Tensor:
        """Returns the number of images behind each number of a tensor, float32; 0 in rows of unknown classes."""
        return self.learned(name, torch.full(self.weights[name].shape, float(self.num_samples[name])))

    def learned(self, name: str, value: Tensor) -> Tensor:
        """Returns a value with the shape of a parameter, with zeros in rows of unknown classes."""
        rows = self.unlearned.get(name)
        return value if rows is None else value.masked_fill(rows.reshape(-1, *[1] * (value.dim() - 1)), 0.0)


class ClientRule(ABC):
    """The client's side of a strategy, with its state between rounds. The methods are listed in calling order."""

    needs_squared_gradient: bool = False
    """Whether `LocalTraining.squared_gradient` must be estimated."""

    corrects_labeled_steps: bool = False
    """Whether `correct` applies to a parameter only in steps with a label of a task that uses it: a term that counts
    once in a client's loss would otherwise weigh more, the rarer these labels are."""

    sends_weights_alone: bool = False
    """Whether messages depend on the images through the trained weights and numbers of images alone, so that filters of
    the weights filter the whole message."""

    needs_input_gram: GramRequest | None = None
    """Which `LocalTraining.input_gram` must be computed, by a pass over images after the training; None for none."""

    @abstractmethod
    def receive(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """Processes the server's broadcast and returns the weights from which training starts."""

    def teaching(self) -> Teaching | None:
        """Returns how the client's missing labels are made up for in this round; None leaves them missing."""
        return None

    def served(self, broadcast: Mapping[str, Tensor]) -> Message:
        """Returns the part of a broadcast that states the client's own posterior; by default, the whole.

        The client's weights for inference follow from it, by `inference_weights` and `own_factor`.
        """
        return dict(broadcast)

    @property
    def is_extra(self) -> bool:
        """Whether this round comes after those that the learning rate's schedule spans."""
        return False

    def inference_weights(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """Returns the weights with which the client infers; by default, those from which it would start training."""
        return copy.deepcopy(self).receive(broadcast)

    def correct(self, name: str, weight: Tensor, gradient: Tensor, num_samples: int) -> Tensor:
        """Returns the gradient for the optimizer. Called in every step, for every trained parameter.

        With `corrects_labeled_steps`, what it returns for a parameter is not used in steps without a label.

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

    def own_factor(self, broadcast: Mapping[str, Tensor]) -> Message:
        """Returns the client's factor of the broadcast posterior; empty if there is none, or it has ended.

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

    def decoded(self, message: Mapping[str, Tensor]) -> Message:
        """Returns the terms of a message; they differ from it if the strategy's clients encode messages."""
        return dict(message)

    @abstractmethod
    def close_round(self) -> None:
        """Computes the next global weights; without any message, they stay unchanged bit for bit."""

    @abstractmethod
    def broadcast(self) -> Message:
        """Returns the current message for all clients, with the global weights."""

    def broadcast_for(self, tasks: Collection[str]) -> Message:
        """Returns the current message for clients that train certain tasks.

        It has the same tensors as `broadcast`, unless the strategy keeps a mean for each such group of clients.

        Args:
            tasks: names of all tasks for which the client has labels.
        """
        return self.broadcast()

    def prior_number(self) -> int:
        """Returns how often the prior has changed. All factors end with each change; 0 for strategies without."""
        return 0

    def averages(self) -> bool:
        """Returns whether messages of this round are terms of an average by images, whatever came before."""
        return False

    def extra_rounds(self) -> int:
        """Returns how many rounds follow those of the federation; known when these have ended."""
        return 0

    def group_of(self, tasks: Collection[str]) -> str:
        """Returns the name of the group of clients with these tasks, as in `group_networks`; empty without groups."""
        return ""

    def has_ended(self, message: Mapping[str, Tensor]) -> bool:
        """Returns whether a message changes a factor that has ended, so that `add` leaves it out."""
        return False

    def group_networks(self) -> dict[str, tuple[Weights, Weights]]:
        """Returns {group: (weights, precisions)} of the networks that groups of clients share.

        A group is named by its tasks, joined by `+`. Precisions are those of a Gaussian from which weights may be
        drawn. Empty if the strategy keeps one network for all clients.
        """
        return {}

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

    sends_sums: bool = True
    """Whether the server needs only the sum of the clients' messages, as secure aggregation provides it."""

    prior_precision: float = 0.0
    """Precision of the prior of every weight; 0 for strategies without a posterior."""

    image_precision: float | None = None
    """Precision that each image of a client adds to a weight; None if it depends on the training."""

    most_images: int = 0
    """Number of images above which a client's message is refused; 0: none is refused."""

    is_personal: bool = False
    """Whether clients infer with weights of their own, or of their group; the server's may then serve no task well."""

    screening: Screening | None = None
    """Whether the server leaves out sites whose steps are outliers; None: every accepted message counts."""

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
