"""A small run with drawn arrays, and a browser."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from mtmedformer_monai.deploy.results import (
    BoxResult,
    ClassResult,
    ImageMaps,
    ImageResult,
    MaskResult,
    Provenance,
    Refusal,
    RunResult,
    StudyResult,
)

from .browser import CHROMIUM, Browser

ROWS, COLUMNS = 300, 240
LESION = (slice(60, 120), slice(40, 100))
"""Rows and columns of the mask."""

HOT = (slice(180, 240), slice(140, 200))
"""Rows and columns of the explanation, apart from the mask."""


def disk(rows, columns, center, radius):
    y, x = np.mgrid[:rows, :columns]
    return (y - center[0]) ** 2 + (x - center[1]) ** 2 < radius**2


def make_maps() -> ImageMaps:
    picture = np.linspace(0.2, 0.6, ROWS * COLUMNS, dtype=np.float32).reshape(ROWS, COLUMNS)
    mask = np.zeros((1, ROWS, COLUMNS), dtype=bool)
    mask[0][LESION] = True
    heat = np.zeros((ROWS, COLUMNS), dtype=np.float32)
    heat[HOT] = 1.0
    return ImageMaps(
        picture=picture,
        masks={"lesion": mask},
        probabilities={"lesion": mask.astype(np.float32) * 0.9},
        uncertainty={"lesion": {"std": mask.astype(np.float32) * 0.25}},
        explanations={"pathology": {"malignant": heat}},
    )


def make_image(name="image", **changes) -> ImageResult:
    pathology = ClassResult(
        "multiclass",
        {"normal": 0.125, "benign": 0.25, "malignant": 0.625},
        ("malignant",),
        calibrated=True,
        thresholds={"malignant": 0.5},
        uncertainty={"std": {"normal": 0.05, "benign": 0.05, "malignant": 0.1}, "entropy": 0.9},
    )
    image = ImageResult(
        source=f"{name}.dcm",
        name=name,
        size=(ROWS, COLUMNS),
        spacing_mm=(0.1, 0.1),
        modality="MG",
        laterality="L",
        view="CC",
        segmentations={"lesion": (MaskResult("lesion", 3600, 0.05, 36.0),)},
        boxes={"lesion_box": (BoxResult((40.0, 60.0, 100.0, 120.0), "lesion", 0.75, (6.0, 6.0)),)},
        classes={"pathology": pathology},
    )
    return replace(image, **changes)


def make_run(studies, refused=()) -> RunResult:
    provenance = Provenance("mammography_multitask", "0.1.0", "ab" * 32, "cd" * 32, {"torch": "2.13.0"})
    command = ("infer", "--input", "films")
    return RunResult("2026-01-02T03:04:05+00:00", command, provenance, tuple(studies), tuple(refused))


@pytest.fixture
def views_run():
    """A study with four views, one with a single flagged image, and a refused file; {(folder, name): maps}."""
    names = [("L", "MLO"), ("R", "CC"), ("L", "CC"), ("R", "MLO")]
    images = tuple(make_image(f"{side}_{view}", laterality=side, view=view) for side, view in names)
    single = make_image("chest", flags=("the header states no body part",), laterality=None, view="PA")
    studies = (StudyResult("1.2.3", "one", images), StudyResult("1.2.4", "two", (single,)))
    refused = (Refusal("hand.dcm", "BodyPartExamined is HAND; pass mammograms only.", "RefusedImageError"),)
    maps = {(study.folder, image.name): make_maps() for study in studies for image in study.images}
    return make_run(studies, refused), maps


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Headless Chromium; skipped where it is missing, except in CI."""
    if CHROMIUM is None:
        assert os.environ.get("CI") != "true", "Chromium is not installed; run .ci/install_dicom_tools"
        pytest.skip("Chromium is not installed: apt-get install chromium")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()
