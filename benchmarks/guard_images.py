"""Images that do not belong to a bundle's kind: photographs, slices, drawings, and manipulated radiographs."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Picture = NDArray[np.float32]
"""float32 (H, W) in [0, 1]."""

CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "unchanged": lambda picture: picture,
    "upside down": np.flipud,
    "inverted": lambda picture: 1.0 - picture,
    "rotated by 90 degrees": np.rot90,
    "mirrored": np.fliplr,
}


def photographs(count: int, generator: np.random.Generator) -> Iterator[Picture]:
    """Yields random crops of the photographs that scikit-learn and Matplotlib ship."""
    import sklearn.datasets

    folder = Path(sklearn.datasets.__file__).parent / "images"
    files = [folder / "china.jpg", folder / "flower.jpg", _samples() / "grace_hopper.jpg"]
    whole = [np.asarray(Image.open(path).convert("L"), dtype=np.float32) / 255.0 for path in files]
    for index in range(count):
        yield _crop(whole[index % len(whole)], generator)


def slices(count: int, generator: np.random.Generator) -> Iterator[Picture]:
    """Yields crops and turns of the CT slice of pydicom and the MR slice of Matplotlib."""
    import pydicom
    from pydicom.data import get_testdata_file

    computed = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False))).pixel_array.astype(np.float32)
    with gzip.open(_samples() / "s1045.ima.gz") as file:
        magnetic = np.frombuffer(file.read(), dtype=np.uint16).reshape(256, 256).astype(np.float32)
    for index in range(count):
        whole = _stretched(computed if index % 2 == 0 else magnetic)
        yield _crop(np.rot90(whole, int(generator.integers(4))), generator, 0.7)


def drawings(count: int, generator: np.random.Generator) -> Iterator[Picture]:
    """Yields phantoms: rectangles, ellipses and lines of random gray values on a plain background."""
    for _ in range(count):
        image = Image.new("L", (256, 256), int(generator.integers(0, 120)))
        draw = ImageDraw.Draw(image)
        for _ in range(int(generator.integers(3, 9))):
            x, y = (sorted(generator.integers(0, 256, 2).tolist()) for _ in range(2))
            shape = (draw.rectangle, draw.ellipse, draw.line)[int(generator.integers(3))]
            shape([x[0], y[0], x[1], y[1]], fill=int(generator.integers(60, 256)))
        yield np.asarray(image, dtype=np.float32) / 255.0


def noise(count: int, generator: np.random.Generator) -> Iterator[Picture]:
    """Yields white noise."""
    for _ in range(count):
        yield generator.random((256, 256), dtype=np.float32)


MADE = {"photograph": photographs, "CT or MR slice": slices, "drawn phantom": drawings, "white noise": noise}


def save_pictures(pictures: Iterator[Picture], folder: Path) -> list[str]:
    """Writes pictures as 8-bit PNG, and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, picture in enumerate(pictures):
        path = folder / f"{index}.png"
        Image.fromarray(np.ascontiguousarray(np.round(255.0 * picture.clip(0, 1)).astype(np.uint8))).save(path)
        paths.append(str(path))
    return paths


def _samples() -> Path:
    return Path(matplotlib.get_data_path()) / "sample_data"


def _stretched(values: Picture) -> Picture:
    low, high = np.percentile(values, [1, 99])
    stretched: Picture = ((values - low) / (high - low)).clip(0, 1).astype(np.float32)
    return stretched


def _crop(picture: Picture, generator: np.random.Generator, smallest: float = 0.4) -> Picture:
    rows, columns = (int(length * generator.uniform(smallest, 1.0)) for length in picture.shape)
    top = int(generator.integers(picture.shape[0] - rows + 1))
    left = int(generator.integers(picture.shape[1] - columns + 1))
    return picture[top : top + rows, left : left + columns]
