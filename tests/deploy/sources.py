"""Source headers and results for tests of DICOM outputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from mtmedformer_monai.data.synthetic.dicom.dicom_object import Subject
from mtmedformer_monai.data.synthetic.dicom.write_dx import DXHeader, write_dx
from mtmedformer_monai.data.synthetic.dicom.write_mg import MGHeader, write_mg
from mtmedformer_monai.data.synthetic.mammography.appearance import Appearance, Window
from mtmedformer_monai.data.synthetic.mammography.scanner import MAMMOGRAPHY_SCANNERS
from mtmedformer_monai.deploy.results import BoxResult, ClassResult, ImageResult, MaskResult, Provenance

ROWS, COLUMNS = 24, 18
MODEL = Provenance("chest_xray_multitask", "0.3.1", "ab" * 32, "cd" * 32)
DX = DXHeader("synthetic-1", "F", 55, "PA", "MONOCHROME2", 12, 0.2, "S", False, "one")
MG = MGHeader(Subject("synthetic-1", "Synthetic^Breast", "F", 55), "R", "MLO", 52.0, 0.1, 2, "one", False)
CR_CLASS = "1.2.840.10008.5.1.4.1.1.1"


def write_chest(path: Path, modality: str = "DX", **changes) -> Dataset:
    """Writes a chest radiograph, and returns it; `changes` replace elements, and None deletes them."""
    write_dx(path, np.zeros((ROWS, COLUMNS), np.float32), DX)
    return _changed(path, modality, changes)


def write_mammogram(path: Path, number: int = 0, laterality: str = "R", view: str = "MLO", **changes) -> Dataset:
    """Writes a mammogram of scanner `number`, and returns it."""
    scanner = MAMMOGRAPHY_SCANNERS[number]
    windows = () if scanner.is_raw else (Window(0.5, 0.6, "NORMAL"),)
    appearance = Appearance(np.full((ROWS, COLUMNS), 0.5), windows)
    write_mg(path, appearance, scanner, replace(MG, laterality=laterality, view=view))
    return _changed(path, "MG", changes)


def _changed(path: Path, modality: str, changes: dict) -> Dataset:
    data = pydicom.dcmread(path)
    if modality == "CR":
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = CR_CLASS
        data.Modality = "CR"
    for keyword, value in changes.items():
        if value is None:
            del data[keyword]
        else:
            setattr(data, keyword, value)
    data.save_as(path)
    return pydicom.dcmread(path, stop_before_pixels=True)


def result_of(header: Dataset, **content) -> ImageResult:
    """The result of an image with the given masks, boxes and classes."""
    side = str(header.get("ImageLaterality", "") or "")
    return ImageResult(
        source="image.dcm",
        name="image",
        size=(int(header.Rows), int(header.Columns)),
        modality=str(header.Modality),
        laterality=side if side in {"R", "L"} else None,
        view=str(header.ViewPosition),
        **content,
    )


BOXES = (
    BoxResult((2.0, 3.5, 10.0, 20.0), "opacity", 0.75, (1.6, 3.3), 0.2, {"score_std": 0.125}),
    BoxResult((0.0, 0.0, 18.0, 24.0), "opacity", 0.25),
)
PNEUMONIA = ClassResult(
    "binary",
    {"normal": 0.25, "pneumonia": 0.75},
    ("pneumonia",),
    calibrated=True,
    thresholds={"pneumonia": 0.5},
    uncertainty={"entropy": 0.5, "std": {"normal": 0.125, "pneumonia": 0.0625}},
)
DENSITY = ClassResult("ordinal", {"A": 0.1, "B": 0.6, "C": 0.2, "D": 0.1}, ("B",))
LUNG = MaskResult("lung", 60, 60 / (ROWS * COLUMNS), 2.4, 0.5, {"entropy": 0.25})
FULL = {"segmentations": {"lung": (LUNG,)}, "boxes": {"opacity_box": BOXES}, "classes": {"finding": PNEUMONIA}}
EMPTY = {"boxes": {"opacity_box": ()}}
