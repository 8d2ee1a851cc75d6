"""Conversion of weights from stock MONAI FL clients, which send no precision, into terms of the server's sums."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mtmedformer_monai.federated.message import Message, TensorKind, key


class PlainClients:
    """Turns weights into Gaussians with a constant precision.

    If the strategy's clients send changes of factors that the server keeps, the last factor of each stock client must
    be remembered here: one posterior in memory per stock client.

    Args:
        precision: per image; None admits no stock client.
        sends_changes: `Strategy.sends_changes`.
    """

    def __init__(self, precision: float | None, sends_changes: bool) -> None:
        if precision is not None and precision <= 0:
            raise ValueError(f"plain_precision expects a number above 0, got {precision}.")
        self._precision, self._sends_changes = precision, sends_changes
        self._factors: dict[str, Message] = {}
        self._offered: Message = {}

    @staticmethod
    def is_plain(message: Mapping[str, Tensor]) -> bool:
        """Returns whether a message has plain weight names, without kinds. An empty message is not plain."""
        return bool(message) and not any("/" in name for name in message)

    def terms(
        self, client: str, weights: Mapping[str, Tensor], base: Mapping[str, Tensor] | None, images: int
    ) -> Message:
        """Returns precision-weighted means and precisions of one client.

        Args:
            client: its name.
            weights: {parameter or buffer: value, or difference}.
            base: weights to which differences are added; None for values.
            images: number of the client's images.

        Raises:
            KeyError: differences from a tensor that the federation does not have.
            ValueError: a difference has another shape, or no stock client is admitted.
        """
        if self._precision is None:
            raise ValueError(
                f"client {client!r} sent plain weights, as stock clients do, which this federation does not admit; "
                "send the result of `BayesianMonaiAlgo.get_weights`."
            )
        factor: Message = {}
        for name, value in weights.items():
            if base is not None and base[name].shape != value.shape:
                raise ValueError(f"{name!r} expects the shape {tuple(base[name].shape)}, got {tuple(value.shape)}.")
            whole = value.float() if base is None else base[name].float() + value.float()
            factor[key(TensorKind.PRECISION_MEAN, name)] = images * self._precision * whole
            factor[key(TensorKind.PRECISION, name)] = torch.full_like(whole, images * self._precision)
        self._offered = factor if self._sends_changes else {}
        before = self._factors.get(client, {})
        return {name: value - before[name] if name in before else value for name, value in factor.items()}

    def accept(self, client: str) -> None:
        """Stores the factor of the last call of `terms`, after the server has added it."""
        if self._offered:
            self._factors[client], self._offered = self._offered, {}

    def forget(self) -> None:
        """Forgets all factors, when the server has ended them."""
        self._factors = {}

    def state_dict(self) -> dict[str, Any]:
        """Returns the stored factors."""
        return {client: dict(factor) for client, factor in self._factors.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the stored factors."""
        self._factors = {client: dict(factor) for client, factor in state.items()}
