"""Finds the images for inference: a single file, several files, or all images in a folder."""

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
"""File extensions, in any case, that are included when a folder is searched; DICOM files often have none. Files with
other extensions are included if their content is DICOM."""

IGNORED_NAMES = frozenset({"DICOMDIR", "LICENSE", "README", "CHANGELOG"})
"""Names, in any case, of files without an extension that are not images."""

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
"""Extensions of image formats and archives that are not supported; the number of such files is logged."""

logger = logging.getLogger(__name__)


def find_images(source: str | Path | Sequence[str | Path], named: bool = True) -> list[dict[str, str]]:
    """Returns the images as datalist items without annotations, for inference.

    Args:
        source: a file, several files, or a folder, which is searched recursively, including links; see
            `io.walk_files`. If a folder also contains masks or other files, list the image files instead.
        named: whether warnings name folders and files; names may identify patients.

    Returns:
        Items `{"image": path}`, sorted by path within each source.

    Raises:
        FileNotFoundError: a path does not exist, or a folder contains no image.
    """
    if isinstance(source, (str, Path)):
        return [{IMAGE: str(path)} for path in _expand(Path(source), named)]
    return [{IMAGE: str(path)} for part in source for path in _expand(Path(part), named)]


def _expand(path: Path, named: bool) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"no image at {path}; specify a file, a list of files or a folder.")
    files = list_files(path, named)
    found = [file for file in files if _looks_like_image(file, named)]
    _log_left_out(str(path) if named else "the input", set(files) - set(found))
    if not found:
        endings = ", ".join(filter(None, SUFFIXES))
        raise FileNotFoundError(f"{path} contains no {endings} file, and no DICOM file with another extension.")
    return found


def _log_left_out(folder: str, files: Collection[Path]) -> None:
    """Logs the number of images in unsupported formats and of archives."""
    endings = Counter(file.suffix.lower() for file in files)
    counts = {ending: endings[ending] for ending in _CONVERTIBLE if endings[ending]}
    if counts:
        listed = ", ".join(f"{count} {ending}" for ending, count in counts.items())
        logger.warning("Files in %s are ignored: %s; convert or unpack them to include them.", folder, listed)


def _looks_like_image(file: Path, named: bool) -> bool:
    name = file.name.lower()
    suffix = ".nii.gz" if name.endswith(".nii.gz") else _suffix(file.name)
    if suffix in SUFFIXES:
        return file.name.upper() not in IGNORED_NAMES
    return _is_dicom(file, named)


def _suffix(name: str) -> str:
    """Returns the extension in lower case; '' if it is a number, as in files named by their DICOM UID."""
    suffix = Path(name).suffix.lower()
    return "" if suffix[1:].isdigit() else suffix


def _is_dicom(file: Path, named: bool) -> bool:
    """Returns whether a file with any extension is DICOM."""
    try:
        return sniff(file) == "dicom"
    except RadiographError:
        return False
    except OSError as error:
        name = str(file) if named else "A file"
        logger.warning("%s cannot be opened (%s) and is ignored.", name, type(error).__name__)
        return False
