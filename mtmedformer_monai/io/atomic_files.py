"""Files that are whole or not there: atomic writing, and reading that refuses damage."""

from __future__ import annotations

import os
import pickle
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch

TEMPORARY_SUFFIX = ".partial"
"""Of files that are being written. What a killed run leaves behind; never read."""


def write_atomically(path: str | Path, write: Callable[[IO[bytes]], object]) -> None:
    """Writes a temporary file beside `path`, forces it onto the disk, and renames it.

    A rename within one folder is atomic (POSIX rename), so at any instant `path` is the old file or the new one,
    also after a power cut. MONAI's CheckpointSaver writes in place, and Ignite's DiskSaver doesn't force to disk.

    Args:
        path: to be made or replaced; its folder is made.
        write: is given the open binary file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=TEMPORARY_SUFFIX)
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o666 & ~_umask())  # mkstemp makes files private; others may have to read a model
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def save_checkpoint(content: Any, path: str | Path) -> None:
    """`torch.save`, atomically."""
    write_atomically(path, lambda file: torch.save(content, file))


def load_checkpoint(path: str | Path) -> Any:
    """Reads a checkpoint onto the CPU, tensors and plain Python only (no code runs).

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is cut off, damaged, or holds other objects.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"checkpoint expects a file, found none at {path}; check the path, or train first.")
    remedy = "it was cut off or damaged; delete it and resume from an older one, or train anew"
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"checkpoint {path} is not a whole file ({error}): {remedy}.") from error
    if damaged is not None:
        raise ValueError(f"checkpoint {path} has a wrong checksum in {damaged!r}: {remedy}.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"checkpoint {path} holds more than tensors and plain values: {error}") from error


def remove_leftovers(folder: str | Path) -> list[Path]:
    """Deletes what killed runs left half-written in a folder, and returns the paths."""
    leftovers = sorted(Path(folder).glob(f"*.pt.*{TEMPORARY_SUFFIX}"))
    for path in leftovers:
        path.unlink(missing_ok=True)
    return leftovers


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Forces the rename itself onto the disk, where the system can (Windows can't open folders)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
