"""Base class of the random transforms: parameters are drawn first, then applied."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform


class RandomTransformd(RandomizableTransform, MapTransform):
    """A dictionary transform that draws its parameters in `randomize` and applies them in `apply`.

    Args:
        keys: keys of the item to change.
        prob: probability that an item is changed.
        allow_missing_keys: whether to skip keys that the item lacks, instead of raising KeyError.
    """

    def __init__(self, keys: KeysCollection, prob: float, allow_missing_keys: bool = False) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)

    def randomize(self, data: Any = None) -> None:
        """Draws whether an item is changed, and how."""
        super().randomize(None)
        self.draw(data)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns a copy of the item with the drawn parameters applied."""
        item = dict(data)
        self.randomize(item)
        return self.apply(item) if self._do_transform else item

    @abstractmethod
    def draw(self, item: Mapping[Hashable, Any]) -> None:
        """Draws the parameters for an item from `self.R`."""

    @abstractmethod
    def apply(self, item: dict[Hashable, Any]) -> dict[Hashable, Any]:
        """Applies the drawn parameters; may change `item` in place."""
