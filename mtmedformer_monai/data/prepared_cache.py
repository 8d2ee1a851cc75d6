"""Caches of preprocessed images between epochs: none, in memory, or on disk."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import uuid
import weakref
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.utils.data import get_worker_info

from .packing import pack, unpack

logger = logging.getLogger(__name__)

CACHES = ("none", "memory", "disk")


class PreparedCache(Protocol):
    """Stores items by key. The caller may modify the items that `load` returns."""

    def load(self, key: str) -> dict[str, Any] | None:
        """Returns the item, or None if it is not in the cache."""

    def save(self, key: str, item: dict[str, Any]) -> None:
        """Stores an item, if possible."""


def make_cache(kind: str, folder: str | Path | None) -> PreparedCache:
    """Builds a cache.

    Args:
        kind: 'none', 'memory' or 'disk'.
        folder: folder of the disk cache.

    Raises:
        ValueError: the kind is unknown, or a disk cache has no folder.
    """
    if kind not in CACHES:
        raise ValueError(f"cache expects one of {CACHES}, got {kind!r}.")
    if kind == "disk" and folder is None:
        raise ValueError("cache='disk' expects a folder as cache_dir, got none; specify one with enough space.")
    if kind == "disk":
        return DiskCache(Path(str(folder)))
    return MemoryCache() if kind == "memory" else NoCache()


class NoCache:
    """A cache that stores nothing."""

    def load(self, key: str) -> dict[str, Any] | None:
        """Returns None."""
        return None

    def save(self, key: str, item: dict[str, Any]) -> None:
        """Does nothing."""


class DiskCache:
    """Stores one file per item, like MONAI's `PersistentDataset`.

    In contrast to `PersistentDataset`, the key depends on the source files and the code (see `fingerprint.py`), items
    whose cache file is damaged or truncated are prepared again, and all values are restored exactly, including the
    image's metadata. Several processes and runs may share a folder. Files are never removed; delete the folder to free
    its space.

    Args:
        folder: cache folder, created if necessary.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._failed = False

    def load(self, key: str) -> dict[str, Any] | None:
        """Reads an item; only tensors and plain values are loaded, so no code is executed."""
        path = self._path(key)
        try:
            return unpack(torch.load(path, weights_only=True))
        except FileNotFoundError:
            return None
        except Exception as error:  # damaged archives raise various exceptions in PyTorch
            logger.debug("%s is damaged (%s); the item is prepared again.", path, type(error).__name__)
            return None

    def save(self, key: str, item: dict[str, Any]) -> None:
        """Writes an item to a temporary file and renames it. A full disk disables caching but does not stop the run."""
        if self._failed:
            return
        path = self._path(key)
        partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(pack(item), partial)
            partial.replace(path)
        except (OSError, RuntimeError, TypeError) as error:
            self._failed = True
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            logger.warning("Preprocessed images are not cached in %s: %s", self.folder, error)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.pt"  # 256 folders, since large folders can be slow


class MemoryCache:
    """Stores items in memory, filled on demand.

    The workers of a data loader only live for one epoch, so they store their items in a temporary folder, where the
    workers of the next epoch find them; the operating system keeps these files in memory while there is room. The
    folder is removed with the cache.
    """

    def __init__(self) -> None:
        self._items: dict[str, dict[str, Any]] = {}
        folder = Path(tempfile.gettempdir()) / f"mtmedformer_cache_{os.getpid()}_{uuid.uuid4().hex}"
        self._shared = DiskCache(folder)
        weakref.finalize(self, _remove, folder, os.getpid())

    def load(self, key: str) -> dict[str, Any] | None:
        """Returns a copy of an item, since random transforms may change it in place."""
        if key in self._items:
            return deepcopy(self._items[key])
        return self._shared.load(key) if get_worker_info() is not None else None

    def save(self, key: str, item: dict[str, Any]) -> None:
        """Stores a copy of an item."""
        if get_worker_info() is None:
            self._items[key] = deepcopy(item)
        else:
            self._shared.save(key, item)


def _remove(folder: Path, process: int) -> None:
    """Removes the folder, but only in the process that created the cache, since workers have copies of the object."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
