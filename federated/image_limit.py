"""A bound on the weight of one client, whose number of images the server cannot verify."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torch import Tensor

from .strategies.averaged import is_averaged

ROUNDING: Final = 1e-3
"""Share by which rounding may exceed the bound."""


class ImageLimit:
    """Refuses messages of clients that weigh more than an agreed number of images.

    A client that claims a million images outvotes all others, and its step per image looks like theirs.

    Args:
        most_images: largest number of training images of a client.
        image_precision: precision that one image adds to a weight, `Strategy.image_precision`.
        weights: all parameters and buffers of the network; those that are plainly averaged count images themselves.
    """

    def __init__(self, most_images: int, image_precision: float, weights: Mapping[str, Tensor]) -> None:
        self._most_images = most_images
        self._units = {name: 1.0 if is_averaged(name, value) else image_precision for name, value in weights.items()}

    def check_images(self, client: str, images: int) -> None:
        """Checks the number of images that a stock client states.

        Raises:
            ValueError: it is more than the federation allows.
        """
        if images > self._most_images:
            raise ValueError(
                f"client {client!r} has a data_count of {images}, and the federation allows {self._most_images} images."
            )

    def check_clients(self, client: str, moments: Mapping[str, Tensor]) -> None:
        """Checks that a message counts as one client in the means of all groups.

        Args:
            client: its name.
            moments: {weight: `pvi.variance_components.moments`}, the first of which is the number of clients; their
                shapes are checked elsewhere.

        Raises:
            ValueError: it counts as more than one.
        """
        for name, value in moments.items():
            number = float(value.reshape(-1)[:1].sum())
            if number > 1.0:
                raise ValueError(f"client {client!r} counts as {number:.6g} clients in {name!r}, and it is one.")

    def check(self, client: str, totals: Mapping[str, float], in_images: bool = False) -> None:
        """Checks the precision that the server would hold of a client, as the mean over each tensor.

        Args:
            client: its name.
            totals: {weight: precision}.
            in_images: whether precisions are numbers of images in this round, whatever one image adds otherwise.

        Raises:
            ValueError: it is that of more images than the federation allows.
        """
        for name, total in totals.items():
            images = total if in_images else total / self._units.get(name, 1.0)
            if images > self._most_images * (1.0 + ROUNDING):
                raise ValueError(
                    f"client {client!r} weighs as much as {images:.6g} images in {name!r}, and the federation allows "
                    f"{self._most_images}; raise most_images if this site has as many."
                )
