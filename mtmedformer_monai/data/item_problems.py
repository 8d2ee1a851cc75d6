"""Tells what is wrong with one item of a datalist. `datalist check` and every training ask here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtmedformer_monai.keys import BOXES, IMAGE, LABEL_MAP, LABELS, MASKS, PATIENT_ID, SITE, STUDY_ID
from mtmedformer_monai.transforms.errors import AnnotationError, RadiographError, UnsupportedImageError
from mtmedformer_monai.transforms.split_label_map import SplitLabelMapd

from .box_problems import box_problems
from .findings import ANNOTATION, UNREADABLE, UNUSED, Finding
from .image_size import WrongMaskError, read_image_size, read_mask_size
from .study_problems import view_problems
from .vocabulary import Vocabulary, unused_names

Size = tuple[int, int]
ReadSize = Callable[[Path, Callable[[Path], Size]], Size]
"""Called with a file and the function that reads its size; a cache of sizes has this form."""


def read_directly(path: Path, read: Callable[[Path], Size]) -> Size:
    """The `ReadSize` without a cache."""
    return read(path)


def examine_item(
    item: Any, known: Vocabulary, read_size: ReadSize = read_directly, always_measure: bool = False
) -> list[Finding]:
    """Lists everything that is wrong with an item, as far as the JSON and the headers of its files tell.

    Args:
        item: of a datalist, with absolute paths; anything else is a finding, never an exception.
        known: names of the tasks.
        read_size: reads the size of an image or a mask, see `ReadSize`.
        always_measure: read the image's header even where no mask and no box has to fit it.
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
    """The image's path; None where there is none, or an array."""
    image = item.get(IMAGE)
    if isinstance(image, (list, tuple)) and len(image) == 1:  # as some readers of datalists make it
        image = image[0]
    return Path(image) if isinstance(image, (str, Path)) and str(image) else None


def num_threads() -> int:
    """Threads that read headers: more than cores, as most of the time goes into waiting for a disk or a network."""
    return min(16, 4 * (os.cpu_count() or 1))


def _form_problems(item: Mapping[str, Any]) -> Iterator[Finding]:
    """Values of another type than an item has."""
    image = item.get(IMAGE)
    if image is None or (isinstance(image, str) and not image):
        yield Finding(ANNOTATION, f"it has no {IMAGE!r}; name its file.")
    elif path_of_image(item) is None and not hasattr(image, "shape"):
        yield Finding(ANNOTATION, f"{IMAGE!r} expects the path of one file, got {_shown(image)}; name one file.")
    for key, form in ((MASKS, "structure: path"), (BOXES, "class: [[x1, y1, x2, y2], ...]"), (LABELS, "task: class")):
        value = item.get(key)
        if value is not None and not isinstance(value, Mapping):
            yield Finding(ANNOTATION, f"{key!r} expects {{{form}}} or null, got {_shown(value)}; mend or leave it out.")
    for key in (PATIENT_ID, STUDY_ID, SITE):
        value = item.get(key)
        if isinstance(value, (dict, list)):
            yield Finding(ANNOTATION, f"{key!r} expects text or null, got {type(value).__name__}; leave it out.")
    yield from (Finding(ANNOTATION, text) for text in view_problems(item))


def _measure(path: Path, read_size: ReadSize | None) -> tuple[Size | None, list[Finding]]:
    """The size of an image, or what keeps it from being read; existence alone without `read_size`."""
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
                f"mask {structure!r} is none of the structures {sorted(known.structures)}; rename or leave it out.",
            )
        if mask is None:
            continue
        mask_size, found = _measure_mask(mask, structure, read_size)
        yield from found
        if size is not None and mask_size is not None and mask_size != size:
            yield Finding(
                ANNOTATION,
                f"the mask of {structure!r} has {' x '.join(map(str, mask_size))} rows x columns, its image "
                f"{size[0]} x {size[1]}; draw it on the image as it is.",
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
    """The size of a mask given by path or as an array, or what keeps it from being read."""
    what = f"mask of {structure!r}"
    if hasattr(mask, "shape"):
        return tuple(mask.shape), []
    if not isinstance(mask, (str, Path)):
        return None, [Finding(ANNOTATION, f"{what} expects a path, got {_shown(mask)}; mend or leave it out.")]
    path = Path(mask)
    try:
        if not path.is_file():
            return None, [_missing(path, what)]
        return read_size(path, read_mask_size), []
    except (WrongMaskError, UnsupportedImageError) as error:
        return None, [Finding(ANNOTATION, f"the {what} is none: {error}")]
    except (RadiographError, OSError) as error:
        return None, [Finding(UNREADABLE, f"the {what} cannot be read: {error}")]


def _box_problems(boxes: Mapping[str, Any], size: Size | None, known: Vocabulary) -> Iterator[Finding]:
    for name in unused_names(boxes, known.box_classes) if known.box_classes is not None else ():
        classes = sorted(known.box_classes or ())
        yield Finding(UNUSED, f"boxes of {name!r} are none of the classes {classes}; rename or leave them out.")
    yield from (Finding(ANNOTATION, text) for text in box_problems(boxes, size))


def _label_problems(labels: Mapping[str, Any], known: Vocabulary) -> Iterator[Finding]:
    """Unknown classes. Unknown tasks are no matter of one item: see `count_unused`."""
    for task, label in labels.items():
        if known.classes is None or label is None or task not in known.classes:
            continue
        classes: Sequence[str] = known.classes[task]
        for name in label if isinstance(label, list) else [label]:
            if name not in classes:
                yield Finding(
                    ANNOTATION, f"label {task!r} expects one of {list(classes)}, got {name!r}; rename or leave it out."
                )


def _encoding_problems(item: Mapping[str, Any], masks: Mapping[str, Any], known: Vocabulary) -> Iterator[Finding]:
    """What the tasks themselves refuse, such as more boxes than a target holds; one pixel stands for each mask."""
    pixel = np.zeros((1, 1), dtype=bool)
    stand_ins = {name: pixel for name, mask in masks.items() if mask is not None}
    for task in known.tasks:
        try:
            task.encode_target({**item, MASKS: stand_ins}, (1, 1))
        except (ValueError, TypeError) as error:
            yield Finding(ANNOTATION, str(error))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _missing(path: Path, what: str) -> Finding:
    return Finding(UNREADABLE, f"the {what} {path} is missing; mend the path or leave the item out.")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
