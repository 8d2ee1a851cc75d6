"""Whether items come from an annotation tool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mtmedformer_monai.keys import LABEL_MAP


def has_label_maps(items: Sequence[Mapping[str, Any]]) -> bool:
    """Whether any item has a label map, as MONAI Label's items do: {"image": path, "label": path}.

    Bundles treat such a list differently in two points:

    - Training never resumes. A command that is given again resumes what was interrupted; a training request of MONAI
      Label asks for a new training, on the labels that exist by then, from the weights that the last one left.
    - Validation may be empty or without a score: an annotator starts with one image, which may show no structure.

    Args:
        items: of the training or the validation.
    """
    return any(item.get(LABEL_MAP) is not None for item in items)
