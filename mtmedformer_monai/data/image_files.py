"""Finds what there is to infer on: one file, several, or all of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mtmedformer_monai.keys import IMAGE

SUFFIXES = (".dcm", ".dicom", ".png", ".jpg", ".jpeg", ".nii", ".nii.gz", "")
"""Endings of files that are taken from a folder; DICOM files often have none."""

IGNORED_NAMES = frozenset({"DICOMDIR", "LICENSE", "README", "CHANGELOG"})


def find_images(source: str | Path | Sequence[str | Path]) -> list[dict[str, str]]:
    """Lists images as a datalist without annotations, for inference.

    Args:
        source: a file, several files, or a folder that is searched with all below it. In a folder that holds masks,
            boxes or labels too, name the images themselves.

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
    found = [file for file in sorted(path.rglob("*")) if file.is_file() and _looks_like_image(file)]
    if not found:
        raise FileNotFoundError(f"{path} holds no file that ends in {', '.join(filter(None, SUFFIXES))}.")
    return found


def _looks_like_image(file: Path) -> bool:
    name = file.name.lower()
    suffix = ".nii.gz" if name.endswith(".nii.gz") else _suffix(file.name)
    return suffix in SUFFIXES and not name.startswith(".") and file.name not in IGNORED_NAMES


def _suffix(name: str) -> str:
    """The ending in lower case; none where it is a number, as in a file named by its DICOM UID."""
    suffix = Path(name).suffix.lower()
    return "" if suffix[1:].isdigit() else suffix
