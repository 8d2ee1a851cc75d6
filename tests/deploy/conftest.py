"""Bundles with planted networks, cohorts and results for the tests of inference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mtmedformer_monai.deploy.results import ImageMaps, ImageResult, MaskResult, Provenance

ROOT = Path(__file__).parents[2]
CHEST, MAMMOGRAPHY = (ROOT / "bundles" / name for name in ("chest_xray_multitask", "mammography_multitask"))


@pytest.fixture
def provenance():
    return Provenance("Some bundle", "1.2.3", "a" * 64, "b" * 64, {"torch": "2.0"})


@pytest.fixture(scope="session")
def cohorts(tmp_path_factory):
    """Folders with the images of small cohorts, `cohorts('chest')`."""
    from mtmedformer_monai.data.synthetic.cohorts import make_cohort

    made = {}

    def make(kind):
        if kind not in made:
            made[kind] = make_cohort(kind, tmp_path_factory.mktemp(kind), 8, image_size=96, seed=5).parent / "images"
        return made[kind]

    return make


@pytest.fixture(scope="session")
def models():
    """Loaded models of the shipped bundles, `models(CHEST)`."""
    from mtmedformer_monai.deploy.bundle_model import load_model

    loaded = {}

    def load(bundle):
        if bundle not in loaded:
            loaded[bundle] = load_model(bundle, "cpu")
        return loaded[bundle]

    return load


@pytest.fixture
def plant(models):
    """Replaces a bundle's network by one that always finds the same mask, bool (h, w), for one task."""

    def make(bundle, task, mask):
        model = models(bundle)
        return replace(model, inferer=PlantedInferer(task, mask))

    return make


class PlantedInferer:
    """Runs the network, and overwrites the logits of one task: 20 inside the mask and -20 outside."""

    def __init__(self, task, mask):
        self.task, self.mask = task, mask

    def __call__(self, image, network):
        import torch

        outputs = dict(network(image))
        outputs[self.task] = torch.where(torch.from_numpy(self.mask), 20.0, -20.0).expand_as(outputs[self.task])
        return outputs


@pytest.fixture
def lesion_in():
    """Builds result and maps of an image with one lesion in the rows and columns of a box."""

    def make(size, rows=slice(3, 9), columns=slice(4, 10), name="image", **fields):
        mask = np.zeros((1, *size), dtype=bool)
        mask[0, rows, columns] = True
        image = ImageResult(
            "in.dcm", name, size, segmentations={"lesion": (MaskResult("lesion", int(mask.sum()), 0.1),)}, **fields
        )
        half = mask.astype(np.float32) / 2
        maps = ImageMaps(
            np.zeros(size, dtype=np.float32),
            {"lesion": mask},
            {"lesion": half},
            {"lesion": {"std": half / 2}},
            {"pathology": {"malignant": half[0]}},
        )
        return image, maps

    return make
