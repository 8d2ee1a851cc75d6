"""Forward and backward pass of one batch through head, body and tails, with all traffic.

Vepakomma et al., "Split learning for health", arXiv 1812.00564, in its U-shaped configuration: labels remain where the
images are. The autograd graph is cut at each transmission, and the chain rule is assembled from the gradients that are
sent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .channel import DOWN, UP, Channel, CrossingKind

Body = Callable[[Tensor], list[Tensor]]
"""Maps (B, D, h, w) at the server to feature maps."""


@dataclass(frozen=True)
class SplitStep:
    """Training step of one batch; gradients are accumulated in the parameters.

    Attributes:
        channel: of the site.
        body: of the server.
    """

    channel: Channel
    body: Body

    def run(self, maps: list[Tensor], loss_of: Callable[[list[Tensor], list[Tensor]], Tensor]) -> None:
        """Runs from the head's feature maps to the head's gradients.

        Args:
            maps: feature maps of the head, with their graph; the last one is sent.
            loss_of: the site's loss, a function of the feature maps that it kept and those that the body returned.
        """
        kept = [each.detach().requires_grad_(each.requires_grad) for each in maps]
        features = self.channel.send(maps[-1], UP, CrossingKind.FEATURES).requires_grad_(maps[-1].requires_grad)
        self.from_server(features, lambda returned: loss_of(kept, returned))
        if not maps[-1].requires_grad:
            return
        gradients = [each.grad for each in kept]
        if features.grad is not None:
            arrived = self.channel.send(features.grad, DOWN, CrossingKind.GRADIENTS)
            gradients[-1] = arrived if gradients[-1] is None else arrived + gradients[-1]
        _backward(maps, gradients)

    def from_server(self, features: Tensor, loss_of: Callable[[list[Tensor]], Tensor]) -> None:
        """Computes gradients of tails and body, and of the server's features if they require one.

        Args:
            features: (B, D, h, w).
            loss_of: the site's loss, a function of the feature maps that the body returned.
        """
        made = self.body(features)
        returned = [
            self.channel.send(each, DOWN, CrossingKind.FEATURES).requires_grad_(each.requires_grad) for each in made
        ]
        loss = loss_of(returned)
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        _backward(
            made,
            [
                None if each.grad is None else self.channel.send(each.grad, UP, CrossingKind.GRADIENTS)
                for each in returned
            ],
        )


def _backward(tensors: list[Tensor], gradients: list[Tensor | None]) -> None:
    """Backpropagates through all tensors with a gradient."""
    pairs = [(tensor, gradient) for tensor, gradient in zip(tensors, gradients, strict=True) if gradient is not None]
    if pairs:
        torch.autograd.backward([tensor for tensor, _ in pairs], [gradient for _, gradient in pairs])
