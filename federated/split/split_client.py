"""The client's side of split learning: a site's copy of head and tails, and their training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mtmedformer_monai.federated.client.ownership import labels_of_batch
from mtmedformer_monai.federated.message import Weights

from .head_learner import count_samples
from .split_network import ClientNetwork
from .system import LocalSettings


class SplitClient:
    """Trains head and tails; labels never leave it.

    Args:
        part: the site's own head and tails.
        settings: of its training.
        tasks_of: {parameter or buffer: tasks that it serves}.

    Attributes:
        num_samples: {parameter: number of images of the last round with a label of a task that it serves}.
    """

    def __init__(self, part: ClientNetwork, settings: LocalSettings, tasks_of: Mapping[str, frozenset[str]]) -> None:
        self.part, self._settings = part, settings
        self._optimizer = settings.make_optimizer(part.parameters())
        self._tasks_of = dict(tasks_of)
        self._labels: list[dict[str, Tensor]] = []
        self._losses: list[float] = []
        self.num_samples: dict[str, int] = {}

    def begin(self, trains: bool) -> None:
        """Starts a round.

        Args:
            trains: whether head and tails are trained in it.
        """
        self.part.train().requires_grad_(trains)
        self._labels, self._losses = [], []

    def loss(
        self, kept: list[Tensor], returned: list[Tensor], targets: Mapping[str, Tensor], size: tuple[int, int]
    ) -> Tensor:
        """Returns the hybrid loss of one batch.

        Args:
            kept: the head's feature maps.
            returned: the body's feature maps.
            targets: {task: target}.
            size: (H, W) of the images.
        """
        loss: Tensor = self._settings.loss(self.part.finish(kept, returned, size), targets)
        self._labels.append(labels_of_batch(self._settings.loss, targets, len(returned[0])))
        self._losses.append(float(loss.detach()))
        return loss

    def step(self) -> None:
        """Runs one optimizer step for all parameters with a gradient."""
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def end(self) -> float:
        """Ends the round: counts the labeled images and returns the mean loss."""
        self.num_samples = count_samples(self._tasks_of, self._labels, self._settings.epochs)
        return sum(self._losses) / max(len(self._losses), 1)

    def weights(self) -> Weights:
        """Returns the weights for which the site has labels."""
        state = self.part.state_dict()
        return {name: state[name].detach() for name, count in self.num_samples.items() if count > 0}

    def receive(self, weights: Mapping[str, Tensor]) -> None:
        """Loads weights."""
        self.part.load_state_dict(weights, strict=False)

    def state_dict(self) -> dict[str, Any]:
        """Returns weights, optimizer state and counts."""
        return {
            "weights": self.part.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "num_samples": dict(self.num_samples),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores weights, optimizer state and counts."""
        self.part.load_state_dict(state["weights"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.num_samples = dict(state["num_samples"])
