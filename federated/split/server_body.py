"""The server's side of split learning: the body shared by all sites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from .system import LocalSettings


class ServerBody:
    """Accumulates the gradients of all sites in a step, and updates the body with their mean.

    Args:
        module: the body.
        settings: with the optimizer to create.
    """

    def __init__(self, module: nn.Module, settings: LocalSettings) -> None:
        self.module = module
        self._optimizer = settings.make_optimizer(module.parameters())

    def begin(self, trains: bool) -> None:
        """Starts a round.

        Args:
            trains: whether the body is trained in it.
        """
        self.module.train().requires_grad_(trains)

    def step(self, num_sites: int) -> None:
        """Updates the body with the mean gradient over the sites; a missing gradient counts as zero."""
        for parameter in self.module.parameters():
            if parameter.grad is not None:
                parameter.grad /= num_sites
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """Returns weights and optimizer state."""
        return {"weights": self.module.state_dict(), "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores weights and optimizer state."""
        self.module.load_state_dict(state["weights"])
        self._optimizer.load_state_dict(state["optimizer"])
