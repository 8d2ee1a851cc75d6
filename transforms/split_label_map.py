"""`SplitLabelMapd`: the label map of an annotation tool becomes masks of structures."""

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
    """Turns `label`, one label map, into `masks`, one per structure, for `LoadTargetsd`.

    MONAI Label trains on such items: {"image": path, "label": path}. 0 is background; the structures of all
    segmentation tasks are numbered from 1 in the tasks' order, as in the metadata's `channel_def` and in the maps that
    `LabelMapd` writes. Every structure is annotated by a label map, those that it does not show as absent; boxes and
    classes are not annotated.

    A pixel has one number only, so a structure hides those of other tasks beneath it (an opacity hides lung). Whether
    it belongs to those too is unknown: their masks are NaN there, which no loss and no metric counts.

    Args:
        tasks: the network's tasks; those with `structures` segment.
        label_key: key of the label map's path, or of an int array (H, W). An item without it is left as it is.

        image_key: key of the loaded image, of the same size.

    Raises:
        AnnotationError: a number without a structure, another size than the image's, or an item that has masks too.
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
    """Whole numbers (H, W) to {structure: float32 (H, W) of 0, 1, or NaN where a later task's structure lies on top}.

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
