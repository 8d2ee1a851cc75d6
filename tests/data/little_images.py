"""Writes small images and tables for the tests in this folder."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

_SEEDS = count()


def write_image(path: Path, width: int = 12, height: int = 8) -> Path:
    """Writes a gray noise image with unique content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(next(_SEEDS)).integers(0, 256, (height, width), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def write_lines(path: Path, lines: Iterable[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def images_by_section(datalist: dict) -> dict[str, set[str]]:
    """Returns {section: names of the image files}."""
    return {
        section: {Path(item["image"]).name for item in datalist[section]}
        for section in ("training", "validation", "test")
    }


def find_item(datalist: dict, name: str) -> dict:
    """Returns the item of an image from any section."""
    items = [item for section in ("training", "validation", "test") for item in datalist[section]]
    (found,) = [item for item in items if Path(item["image"]).name == name]
    return found
