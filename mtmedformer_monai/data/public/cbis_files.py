"""Finds CBIS-DDSM's images and outlines on disk, and reads an outline."""

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
    "the four tables mass_case_description_train_set.csv, ... beside TCIA's case folders Mass-Training_P_...; or csv/ "
    "and jpeg/ of Kaggle's JPEG copy"
)
ASPECT_TOLERANCE = 0.02
MIN_SCALE = 0.5
"""An outline's mask may be scaled, down to this; what is smaller or of another shape is a crop."""


@dataclass(frozen=True)
class CbisFiles:
    """Where the files of a copy are.

    Attributes:
        folder: the set's.
        places: {case, or series UID: files below it}.
        part: which part of a path in the tables names the place: 0 the case, 2 the series.
    """

    folder: SetFolder
    places: Mapping[str, Sequence[Path]]
    part: int

    def find(self, *told: str) -> list[Path]:
        """The files of the places that paths of the tables name; the tables' own file names are those of 2017."""
        paths = [path.strip().strip("/") for path in told]
        names = dict.fromkeys(path.split("/")[self.part] for path in paths if path.count("/") >= self.part)
        return [path for name in names for path in self.places.get(name, ())]


def find_cbis_files(folder: Path) -> CbisFiles:
    """Indexes a copy in TCIA's layout, or in that of the JPEG copy.

    Raises:
        FileNotFoundError: it is neither.
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
    """Reads the mask among an outline's files: the largest; the other is a crop around the lesion.

    Args:
        files: DICOM or JPEG.
        size: (H, W) of the image; some masks are of another size, and are scaled by nearest neighbor.

    Returns:
        bool (H, W); None where none of the files is a mask of the image, or has content.
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
    """What is above half of the file's range: JPEG has noise around edges."""
    if file.suffix.lower() not in PICTURES:
        pixels, _ = decode_pixels(file, read_header(file))
    else:
        with Image.open(file) as picture:
            pixels = np.asarray(picture.convert("L"))
    return np.asarray(pixels > max(int(pixels.max()) // 2, 0))
