"""Finds CBIS-DDSM's images and outlines on disk, and reads an outline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mtmedformer_monai.data.array_types import Mask
from mtmedformer_monai.data.image_size import read_image_size
from mtmedformer_monai.transforms.dicom.pixels.decode import decode_pixels
from mtmedformer_monai.transforms.dicom.read import read_header

ASPECT_TOLERANCE = 0.02
MIN_SCALE = 0.5
"""An outline's mask may be scaled, down to this; what is smaller or of another shape is a crop."""


@dataclass(frozen=True)
class CbisFiles:
    """Where the files of a copy are.

    Attributes:
        folder: of the set.
        tables: folder of the four tables.
        places: {case, or series UID: folder}.
        part: which part of a path in the tables names the place: 0 the case, 2 the series.
        pattern: of the files below a place.
    """

    folder: Path
    tables: Path
    places: dict[str, Path]
    part: int
    pattern: str

    def find(self, *told: str) -> list[Path]:
        """The files of the places that paths of the tables name; the tables' own file names are those of 2017."""
        names = dict.fromkeys(path.split("/")[self.part] for path in told if path.count("/") >= self.part)
        return [path for name in names if name in self.places for path in sorted(self.places[name].glob(self.pattern))]


def find_cbis_files(folder: Path) -> CbisFiles:
    """Tells TCIA's layout from the JPEG copy.

    Raises:
        FileNotFoundError: it is neither.
    """
    if (folder / "jpeg").is_dir():
        series = {path.name: path for path in (folder / "jpeg").iterdir()}
        return CbisFiles(folder, folder / "csv", series, part=2, pattern="*.jpg")
    roots = (folder, folder / "CBIS-DDSM", *folder.glob("manifest-*/CBIS-DDSM"))
    cases = {path.name: path for root in roots for path in root.glob("*-T*_P_*") if path.is_dir()}
    if not cases:
        raise FileNotFoundError(
            f"{folder} expects the case folders of TCIA (Mass-Training_P_...), in itself or CBIS-DDSM/, beside the "
            "four tables (mass_case_description_train_set.csv, ...); or csv/ and jpeg/ of the JPEG copy; unpack them."
        )
    return CbisFiles(folder, folder, cases, part=0, pattern="**/*.dcm")


def read_outline(files: list[Path], size: tuple[int, int]) -> Mask | None:
    """Reads the mask among an outline's files: the largest; the other is a crop around the lesion.

    Args:
        files: DICOM or JPEG.
        size: (H, W) of the image; some masks are of another size, and are scaled by nearest neighbor.

    Returns:
        bool (H, W); None where none of the files is a mask of the image.
    """
    sizes = {file: read_image_size(file) for file in files}
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
    if file.suffix.lower() == ".dcm":
        pixels, _ = decode_pixels(file, read_header(file))
    else:
        with Image.open(file) as picture:
            pixels = np.asarray(picture.convert("L"))
    return np.asarray(pixels > max(int(pixels.max()) // 2, 0))
