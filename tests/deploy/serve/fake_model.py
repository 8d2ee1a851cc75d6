"""A stand-in for the network that does what the worker relies on: it reads the image's pixels, and writes real DICOM
objects (Secondary Capture, by highdicom) of the same study, with a reference to the image and reproducible UIDs."""

from __future__ import annotations

import os
from pathlib import Path

import highdicom
import numpy as np
import pydicom
from pydicom.dataset import Dataset

from mtmedformer_monai.deploy.headers.uids import derived_uid

MODEL = "ab" * 32
RESULT = "1.2.840.10008.5.1.4.1.1.7"  # Secondary Capture Image Storage


def write_result(image: Dataset, folder: Path, kind: str = "picture", model: str = MODEL) -> Path:
    """Writes the image, thresholded at its mean, as an 8-bit picture."""
    picture = np.where(image.pixel_array > image.pixel_array.mean(), 255, 0).astype(np.uint8)
    result = highdicom.sc.SCImage.from_ref_dataset(
        image, pixel_array=picture, photometric_interpretation="MONOCHROME2", bits_allocated=8,
        coordinate_system="PATIENT", series_instance_uid=derived_uid(image.SOPInstanceUID, f"{kind} series", model),
        sop_instance_uid=derived_uid(image.SOPInstanceUID, kind, model), series_number=9, instance_number=1,
        manufacturer="Test", patient_orientation=("L", "F"),
    )  # fmt: skip
    source = Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    result.SourceImageSequence = [source]
    path = folder / f"{kind}.dcm"
    result.save_as(path, enforce_file_format=True)
    return path


class FakeModel:
    """Writes one object per kind; counts the images, in memory and (across processes) in a file.

    Args:
        kinds: names of the objects.
        counter: file to which a line is appended for each image.
        before: called with the image before anything is written.
    """

    def __init__(self, kinds=("picture",), counter=None, before=lambda image: None, model=MODEL):
        self._kinds, self._counter, self._before, self._model, self.images = kinds, counter, before, model, []

    def __call__(self, folder: Path) -> list[Path]:
        (path,) = (folder / "source").iterdir()
        image = pydicom.dcmread(path)
        self.images.append(str(image.SOPInstanceUID))
        if self._counter:
            with self._counter.open("a") as file:
                file.write(f"{image.SOPInstanceUID} {os.getpid()}\n")
        self._before(image)
        return [write_result(image, folder / "results", kind, self._model) for kind in self._kinds]
