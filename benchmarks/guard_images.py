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


def hands(count: int, generator: np.random.Generator) -> Iterator[Picture]:
    """Yields drawn radiographs of a hand: palm and five fingers, each a chain of three bones in soft tissue."""
    for _ in range(count):
        canvas = _Film(generator)
        wrist = (128.0 + generator.uniform(-10, 10), 200.0)
        canvas.limb((wrist[0], 255.0), wrist, 26, 11)
        canvas.limb(wrist, (wrist[0], 150.0), 40, 3)
        for finger, degrees in enumerate((-62, -20, -4, 12, 28)):
            start = (wrist[0] + 18.0 * (finger - 2), 160.0 if finger else 185.0)
            length = generator.uniform(22, 30) * (0.8 if finger == 0 else 1.0)
            for _ in range(3):
                angle = np.deg2rad(degrees + generator.uniform(-4, 4))
                end = (start[0] + length * np.sin(angle), start[1] - length * np.cos(angle))
                canvas.limb(start, end, 10, 5)
                start, length = end, 0.75 * length
        yield canvas.picture()


def legs(count: int, generator: np.random.Generator) -> Iterator[Picture]:
    """Yields drawn radiographs of a knee with its two or three long bones in soft tissue."""
    for _ in range(count):
        canvas = _Film(generator)
        middle, knee = 128.0 + generator.uniform(-20, 20), 128.0 + generator.uniform(-40, 40)
        canvas.limb((middle + generator.uniform(-25, 25), 0.0), (middle, knee - 6), 52, 15)
        canvas.limb((middle, knee + 6), (middle + generator.uniform(-15, 15), 255.0), 42, 12)
        canvas.limb((middle + 26, knee + 20), (middle + 24, 255.0), 0, 4)
        canvas.limb((middle - 14, knee), (middle + 14, knee), 0, 8)
        yield canvas.picture()


class _Film:
    """A film on which limbs are drawn: soft tissue with a bone in it, whose cortex is denser."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator
        self._tissue, self._bone = (np.zeros((256, 256), dtype=np.float32) for _ in range(2))

    def limb(self, start: tuple[float, float], end: tuple[float, float], tissue: float, bone: float) -> None:
        """Draws soft tissue and bone of the given radii between two points (x, y); a radius of 0 draws no tissue."""
        rows, columns = np.mgrid[0:256, 0:256].astype(np.float32)
        across, down = end[0] - start[0], end[1] - start[1]
        position = ((columns - start[0]) * across + (rows - start[1]) * down) / max(across**2 + down**2, 1e-6)
        position = position.clip(0, 1)
        away = np.hypot(columns - start[0] - position * across, rows - start[1] - position * down)
        if tissue:
            self._tissue = np.maximum(self._tissue, np.sqrt((1 - (away / tissue) ** 2).clip(0, 1)))
        depth = np.sqrt((1 - (away / bone) ** 2).clip(0, 1)) - 0.6 * np.sqrt(
            (1 - (away / (0.6 * bone)) ** 2).clip(0, 1)
        )
        self._bone = np.maximum(self._bone, depth)

    def picture(self) -> Picture:
        """Returns the film, blurred, with noise."""
        from scipy.ndimage import gaussian_filter

        film = 0.03 + 0.35 * self._tissue + 0.55 * self._bone
        noisy = gaussian_filter(film, 1.2) + self._generator.normal(0, 0.01, film.shape)
        return np.asarray(noisy.clip(0, 1), dtype=np.float32)


def noise(count: int, generator: np.random.Generator) -> Iterator[Picture]:
    """Yields white noise."""
    for _ in range(count):
        yield generator.random((256, 256), dtype=np.float32)


MADE = {
    "photograph": photographs,
    "CT or MR slice": slices,
    "drawn hand": hands,
    "drawn leg": legs,
    "drawn phantom": drawings,
    "white noise": noise,
}


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
