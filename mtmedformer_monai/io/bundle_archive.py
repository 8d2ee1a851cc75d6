"""Packs a bundle as a zip file, as the MONAI model zoo distributes bundles."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO

from .atomic_files import write_atomically

CONTENTS = ("LICENSE", "large_files.yml", "configs", "docs", "models", "study_models")
"""What belongs to a bundle; results and data beside them are left out."""

_WRITABLE, _DATE = 0o644 << 16, (1980, 1, 1, 0, 0, 0)


def pack_bundle(bundle: Path, path: Path) -> list[str]:
    """Writes a zip file with one folder, named like the bundle's folder; equal bundles give equal files.

    Previous weights, hidden files, partial files and links are left out.

    Args:
        bundle: the bundle's folder.
        path: file to write, with the suffix `.zip`, which `monai.bundle.download` expects.

    Returns:
        Names of the files in the archive.

    Raises:
        FileNotFoundError: the bundle has no metadata or no weights.
        ValueError: the file does not end in `.zip`.
    """
    if path.suffix != ".zip":
        raise ValueError(f"OUTPUT expects a file name that ends in .zip with --zip, got {path.name!r}.")
    for needed in ("configs/metadata.json", "models/model.pt"):
        if not (bundle / needed).is_file():
            raise FileNotFoundError(f"no {needed} in {bundle}; specify a bundle's folder with --bundle.")
    root = bundle.resolve()
    files = [file for name in CONTENTS for file in _files(root / name) if file.resolve() != path.resolve()]
    write_atomically(path, lambda target: _write(files, root, target))
    return [_name(file, root) for file in files]


def _files(part: Path) -> list[Path]:
    found = [part] if part.is_file() else sorted(part.rglob("*"))
    return [file for file in found if file.is_file() and not file.is_symlink() and _is_part(file)]


def _is_part(file: Path) -> bool:
    is_hidden = file.name.startswith(".") or "__pycache__" in file.parts
    is_leftover = "_previous" in file.name or file.suffix == ".partial"
    return not (is_hidden or is_leftover)


def _write(files: list[Path], root: Path, target: IO[bytes]) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for file in files:
            info = zipfile.ZipInfo(_name(file, root), _DATE)
            info.external_attr, info.compress_type = _WRITABLE, zipfile.ZIP_DEFLATED
            archive.writestr(info, file.read_bytes())


def _name(file: Path, root: Path) -> str:
    return f"{root.name}/{file.relative_to(root).as_posix()}"
