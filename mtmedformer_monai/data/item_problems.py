"""Checks a single datalist item, both for `datalist check` and at the start of training."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtmedformer_monai.keys import (
    BOXES,
    IMAGE,
    LABEL_MAP,
    LABELS,
    LATERALITY,
    MASKS,
    PATIENT_ID,
    SITE,
    STUDY_ID,
    VIEW,
)
from mtmedformer_monai.transforms.errors import AnnotationError, RadiographError, UnsupportedImageError
from mtmedformer_monai.transforms.split_label_map import SplitLabelMapd

from .box_problems import box_problems
from .findings import ANNOTATION, UNREADABLE, UNUSED, Finding
from .image_size import WrongMaskError, read_image_size, read_mask_size
from .study_problems import view_problems
from .vocabulary import Vocabulary, unused_names

KEYS = (IMAGE, MASKS, LABEL_MAP, BOXES, LABELS, PATIENT_ID, STUDY_ID, LATERALITY, VIEW, SITE)
"""Keys of an item that are read."""

Size = tuple[int, int]
ReadSize = Callable[[Path, Callable[[Path], Size]], Size]
"""Function that is called with a file and a reader of sizes, and returns the file's size; may use a cache."""


def read_directly(path: Path, read: Callable[[Path], Size]) -> Size:
    """Reads a size without a cache; implements `ReadSize`."""
    return read(path)


def examine_item(
    item: Any, known: Vocabulary, read_size: ReadSize = read_directly, always_measure: bool = False
) -> list[Finding]:
    """Returns all problems of an item that can be determined from the JSON and the headers of its files.

    Args:
        item: datalist item with absolute paths; any other value yields a finding rather than an exception.
        known: names that the tasks use.
        read_size: reads the size of an image or a mask, see `ReadSize`.
        always_measure: whether to read the image's header even if there is no mask or box to compare with it.
    """
    if not isinstance(item, Mapping):
        return [Finding(ANNOTATION, f"an item expects an object with {IMAGE!r}, got {_shown(item)}.")]
    masks, boxes, labels = (_mapping(item.get(key)) for key in (MASKS, BOXES, LABELS))
    found = list(_form_problems(item))
    label_map = item.get(LABEL_MAP)
    path, size = path_of_image(item), None
    if path is not None:
        has_masks = label_map is not None or any(mask is not None for mask in masks.values())
        to_measure = always_measure or has_masks or any(boxes.values())
        size, unreadable = _measure(path, read_size if to_measure else None)
        found += unreadable
    found += _mask_problems(masks, size, known, read_size)
    found += _label_map_problems(label_map, size, known) if label_map is not None else []
    found += _box_problems(boxes, size, known)
    found += _label_problems(labels, known)
    if all(finding.kind in (UNREADABLE, UNUSED) for finding in found):
        found += _encoding_problems(item, masks, known)
    return found


def path_of_image(item: Mapping[str, Any]) -> Path | None:
    """Returns the path of the image; None if there is none, or if the image is an array."""
    image = item.get(IMAGE)
    if isinstance(image, (list, tuple)) and len(image) == 1:  # some datalist readers produce such lists
        image = image[0]
    return Path(image) if isinstance(image, (str, Path)) and str(image) else None


def num_threads() -> int:
    """Returns the number of threads that read headers; more than CPU cores, since reading is mostly I/O-bound."""
    return min(16, 4 * (os.cpu_count() or 1))


def _form_problems(item: Mapping[str, Any]) -> Iterator[Finding]:
    """Yields findings for values of the wrong type."""
    image = item.get(IMAGE)
    if image is None or (isinstance(image, str) and not image):
        yield Finding(ANNOTATION, f"it has no {IMAGE!r}; specify its file.")
    elif path_of_image(item) is None and not hasattr(image, "shape"):
        yield Finding(ANNOTATION, f"{IMAGE!r} expects the path of one file, got {_shown(image)}; specify one file.")
    for key, form in ((MASKS, "structure: path"), (BOXES, "class: [[x1, y1, x2, y2], ...]"), (LABELS, "task: class")):
        value = item.get(key)
        if value is not None and not isinstance(value, Mapping):
            yield Finding(ANNOTATION, f"{key!r} expects {{{form}}} or null, got {_shown(value)}; fix or remove it.")
    for key in (PATIENT_ID, STUDY_ID, SITE):
        value = item.get(key)
        if isinstance(value, (dict, list)):
            yield Finding(ANNOTATION, f"{key!r} expects text or null, got {type(value).__name__}; remove it.")
    for key in item:
        near = _nearest_key(str(key))
        if near and near not in item:
            yield Finding(UNUSED, f"its key {key!r} is not read; did you mean {near!r}? Rename or remove it.")
    yield from (Finding(ANNOTATION, text) for text in view_problems(item))


def _nearest_key(key: str) -> str:
    """Returns the key of an item that another one is probably meant to be; '' for keys of the user's own."""
    name = key.lower()
    begun = [known for known in KEYS if known.startswith(name)] if len(name) > 2 else []
    near = [*begun, *difflib.get_close_matches(name, KEYS, n=1, cutoff=0.8)]
    return "" if key in KEYS or not near else near[0]


def _measure(path: Path, read_size: ReadSize | None) -> tuple[Size | None, list[Finding]]:
    """Returns the size of an image, or why it cannot be read; without `read_size`, only checks that it exists."""
    try:
        if not path.exists():
            return None, [_missing(path, "image")]
        return (read_size(path, read_image_size) if read_size is not None else None), []
    except (RadiographError, WrongMaskError, OSError) as error:
        return None, [Finding(UNREADABLE, f"the image cannot be read: {error}")]


def _mask_problems(
    masks: Mapping[str, Any], size: Size | None, known: Vocabulary, read_size: ReadSize
) -> Iterator[Finding]:
    for structure, mask in masks.items():
        if known.structures is not None and structure in unused_names({structure: mask}, known.structures):
            yield Finding(
                UNUSED,
                f"mask {structure!r} is none of the structures {sorted(known.structures)}; rename or remove it.",
            )
        if mask is None:
            continue
        mask_size, found = _measure_mask(mask, structure, read_size)
        yield from found
        if size is not None and mask_size is not None and mask_size != size:
            yield Finding(
                ANNOTATION,
                f"the mask of {structure!r} has {' x '.join(map(str, mask_size))} rows x columns, its image "
                f"{size[0]} x {size[1]}; create the mask at the size of the original image.",
            )


def _label_map_problems(label_map: Any, size: Size | None, known: Vocabulary) -> Iterator[Finding]:
    """What `SplitLabelMapd` raises for an annotator's label map, and another size than the image's."""
    try:
        masks = SplitLabelMapd(known.tasks)({LABEL_MAP: label_map}).get(MASKS, {})
    except (AnnotationError, TypeError) as error:
        yield Finding(ANNOTATION, str(error))
    except (RadiographError, OSError) as error:
        yield Finding(UNREADABLE, f"the label map cannot be read: {error}")
    else:
        for shape in {mask.shape for mask in masks.values()} - {size or mask.shape for mask in masks.values()}:
            yield Finding(
                ANNOTATION,
                f"the label map has {' x '.join(map(str, shape))} rows x columns, its image has "
                f"{' x '.join(map(str, size or ()))}; draw it on the image as it is.",
            )


def _measure_mask(mask: Any, structure: str, read_size: ReadSize) -> tuple[tuple[int, ...] | None, list[Finding]]:
    """Returns the size of a mask given as a path or an array, or why it cannot be read."""
    what = f"mask of {structure!r}"
    if hasattr(mask, "shape"):
        return tuple(mask.shape), []
    if not isinstance(mask, (str, Path)):
        return None, [Finding(ANNOTATION, f"{what} expects a path, got {_shown(mask)}; fix or remove it.")]
    path = Path(mask)
    try:
        if not path.is_file():
            return None, [_missing(path, what)]
        return read_size(path, read_mask_size), []
    except (WrongMaskError, UnsupportedImageError) as error:
        return None, [Finding(ANNOTATION, f"the {what} is not valid: {error}")]
    except (RadiographError, OSError) as error:
        return None, [Finding(UNREADABLE, f"the {what} cannot be read: {error}")]


def _box_problems(boxes: Mapping[str, Any], size: Size | None, known: Vocabulary) -> Iterator[Finding]:
    for name in unused_names(boxes, known.box_classes) if known.box_classes is not None else ():
        classes = sorted(known.box_classes or ())
        yield Finding(UNUSED, f"boxes of {name!r} are none of the classes {classes}; rename or remove them.")
    yield from (Finding(ANNOTATION, text) for text in box_problems(boxes, size))


def _label_problems(labels: Mapping[str, Any], known: Vocabulary) -> Iterator[Finding]:
    """Yields findings for unknown classes. Unknown tasks are counted over all items, see `count_unused`."""
    for task, label in labels.items():
        if known.classes is None or label is None or task not in known.classes:
            continue
        classes: Sequence[str] = known.classes[task]
        for name in label if isinstance(label, list) else [label]:
            if name not in classes:
                yield Finding(
                    ANNOTATION, f"label {task!r} expects one of {list(classes)}, got {name!r}; rename or remove it."
                )


def _encoding_problems(item: Mapping[str, Any], masks: Mapping[str, Any], known: Vocabulary) -> Iterator[Finding]:
    """Yields findings for what the tasks reject, such as too many boxes; each mask is replaced by a single pixel."""
    pixel = np.zeros((1, 1), dtype=bool)
    placeholders = {name: pixel for name, mask in masks.items() if mask is not None}
    for task in known.tasks:
        try:
            task.encode_target({**item, MASKS: placeholders}, (1, 1))
        except (ValueError, TypeError) as error:
            yield Finding(ANNOTATION, str(error))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _missing(path: Path, what: str) -> Finding:
    return Finding(UNREADABLE, f"the {what} {path} is missing; fix the path or remove the item.")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
