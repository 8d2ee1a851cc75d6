"""Stock MONAI FL clients, which send weights and no precision, as terms of the server's sums."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mtmedformer_monai.federated.strategy import Message, TensorKind, key


class PlainClients:
    """Makes Gaussians of one precision out of weights.

    Where sites send changes of a factor that stays with the server, what a plain site sent last has to be remembered
    for it, here: one posterior a plain site.

    Args:
        precision: of an image.
        sends_changes: as the strategy's sites do.
    """

    def __init__(self, precision: float, sends_changes: bool) -> None:
        if precision <= 0:
            raise ValueError(f"plain_precision expects a number above 0, got {precision}.")
        self._precision, self._sends_changes = precision, sends_changes
        self._factors: dict[str, Message] = {}
        self._offered: Message = {}

    @staticmethod
    def is_plain(message: Mapping[str, Tensor]) -> bool:
        """Whether names are those of weights, without a kind before them. Nothing at all is no plain site's."""
        return bool(message) and not any("/" in name for name in message)

    def terms(
        self, client: str, weights: Mapping[str, Tensor], base: Mapping[str, Tensor] | None, images: int
    ) -> Message:
        """Shifts and precisions of one client.

        Args:
            client: its name.
            weights: {parameter or buffer: value, or difference}.
            base: what differences are to; None for values.
            images: of the client.
        """
        factor: Message = {}
        for name, value in weights.items():
            whole = value.float() if base is None else base[name].float() + value.float()
            factor[key(TensorKind.PRECISION_MEAN, name)] = images * self._precision * whole
            factor[key(TensorKind.PRECISION, name)] = torch.full_like(whole, images * self._precision)
        self._offered = factor if self._sends_changes else {}
        before = self._factors.get(client, {})
        return {name: value - before[name] if name in before else value for name, value in factor.items()}

    def accept(self, client: str) -> None:
        """Remembers what was made last, once the server has added it."""
        if self._offered:
            self._factors[client], self._offered = self._offered, {}

    def state_dict(self) -> dict[str, Any]:
        """What is remembered."""
        return {client: dict(factor) for client, factor in self._factors.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores it."""
        self._factors = {client: dict(factor) for client, factor in state.items()}
