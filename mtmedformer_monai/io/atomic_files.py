"""Writes files atomically, and reads checkpoints with an integrity check."""

from __future__ import annotations

import os
import pickle
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch

from .packed_tensors import pack, unpack

TEMPORARY_SUFFIX = ".partial"
"""Suffix of files that are being written. A killed run may leave such files behind; they are never read."""


def write_atomically(path: str | Path, write: Callable[[IO[bytes]], object]) -> None:
    """Writes a temporary file next to `path`, syncs it to disk, and renames it to `path`.

    Renaming within one folder is atomic (POSIX rename), so `path` is always either the complete old file or the
    complete new file, even after a power failure. MONAI's CheckpointSaver writes in place, and Ignite's DiskSaver does
    not sync to disk.

    Args:
        path: file to create or replace; its folder is created if necessary.
        write: called with the open binary file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=TEMPORARY_SUFFIX)
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o666 & ~_umask())  # mkstemp creates private files, but other users may need to read a model
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def save_checkpoint(content: Any, path: str | Path) -> None:
    """Saves an object with `torch.save`, atomically."""
    write_atomically(path, lambda file: torch.save(content, file))


def save_state(content: Any, path: str | Path) -> None:
    """Saves a state of many small tensors like `save_checkpoint`, but joined, for `load_checkpoint` alone to read."""
    save_checkpoint(pack(content), path)


def load_checkpoint(path: str | Path) -> Any:
    """Loads a checkpoint, or a state of `save_state`, onto the CPU; no code is executed.

    Only tensors and plain Python values are allowed.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is truncated or damaged, or contains other objects.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"checkpoint expects a file, found none at {path}; check the path, or train first.")
    remedy = "it was cut off or damaged; delete it and resume from an older one, or train again"
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"checkpoint {path} is not a whole file ({error}): {remedy}.") from error
    if damaged is not None:
        raise ValueError(f"checkpoint {path} has a wrong checksum in {damaged!r}: {remedy}.")
    try:
        return unpack(torch.load(path, map_location="cpu", weights_only=True))
    except pickle.UnpicklingError as error:
        raise ValueError(f"checkpoint {path} holds more than tensors and plain values: {error}") from error


def remove_leftovers(folder: str | Path) -> list[Path]:
    """Deletes the partially written checkpoints that killed runs left in a folder, and returns their paths."""
    leftovers = sorted(Path(folder).glob(f"*.pt.*{TEMPORARY_SUFFIX}"))
    for path in leftovers:
        path.unlink(missing_ok=True)
    return leftovers


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Syncs the rename itself to disk where the operating system supports it (Windows cannot open folders)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
