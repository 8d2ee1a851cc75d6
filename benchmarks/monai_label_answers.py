"""Label maps in MONAI Label's answers, and a picture of one of them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import itk
import nibabel
import numpy as np
import requests
from monai_label_studies import CORONAL
from numpy.typing import NDArray
from PIL import Image

from mtmedformer_monai.transforms import read_radiograph

COLORS = np.array([[0, 0, 0], [64, 160, 255], [255, 128, 32]], dtype=np.float32)
"""Colors of the background and the first two structures."""

OPACITY, PICTURE_WIDTH = 0.4, 384


@dataclass(frozen=True)
class Answer:
    """A label map, as stored in an answer's file.

    Attributes:
        name: of the file.
        values: (H, W) for pictures and DICOM, (X, Y) or (X, Y, 1) for volumes.
        affine: of a NIfTI file.
    """

    name: str
    values: NDArray[Any]
    affine: NDArray[Any] | None = None

    def is_placed_on(self, image: Path) -> bool:
        """Returns whether a NIfTI answer with three axes has the affine of its image; true for other answers."""
        if self.affine is None or self.values.ndim < 3:
            return True
        return np.allclose(self.affine, nibabel.load(image).affine, atol=1e-4)


def read_answer(response: requests.Response) -> Answer:
    """Reads the label map of an answer."""
    response.raise_for_status()
    name = response.headers["content-disposition"].split("filename=")[-1].strip('"')
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(response.content)
        if name.endswith((".nii.gz", ".nii")):
            image = nibabel.load(path)
            return Answer(name, np.asarray(image.dataobj), image.affine)
        values = np.asarray(itk.array_from_image(itk.imread(str(path))))
    if name.endswith(".nrrd"):
        return Answer(name, values.T)
    return Answer(name, values.reshape(values.shape[-2:]))


def to_file_grid(image: Path, labels: NDArray[Any]) -> NDArray[Any]:
    """Converts our upright label map (H, W) to the grid that a client expects for this image file.

    Uses rules of these studies, independent of the package's code.
    """
    if not image.name.endswith(".nii.gz"):
        return labels
    source = nibabel.load(image)
    if np.allclose(source.affine, CORONAL, atol=1e-5):
        return labels[::-1, ::-1][:, :, None]
    return labels.T.reshape(source.shape)


def overlay(image: Path, labels: NDArray[Any], path: Path) -> None:
    """Draws an answer's label map (H, W) on its image."""
    gray = read_radiograph(image)[0][..., None] * np.full(3, 255, dtype=np.float32)
    shown = np.where((labels > 0)[..., None], (1 - OPACITY) * gray + OPACITY * COLORS[labels.astype(int)], gray)
    both = Image.fromarray(np.concatenate([gray, shown], axis=1).round().astype(np.uint8))
    height = round(both.height * 2 * PICTURE_WIDTH / both.width)
    both.resize((2 * PICTURE_WIDTH, height), Image.Resampling.LANCZOS).quantize(128).save(path, optimize=True)
