"""Images of every supported file format, none of them square, with label maps that an annotator would draw."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import itk
import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.uid import generate_uid

from mtmedformer_monai.data import load_datalist
from mtmedformer_monai.data.synthetic.cohorts import make_cohort
from mtmedformer_monai.transforms import read_radiograph
from mtmedformer_monai.transforms.read_mask import read_mask

AXIAL = np.diag([-0.4, -0.3, 1.0, 1.0])
"""Affine that ITK and Slicer write for a picture: columns to the left, rows to the back."""

CORONAL = np.array([[0.0, 0.4, 0.0, 5.0], [0.0, 0.0, 1.0, 0.0], [0.3, 0.0, 0.0, -7.0], [0.0, 0.0, 0.0, 1.0]])
"""Voxels run from feet to head, then from the patient's left to right: the upright picture is rotated."""

KINDS = ("dicom", "png", "nifti", "dicom", "nifti_volume", "png", "nifti_coronal", "dicom")


@dataclass
class Study:
    """One image and its annotation.

    Attributes:
        path: of the image.
        drawn: uint8 (H, W), numbered as the bundle's `channel_def`.
        label: path of the label map as a client would send it.
    """

    path: Path
    drawn: NDArray[np.uint8]
    label: Path

    @property
    def name(self) -> str:
        """Name of the study at the server."""
        return self.path.name.split(".")[0]


def make_studies(bundle: Path, folder: Path, image_size: int = 128) -> list[Study]:
    """Generates a cohort for the bundle, and one study of each of `KINDS` from its annotated images.

    Args:
        bundle: its folder.
        folder: for all files; `folder/studies` contains only images.
        image_size: of the cohort.
    """
    kind = json.loads((bundle / "configs/demo.json").read_text())["cohort"]["kind"]
    tasks = json.loads((bundle / "configs/train.json").read_text())["tasks"]
    structures = [name for task in tasks for name in task.get("structures", [])]
    datalist = make_cohort(kind, folder / "cohort", 24 if kind == "chest" else 12, image_size, seed=5)
    items = [item for item in load_datalist(datalist, "training") if set(item.get("masks", {})) == set(structures)]
    for name in ("studies", "labels"):
        (folder / name).mkdir()
    return [
        _make_study(item, structures, kind_of_file, folder, f"case{number}")
        for number, (item, kind_of_file) in enumerate(zip(items, KINDS, strict=False))
    ]


def make_shown(bundle: Path, folder: Path, image_size: int = 384) -> Path:
    """Generates one larger DICOM file for a picture, with findings in all structures."""
    kind = json.loads((bundle / "configs/demo.json").read_text())["cohort"]["kind"]
    datalist = make_cohort(kind, folder / "shown", 10, image_size, seed=11)
    items = load_datalist(datalist, "training")
    return Path(max(items, key=lambda item: sum(len(boxes) for boxes in item.get("boxes", {}).values()))["image"])


def make_refused(study: Study, path: Path) -> Path:
    """Writes a file whose header declares a CT slice, which no bundle here accepts."""
    data = dcmread(study.path)
    data.Modality = "CT"
    data.save_as(path)
    return path


def _make_study(item: Any, structures: list[str], kind: str, folder: Path, name: str) -> Study:
    masks = [read_mask(item["masks"][structure]) for structure in structures]
    rows = masks[0].shape[0] * 3 // 4 + 1  # so that a wrongly transposed mask does not fit
    drawn = np.zeros(masks[0].shape, dtype=np.uint8)
    for number, mask in enumerate(masks, start=1):
        drawn[mask] = number
    drawn = drawn[:rows]
    image = read_radiograph(item["image"])[0][:rows]
    pixels = np.round(image * 255).astype(np.uint8)
    stem = folder / "studies" / name
    label = folder / "labels" / f"{name}.nii.gz"
    if kind == "dicom":
        path = _crop_dicom(item["image"], rows, stem.with_suffix(".dcm"))
        label = _save_as_client(label, drawn, as_nrrd=name == "case7")
    elif kind == "png":
        path, label = stem.with_suffix(".png"), label.with_name(f"{name}.png")
        Image.fromarray(pixels).save(path)
        Image.fromarray(drawn).save(label)
    else:
        path = stem.with_suffix(".nii.gz")
        for target, values in ((path, pixels), (label, drawn)):
            _save_nifti(target, *_as_voxels(values, kind))
    return Study(path, drawn, label)


def _save_as_client(path: Path, drawn: NDArray[Any], as_nrrd: bool) -> Path:
    """Writes a label map as 3D Slicer saves one drawn on a picture: one slice, as NIfTI or NRRD."""
    if not as_nrrd:
        _save_nifti(path, drawn.T[:, :, None], AXIAL)
        return path
    path = path.with_name(path.name.replace(".nii.gz", ".nrrd"))
    itk.imwrite(itk.image_from_array(np.ascontiguousarray(drawn[None])), str(path), compression=True)
    return path


def _as_voxels(values: NDArray[Any], kind: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns upright pixels (H, W) as the file's voxels, and its affine."""
    if kind == "nifti":
        return values.T, AXIAL
    if kind == "nifti_volume":
        return values.T[:, :, None], AXIAL
    return values[::-1, ::-1][:, :, None], CORONAL


def _save_nifti(path: Path, voxels: NDArray[Any], affine: NDArray[Any]) -> None:
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(voxels), affine), path)


def _crop_dicom(source: str, rows: int, path: Path) -> Path:
    data = dcmread(source)
    if data.file_meta.TransferSyntaxUID.is_compressed:
        data.decompress()
    pixels = data.pixel_array[:rows]
    data.PixelData = np.ascontiguousarray(pixels).tobytes()
    data.Rows = rows
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.save_as(path)
    return path
