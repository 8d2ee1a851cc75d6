from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from mtmedformer_monai.transforms.load_radiograph import make_meta_tensor
from mtmedformer_monai.transforms.radiograph_meta import make_meta


def item_of(height: int, width: int, seed: int = 0) -> dict[str, Any]:
    """A loaded item: an image, a map with one channel annotated of two, two boxes of four rows, a label."""
    random = np.random.default_rng(seed)
    pixels = random.random((height, width), dtype=np.float32)
    mask = torch.full((2, height, width), float("nan"))
    mask[0] = torch.from_numpy((random.random((height, width)) > 0.5).astype(np.float32))
    boxes = torch.full((4, 5), -1.0)
    boxes[0] = torch.tensor([0.0, 0.0, width, height, 0.0])
    boxes[1] = torch.tensor([width * 0.25, height * 0.25, width * 0.75, height * 0.5, 1.0])
    image = make_meta_tensor(pixels, make_meta("a.png", pixels.shape, np.array([0.2, 0.1])))
    return {"image": image, "map": mask, "boxes": boxes, "label": torch.tensor(1.0)}


@pytest.fixture(scope="session")
def make_item() -> Callable[..., Mapping[str, Any]]:
    """Builds `make_item(height, width, seed=0)`."""
    return item_of
