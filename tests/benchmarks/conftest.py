"""Makes the scripts in `benchmarks/` importable, and a small world for them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from federation_data import Data
from federation_worlds import Images, World

from mtmedformer_monai.tasks import ClassificationTask, SegmentationTask

SIDE = 32


def make_data(count: int, seed: int = 0) -> Data:
    """Returns random images with a bright square, its mask, and a class by its side of the image."""
    generator = torch.Generator().manual_seed(seed)
    image = 0.2 * torch.rand(count, 1, SIDE, SIDE, generator=generator)
    mask, label = torch.zeros_like(image), torch.arange(count) % 2
    for index in range(count):
        left = 4 if label[index] == 0 else 18
        mask[index, :, 10:20, left : left + 10] = 1.0
    return Data((image + 0.6 * mask).clamp(0, 1), {"lung": mask, "finding": label.float()})


@pytest.fixture
def world() -> World:
    """Two sites: six images with masks and classes, and two images with classes only."""
    tasks = [
        SegmentationTask("lung", ["lung"]),
        ClassificationTask("finding", ["normal", "pneumonia"], "binary", dropout=0.0),
    ]
    sites = {"masks": make_data(6), "labels": make_data(2, seed=1).keep(["finding"])}
    rows = {"masks": torch.tensor([0, 1]), "labels": torch.tensor([2, 3])}
    images = Images(make_data(4, seed=2), rows)
    return World(tasks, sites, images, images)
