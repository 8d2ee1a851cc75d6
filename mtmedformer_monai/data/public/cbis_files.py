"""Finds the images and outlines of CBIS-DDSM, and reads outlines."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mtmedformer_monai.data.array_types import Mask
from mtmedformer_monai.data.image_size import read_image_size
from mtmedformer_monai.transforms.dicom.pixels.decode import decode_pixels
from mtmedformer_monai.transforms.dicom.read import read_header

from .set_files import PICTURES, SetFolder

RELEASE = (
    "the four tables mass_case_description_train_set.csv, ... and TCIA's case folders Mass-Training_P_...; or csv/ "
    "and jpeg/ of Kaggle's JPEG copy"
)
ASPECT_TOLERANCE = 0.02
MIN_SCALE = 0.5
"""Minimum scale of an outline's mask relative to its image; smaller files, or other aspect ratios, are crops."""


@dataclass(frozen=True)
class CbisFiles:
    """Index of the files of a release.

    Attributes:
        folder: the dataset folder.
        places: {case or series UID: its files}.
        part: index of the component of the tables' paths that identifies the place: 0 for the case, 2 for the series.
    """

    folder: SetFolder
    places: Mapping[str, Sequence[Path]]
    part: int

    def find(self, *listed: str) -> list[Path]:
        """Returns the files for paths listed in the tables, whose file names are those of the release of 2017."""
        paths = [path.strip().strip("/") for path in listed]
        names = dict.fromkeys(path.split("/")[self.part] for path in paths if path.count("/") >= self.part)
        return [path for name in names for path in self.places.get(name, ())]


def find_cbis_files(folder: Path) -> CbisFiles:
    """Indexes a folder in TCIA's layout, or in that of the JPEG copy.

    Raises:
        FileNotFoundError: the folder has neither layout.
    """
    files = SetFolder(folder, RELEASE)
    pictures = files.find(r"(^|/)(jpe?g|png)/[^/]+/[^/]+$", PICTURES)
    if pictures:
        return CbisFiles(
            files, _by_place(pictures, folder, re.compile(r"(?:^|/)(?:jpe?g|png)/([^/]+)/", re.IGNORECASE)), part=2
        )
    case = re.compile(r"(?:^|/)((?:Mass|Calc)-(?:Training|Test)_P_[^/]+)/", re.IGNORECASE)
    cases = _by_place(files.find("", (".dcm", ".dicom")), folder, case)
    if not cases:
        raise files.lacks("the case folders of TCIA (Mass-Training_P_.../**/*.dcm), or jpeg/*/*.jpg of the JPEG copy")
    return CbisFiles(files, cases, part=0)


def _by_place(paths: Sequence[Path], folder: Path, place: re.Pattern[str]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(paths):
        if match := place.search(path.relative_to(folder).as_posix()):
            found.setdefault(match[1], []).append(path)
    return found


def read_outline(files: list[Path], size: tuple[int, int]) -> Mask | None:
    """Reads the mask among an outline's files, which is the largest one; the other is a crop around the lesion.

    Args:
        files: DICOM or JPEG files.
        size: (H, W) of the image; masks of another size are resampled with nearest-neighbor interpolation.

    Returns:
        bool (H, W); None if no file is a mask of the image, or all files are empty.
    """
    sizes = {file: read_image_size(file) for file in files if file.stat().st_size}
    if not sizes:
        return None
    file = max(sizes, key=lambda file: sizes[file][0] * sizes[file][1])
    scale_y, scale_x = sizes[file][0] / size[0], sizes[file][1] / size[1]
    if min(scale_x, scale_y) < MIN_SCALE or abs(scale_x / scale_y - 1) > ASPECT_TOLERANCE:
        return None
    mask = _read_mask(file)
    rows = ((np.arange(size[0]) + 0.5) * scale_y).astype(int)
    columns = ((np.arange(size[1]) + 0.5) * scale_x).astype(int)
    return mask if mask.shape == size else mask[np.ix_(rows, columns)]


def _read_mask(file: Path) -> Mask:
    """Reads a mask with a threshold of half the maximum, since JPEG compression causes noise around edges."""
    if file.suffix.lower() not in PICTURES:
        pixels, _ = decode_pixels(file, read_header(file))
    else:
        with Image.open(file) as picture:
            pixels = np.asarray(picture.convert("L"))
    return np.asarray(pixels > max(int(pixels.max()) // 2, 0))
