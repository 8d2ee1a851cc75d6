"""The layers of one image: its picture, and what can be shown on it, as files with a manifest."""

# C structures; H, W source pixels

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtmedformer_monai.deploy.results import ImageMaps, ImageResult
from mtmedformer_monai.io.atomic_files import write_atomically
from mtmedformer_monai.visualization.palette import color_of

from .rasters import THUMBNAIL_SIDE, encode_heat, encode_mask, encode_picture

MANIFEST = "layers.json"
EXPLANATION, UNCERTAINTY, PROBABILITY = "explanation", "uncertainty", "probability"
COLORMAPS = {EXPLANATION: "inferno", UNCERTAINTY: "cividis", PROBABILITY: "viridis"}
RANGES = {"entropy": math.log(2), "mutual_information": math.log(2), "std": 0.5}
"""{measure of uncertainty of a pixel's probability: largest possible value}; others are scaled to their maximum."""


@dataclass(frozen=True)
class Layer:
    """One layer of a picture.

    Attributes:
        file: name of its file, beside the manifest.
        label: what it shows.
        kind: 'mask', or a kind of heat map out of `COLORMAPS`.
        color: '#rrggbb' of a mask, '' otherwise.
        highest: value of a heat map's last color.
    """

    file: str
    label: str
    kind: str
    color: str = ""
    highest: float = 1.0


@dataclass(frozen=True)
class ImageLayers:
    """All layers of an image; files are relative to `folder`, which is relative to the report."""

    folder: str
    picture: str
    thumbnail: str
    layers: tuple[Layer, ...] = field(default=())


def write_layers(image: ImageResult, maps: ImageMaps, folder: Path) -> str:
    """Writes the layers of an image to a folder of its own.

    Args:
        image: results of the image.
        maps: its arrays.
        folder: folder of the study.

    Returns:
        Path of the manifest, relative to the study's folder.
    """
    name = f"{image.name}_report"
    layers = []
    for index, (layer, content) in enumerate(_encoded_layers(image, maps)):
        layers.append(Layer(f"{index}_{layer.kind}.png", layer.label, layer.kind, layer.color, layer.highest))
        _write(folder / name / layers[-1].file, content)
    _write(folder / name / "picture.jpg", encode_picture(maps.small.picture))
    _write(folder / name / "thumbnail.jpg", encode_picture(maps.small.picture, THUMBNAIL_SIDE))
    _write(folder / name / MANIFEST, json.dumps([asdict(layer) for layer in layers], indent=1).encode())
    return f"{name}/{MANIFEST}"


def read_layers(root: Path, study_folder: str, manifest: str) -> ImageLayers | None:
    """Reads what `write_layers` has written; None if it is missing.

    Args:
        root: output folder of the run.
        study_folder: folder of the study, relative to `root`.
        manifest: path that `write_layers` returned.
    """
    path = root / study_folder / manifest
    if not path.is_file():
        return None
    layers = tuple(Layer(**each) for each in json.loads(path.read_text(encoding="utf-8")))
    folder = path.parent.relative_to(root).as_posix()
    return ImageLayers(folder, "picture.jpg", "thumbnail.jpg", layers)


def _encoded_layers(image: ImageResult, maps: ImageMaps) -> Iterator[tuple[Layer, bytes]]:
    color = 0
    for task, masks in maps.small.masks.items():
        for name, mask in zip(_structures(image, task, len(masks)), masks, strict=True):
            layer = Layer("", name, "mask", color_of(color))
            color += 1
            if bool(mask.any()):
                yield layer, encode_mask(mask, layer.color)
    yield from _heat_layers(image, maps)


def _heat_layers(image: ImageResult, maps: ImageMaps) -> Iterator[tuple[Layer, bytes]]:
    for task, by_class in maps.explanations.items():
        for name, values in by_class.items():
            yield _heat(f"{name} ({task})", EXPLANATION, values, 1.0)
    for task, measures in maps.uncertainty.items():
        for measure, channels in measures.items():
            for name, values in zip(_structures(image, task, len(channels)), channels, strict=True):
                yield _heat(f"{name}: {measure}", UNCERTAINTY, values, RANGES.get(measure, _maximum(values)))
    for task, steps in maps.steps.items():
        for name, each in zip(_structures(image, task, len(steps)), steps, strict=True):
            yield _heat(name, PROBABILITY, each, 1.0)


def _heat(label: str, kind: str, values: NDArray[Any], highest: float) -> tuple[Layer, bytes]:
    layer = Layer("", label.replace("_", " "), kind, highest=highest)
    return layer, encode_heat(values, highest, COLORMAPS[kind])


def _structures(image: ImageResult, task: str, count: int) -> list[str]:
    """Returns the names of a task's structures, in the order of its maps."""
    names = [mask.structure for mask in image.segmentations.get(task, ())]
    return names if len(names) == count else [f"{task} {index + 1}" for index in range(count)]


def _maximum(values: NDArray[np.float32]) -> float:
    highest = float(np.nan_to_num(values).max(initial=0.0))
    return highest if highest > 0 else 1.0


def _write(path: Path, content: bytes) -> None:
    write_atomically(path, lambda file: file.write(content))
