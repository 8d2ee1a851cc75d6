"""Finds what there is to infer on: one file, several, or all of a folder."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from mtmedformer_monai.io.walk_files import list_files
from mtmedformer_monai.keys import IMAGE
from mtmedformer_monai.transforms.errors import RadiographError
from mtmedformer_monai.transforms.file_kind import sniff

SUFFIXES = (".dcm", ".dicom", ".png", ".jpg", ".jpeg", ".nii", ".nii.gz", "")
"""Endings of files that are taken from a folder, in any case; DICOM files often have none. Files of other endings are
taken where their content is DICOM."""

IGNORED_NAMES = frozenset({"DICOMDIR", "LICENSE", "README", "CHANGELOG"})
"""Names, in any case, of files without ending that are no images."""

_CONVERTIBLE = (
    ".tif",
    ".tiff",
    ".bmp",
    ".gif",
    ".webp",
    ".jp2",
    ".pgm",
    ".ppm",
    ".mha",
    ".mhd",
    ".nrrd",
    ".gz",
    ".zip",
)
"""Endings of images and archives that are not read: their number is logged."""

logger = logging.getLogger(__name__)


def find_images(source: str | Path | Sequence[str | Path]) -> list[dict[str, str]]:
    """Lists images as a datalist without annotations, for inference.

    Args:
        source: a file, several files, or a folder that is searched with all below it, links included; see
            `io.walk_files`. In a folder that holds masks, boxes or labels too, name the images themselves.

    Returns:
        Items `{"image": path}`, in the order of the paths.

    Raises:
        FileNotFoundError: a path is missing, or a folder holds no image.
    """
    if isinstance(source, (str, Path)):
        return [{IMAGE: str(path)} for path in _expand(Path(source))]
    return [{IMAGE: str(path)} for part in source for path in _expand(Path(part))]


def _expand(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"no image at {path}; give a file, a list of files or a folder.")
    files = list_files(path)
    found = [file for file in files if _looks_like_image(file)]
    _log_left_out(path, set(files) - set(found))
    if not found:
        endings = ", ".join(filter(None, SUFFIXES))
        raise FileNotFoundError(f"{path} holds no file that ends in {endings}, and no DICOM file of another ending.")
    return found


def _log_left_out(folder: Path, files: Collection[Path]) -> None:
    """Logs images in formats that are not read, and archives."""
    endings = Counter(file.suffix.lower() for file in files)
    counts = {ending: endings[ending] for ending in _CONVERTIBLE if endings[ending]}
    if counts:
        listed = ", ".join(f"{count} {ending}" for ending, count in counts.items())
        logger.warning("below %s files are left out: %s; convert or unpack them to infer on them.", folder, listed)


def _looks_like_image(file: Path) -> bool:
    name = file.name.lower()
    suffix = ".nii.gz" if name.endswith(".nii.gz") else _suffix(file.name)
    if suffix in SUFFIXES:
        return file.name.upper() not in IGNORED_NAMES
    return _is_dicom(file)


def _suffix(name: str) -> str:
    """The ending in lower case; none where it is a number, as in a file named by its DICOM UID."""
    suffix = Path(name).suffix.lower()
    return "" if suffix[1:].isdigit() else suffix


def _is_dicom(file: Path) -> bool:
    """Whether a file of any ending is DICOM."""
    try:
        return sniff(file) == "dicom"
    except RadiographError:
        return False
    except OSError as error:
        logger.warning("%s cannot be opened (%s), and is left out.", file, type(error).__name__)
        return False
