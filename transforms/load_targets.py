"""`LoadTargetsd`: masks, boxes and labels of an item become one target tensor a task."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from monai.transforms import Transform
from numpy.typing import NDArray
from torch import Tensor

from mtmedformer_monai.keys import FACTS, IMAGE, MASKS, MetaKey

from .errors import AnnotationError
from .read_mask import find_inside, read_mask


class EncodesTarget(Protocol):
    """The part of a task that this transform needs."""

    name: str

    def encode_target(self, item: Mapping[str, Any], image_size: tuple[int, int]) -> Tensor:
        """Makes the target of one image."""


class LoadTargetsd(Transform):
    """Loads masks, and encodes every task's target under the task's name.

    What stays is what collates, whatever other items hold: arrays, and `keys.FACTS` as text, empty where not known.
    The raw annotations and all else leave the item.

    Targets are float32, NaN where not annotated: (C, H, W) for segmentation, (N, 5) rows x1, y1, x2, y2, class for
    detection, () or (K,) for classification.

    Args:
        tasks: their `name` and `encode_target`.
        image_key: key of the image that `LoadRadiographd` read.

    Raises:
        AnnotationError: a mask's size is not the source image's, or a task refuses an annotation.
        RadiographError: a mask cannot be read.
    """

    def __init__(self, tasks: Sequence[EncodesTarget], image_key: str = IMAGE) -> None:
        self.tasks = tuple(tasks)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item with targets in place of annotations."""
        item: dict[Any, Any] = dict(data)
        size = self._source_size(item)
        masks = item.get(MASKS) or {}
        item[MASKS] = {structure: _load(mask, structure, size) for structure, mask in masks.items()}
        for task in self.tasks:
            item[task.name] = self._encode(task, item, size)
        arrays = {key: value for key, value in item.items() if isinstance(value, (torch.Tensor, np.ndarray))}
        return {key: str(item.get(key) or "") for key in FACTS} | arrays

    def _encode(self, task: EncodesTarget, item: Mapping[str, Any], size: tuple[int, int]) -> Tensor:
        try:
            return torch.as_tensor(task.encode_target(item, size), dtype=torch.float32)
        except ValueError as error:
            name = Path(str(item[self.image_key].meta.get(MetaKey.FILENAME, ""))).name
            raise AnnotationError(f"{name}: {error}") from error

    def _source_size(self, item: Mapping[Any, Any]) -> tuple[int, int]:
        meta = getattr(item[self.image_key], "meta", {})
        if MetaKey.SOURCE_SHAPE not in meta:
            raise ValueError(
                f"LoadTargetsd expects a loaded image under {self.image_key!r}; put LoadRadiographd first."
            )
        if tuple(item[self.image_key].shape[-2:]) != tuple(int(length) for length in meta[MetaKey.SOURCE_SHAPE]):
            raise ValueError("LoadTargetsd expects an image of its source's size; put it before Letterboxd.")
        rows, columns = meta[MetaKey.SOURCE_SHAPE]
        return int(rows), int(columns)


def _load(mask: Any, structure: str, size: tuple[int, int]) -> NDArray[Any]:
    """A mask given by path or as an array, checked against the image's size; NaN in an array stays."""
    is_path = isinstance(mask, (str, Path))
    array: NDArray[Any] = read_mask(mask) if is_path else _inside(np.asarray(mask))
    if array.shape != size:
        name = f"{Path(mask).name}: " if is_path else ""
        raise AnnotationError(
            f"{name}mask of {structure!r} has {' x '.join(map(str, array.shape))} pixels (rows x columns), its image "
            f"has {size[0]} x {size[1]}; draw it on the image's own pixels, or resize it by nearest neighbor."
        )
    return array


def _inside(values: NDArray[Any]) -> NDArray[Any]:
    """Finite values other than 0; floating point with NaN where the values have it."""
    inside = find_inside(values)
    missing = np.isnan(values) if np.issubdtype(values.dtype, np.floating) else np.zeros_like(inside)
    return np.where(missing, np.float32(np.nan), inside.astype(np.float32)) if missing.any() else inside
