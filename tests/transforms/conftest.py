from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from mtmedformer_monai.transforms.load_radiograph import make_meta_tensor
from mtmedformer_monai.transforms.radiograph_meta import make_meta


def item_of(height: int, width: int, seed: int = 0, spacing: tuple[float, float] = (0.2, 0.1)) -> dict[str, Any]:
    """Makes a loaded item: an image, a map with one of two channels annotated, two boxes in four rows, a label."""
    random = np.random.default_rng(seed)
    pixels = random.random((height, width), dtype=np.float32)
    mask = torch.full((2, height, width), float("nan"))
    mask[0] = torch.from_numpy((random.random((height, width)) > 0.5).astype(np.float32))
    boxes = torch.full((4, 5), -1.0)
    boxes[0] = torch.tensor([0.0, 0.0, width, height, 0.0])
    boxes[1] = torch.tensor([width * 0.25, height * 0.25, width * 0.75, height * 0.5, 1.0])
    image = make_meta_tensor(pixels, make_meta("a.png", pixels.shape, np.array(spacing)))
    return {"image": image, "map": mask, "boxes": boxes, "label": torch.tensor(1.0)}


@pytest.fixture(scope="session")
def make_item() -> Callable[..., Mapping[str, Any]]:
    """Returns the factory `make_item(height, width, seed=0, spacing=(0.2, 0.1))`."""
    return item_of


def breast_picture(
    height: int = 120, width: int = 90, side: str = "left", border: int = 0, fog: float = 0.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Makes a mammogram and its breast mask: half an ellipse at one side that fades toward the skin.

    Optionally, the film has a border of black padding and fog (a noisy gray level).
    """
    rows, columns = height - 2 * border, width - 2 * border
    y, x = np.mgrid[0:rows, 0:columns]
    radius = np.hypot((y - 0.5 * rows) / (0.42 * rows), x / (0.7 * columns))
    breast = radius < 1.0
    film = np.where(breast, 0.2 + 0.5 * np.sqrt(np.clip(1.0 - radius, 0.0, 1.0)), fog)
    random = np.random.default_rng(seed)
    texture = random.normal(0.0, 0.02, film.shape)
    film = np.where(breast | (fog > 0), np.clip(film + texture, 0.0, 1.0), film)
    if side == "right":
        film, breast = film[:, ::-1], breast[:, ::-1]
    return np.pad(film, border).astype(np.float32), np.pad(breast, border)


@pytest.fixture(scope="session")
def make_breast() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Returns the factory `make_breast(height, width, side="left", border=0, fog=0.0)`."""
    return breast_picture


def mammogram_item(
    picture: np.ndarray, laterality: str = "", orientation: str = "", view: str = "", name: str = "a.dcm"
) -> dict[str, Any]:
    """Makes an item with a loaded mammogram."""
    meta = make_meta(name, picture.shape, None, laterality, view, "MG", patient_orientation=orientation)
    return {"image": make_meta_tensor(np.ascontiguousarray(picture, dtype=np.float32), meta)}


@pytest.fixture(scope="session")
def make_mammogram() -> Callable[..., dict[str, Any]]:
    """Returns the factory `make_mammogram(picture, laterality="", orientation="")`, which makes items."""
    return mammogram_item
