"""`SplitLabelMapd`: splits the label map of an annotation tool into one mask per structure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.transforms import Transform
from numpy.typing import NDArray

from mtmedformer_monai.keys import IMAGE, LABEL_MAP, MASKS

from .errors import AnnotationError
from .read_label_map import read_label_map


class SplitLabelMapd(Transform):
    """Converts one label map, `label`, to one mask per structure, `masks`, for `LoadTargetsd`.

    MONAI Label trains on items {"image": path, "label": path}. In the label map, 0 is background, and the structures of
    all segmentation tasks are numbered from 1 in the order of the tasks, as in `channel_def` of the bundle metadata and
    in the maps written by `LabelMapd`. A label map annotates every structure; those that do not occur in it are absent.
    It does not annotate boxes and classes.

    Because each pixel has a single number, a structure hides structures of other tasks beneath it (an opacity hides the
    lung). Whether the pixel also belongs to those is unknown, so their masks are NaN there, which losses and metrics
    ignore.

    Args:
        tasks: tasks of the network; those with `structures` are segmentation tasks.
        label_key: key of the path of the label map, or of an int array (H, W). An item without it is unchanged.
        image_key: key of the loaded image, which must have the same size.

    Raises:
        AnnotationError: a number has no structure, the size differs from that of the image, or the item also has masks.
    """

    def __init__(self, tasks: Sequence[Any], label_key: str = LABEL_MAP, image_key: str = IMAGE) -> None:
        self.structures = [list(task.structures) for task in tasks if getattr(task, "structures", ())]
        self.label_key = label_key
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item with `masks` in place of the label map."""
        item: dict[Any, Any] = dict(data)
        label = item.pop(self.label_key, None)
        if label is None or not self.structures:
            return item
        if item.get(MASKS):
            raise AnnotationError(f"an item has {MASKS!r} and a label map under {self.label_key!r}; give one of them.")
        is_path = isinstance(label, (str, Path))
        numbers = read_label_map(label) if is_path else np.asarray(label)
        name = f"{Path(label).name}: the label map" if is_path else "the label map"
        _check_size(numbers, item.get(self.image_key), name)
        self._check_numbers(numbers, name)
        item[MASKS] = split_label_map(numbers, self.structures)
        return item

    def _check_numbers(self, numbers: NDArray[Any], name: str) -> None:
        known = [structure for structures in self.structures for structure in structures]
        unknown = sorted(set(np.unique(numbers).tolist()) - set(range(len(known) + 1)))
        if unknown:
            meaning = ", ".join(f"{number} {structure}" for number, structure in enumerate(known, start=1))
            raise AnnotationError(
                f"{name} holds {unknown}; 0 is background, and the bundle knows {meaning}: "
                "number the segments as the bundle does."
            )


def _check_size(numbers: NDArray[Any], image: Any, name: str) -> None:
    size = tuple(getattr(image, "shape", ()))[-2:]
    if size and numbers.shape != size:
        raise AnnotationError(
            f"{name} has {' x '.join(map(str, numbers.shape))} pixels (rows x columns), its image has "
            f"{' x '.join(map(str, size))}; draw it on the image's own pixels."
        )


def split_label_map(
    numbers: NDArray[Any], structures_by_task: Sequence[Sequence[str]]
) -> dict[str, NDArray[np.float32]]:
    """Splits a label map into masks.

    Args:
        numbers: integers (H, W).
        structures_by_task: names of the structures of each segmentation task.

    Returns:
        {structure: float32 (H, W)} with values 0, 1, or NaN where a structure of a later task is on top.

    Example:
        >>> masks = split_label_map(np.array([[0, 1, 2]]), [["lung"], ["opacity"]])
        >>> masks["lung"].tolist(), masks["opacity"].tolist()
        ([[0.0, 1.0, nan]], [[0.0, 0.0, 1.0]])
    """
    masks: dict[str, NDArray[np.float32]] = {}
    number = 0
    for structures in structures_by_task:
        last = number + len(structures)
        for structure in structures:
            number += 1
            drawn = (numbers == number).astype(np.float32)
            masks[structure] = np.where(numbers > last, np.float32(np.nan), drawn)
    return masks
