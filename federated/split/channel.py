"""What crosses between a site and the server, and how many bytes of it.

Site and server are objects of one process; all that one gives the other goes through a `Channel`, which counts it and
cuts it off from the graph that made it, as a wire would: gradients come back only where they are sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from torch import Tensor

UP: Final = "up"
"""From a site to the server."""
DOWN: Final = "down"
"""From the server to a site."""


class CrossingKind:
    """What tensors that cross are."""

    FEATURES: Final = "features"
    GRADIENTS: Final = "gradients"
    WEIGHTS: Final = "weights"
    """Of parts that are averaged."""
    ONCE: Final = "once"
    """What a site and the server tell each other when the site joins: first weights, features to be kept."""


class Crossing(NamedTuple):
    """One direction and kind of one site's traffic."""

    site: str
    direction: str
    kind: str


class Traffic:
    """Bytes by site, direction and kind.

    Attributes:
        bytes: {crossing: bytes}.
    """

    def __init__(self) -> None:
        self.bytes: Counter[Crossing] = Counter()

    def total(self, site: str = "", direction: str = "", kind: str = "") -> int:
        """Bytes of a site, a direction and a kind; '' is all of them."""
        wanted = (site, direction, kind)
        return sum(
            count
            for crossing, count in self.bytes.items()
            if all(not one or one == each for one, each in zip(wanted, crossing, strict=True))
        )

    def each_round(self, site: str = "") -> int:
        """Bytes without those that cross once."""
        return self.total(site) - self.total(site, kind=CrossingKind.ONCE)


Observer = Callable[[Crossing, Tensor], None]
"""Sees every tensor that crosses."""


class Channel:
    """One site's wire.

    Args:
        site: name.
        traffic: to count into.
        observer: called with all that crosses, as someone who listens to the wire would see it.

    Example:
        >>> import torch
        >>> traffic = Traffic()
        >>> _ = Channel("a", traffic).send(torch.zeros(2, 3), UP, CrossingKind.FEATURES)
        >>> traffic.total(direction=UP)
        24
    """

    def __init__(self, site: str, traffic: Traffic, observer: Observer | None = None) -> None:
        self.site, self.traffic, self._observer = site, traffic, observer

    def send(self, tensor: Tensor, direction: str, kind: str) -> Tensor:
        """What arrives: a copy, without the graph."""
        crossing, arrived = Crossing(self.site, direction, kind), tensor.detach().clone()
        self.traffic.bytes[crossing] += arrived.numel() * arrived.element_size()
        if self._observer is not None:
            self._observer(crossing, arrived)
        return arrived

    def send_all(self, tensors: Mapping[str, Tensor], direction: str, kind: str) -> dict[str, Tensor]:
        """Several, by name."""
        return {name: self.send(tensor, direction, kind) for name, tensor in tensors.items()}
