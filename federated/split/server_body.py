"""The server's side of a split system: the body that all sites share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from .system import LocalSettings


class ServerBody:
    """Gathers the gradients of a step's sites, and steps along their mean.

    Args:
        module: the body.
        settings: whose optimizer to make.
    """

    def __init__(self, module: nn.Module, settings: LocalSettings) -> None:
        self.module = module
        self._optimizer = settings.make_optimizer(module.parameters())

    def begin(self, trains: bool) -> None:
        """Starts a round.

        Args:
            trains: the body learns in it.
        """
        self.module.train().requires_grad_(trains)

    def step(self, num_sites: int) -> None:
        """One step, along the mean over so many sites; a site that a parameter didn't serve counts as a zero."""
        for parameter in self.module.parameters():
            if parameter.grad is not None:
                parameter.grad /= num_sites
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimizer."""
        return {"weights": self.module.state_dict(), "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores them."""
        self.module.load_state_dict(state["weights"])
        self._optimizer.load_state_dict(state["optimizer"])
