"""`LoadTargetsd`: converts the masks, boxes and labels of an item to one target tensor per task."""

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
    """The part of a task's interface that this transform uses."""

    name: str

    def encode_target(self, item: Mapping[str, Any], image_size: tuple[int, int]) -> Tensor:
        """Encodes the target of one image."""


class LoadTargetsd(Transform):
    """Loads masks and encodes the target of every task under the task's name.

    The resulting item contains only values that can be collated with any other item: arrays, and `keys.FACTS` as text,
    which is empty if unknown. The raw annotations and all other values are removed.

    Targets are float32, with NaN where not annotated: (C, H, W) for segmentation, (N, 5) rows x1, y1, x2, y2, class for
    detection, () or (K,) for classification.

    Args:
        tasks: tasks, each with `name` and `encode_target`.
        image_key: key of the image loaded by `LoadRadiographd`.

    Raises:
        AnnotationError: the size of a mask differs from that of the source image, or a task rejects an annotation.
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
            raise ValueError("LoadTargetsd expects an image of the size of its source; put it before Letterboxd.")
        rows, columns = meta[MetaKey.SOURCE_SHAPE]
        return int(rows), int(columns)


def _load(mask: Any, structure: str, size: tuple[int, int]) -> NDArray[Any]:
    """Returns a mask given as a path or an array, after checking its size; NaN in an array is preserved."""
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
    """Returns where values are finite and not 0: bool, or float32 with NaN preserved if there is any."""
    inside = find_inside(values)
    missing = np.isnan(values) if np.issubdtype(values.dtype, np.floating) else np.zeros_like(inside)
    return np.where(missing, np.float32(np.nan), inside.astype(np.float32)) if missing.any() else inside
