"""Traffic between sites and the server, with byte counts.

Sites and server are objects in one process. Everything that one sends to the other passes through a `Channel`, which
counts the bytes and detaches tensors from the autograd graph, as a network connection would: gradients flow back only
if they are sent.
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
    """Kinds of transmitted tensors."""

    FEATURES: Final = "features"
    GRADIENTS: Final = "gradients"
    WEIGHTS: Final = "weights"
    """Weights of averaged parts."""
    ONCE: Final = "once"
    """Sent once when a site joins: initial weights, or features that the server stores."""


class Crossing(NamedTuple):
    """Direction and kind of one site's traffic."""

    site: str
    direction: str
    kind: str


class Traffic:
    """Byte counts by site, direction and kind.

    Attributes:
        bytes: {crossing: number of bytes}.
    """

    def __init__(self) -> None:
        self.bytes: Counter[Crossing] = Counter()

    def total(self, site: str = "", direction: str = "", kind: str = "") -> int:
        """Returns the bytes of a site, a direction and a kind; '' selects all."""
        wanted = (site, direction, kind)
        return sum(
            count
            for crossing, count in self.bytes.items()
            if all(not one or one == each for one, each in zip(wanted, crossing, strict=True))
        )

    def each_round(self, site: str = "") -> int:
        """Returns the bytes without those that are sent only once."""
        return self.total(site) - self.total(site, kind=CrossingKind.ONCE)


Observer = Callable[[Crossing, Tensor], None]
"""Called with every transmitted tensor."""


class Channel:
    """Connection between one site and the server.

    Args:
        site: its name.
        traffic: to which bytes are added.
        observer: called with all transmitted tensors, like an eavesdropper on the connection.

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
        """Returns a detached copy of the tensor, as received."""
        crossing, arrived = Crossing(self.site, direction, kind), tensor.detach().clone()
        self.traffic.bytes[crossing] += arrived.numel() * arrived.element_size()
        if self._observer is not None:
            self._observer(crossing, arrived)
        return arrived

    def send_all(self, tensors: Mapping[str, Tensor], direction: str, kind: str) -> dict[str, Tensor]:
        """Sends several named tensors."""
        return {name: self.send(tensor, direction, kind) for name, tensor in tensors.items()}
