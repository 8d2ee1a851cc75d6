"""Detects items that come from an annotation tool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mtmedformer_monai.keys import LABEL_MAP


def has_label_maps(items: Sequence[Mapping[str, Any]]) -> bool:
    """Returns whether any item has a label map, as in MONAI Label: {"image": path, "label": path}.

    Bundles treat such items differently in two respects:

    - Training never resumes. Running a command again normally resumes an interrupted training, but a training request
      of MONAI Label starts a new training on the current labels, initialized with the most recent weights.
    - Validation may be empty or have no metric, because an annotator starts with one image, which may show no
      structure.

    Args:
        items: items of the training or validation section.
    """
    return any(item.get(LABEL_MAP) is not None for item in items)
