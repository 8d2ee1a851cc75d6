"""Where prepared images are kept between epochs: nowhere, in memory, or on disk."""

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
    """Keeps items by key. What `load` returns belongs to the caller."""

    def load(self, key: str) -> dict[str, Any] | None:
        """The item, or None where it is not kept."""

    def save(self, key: str, item: dict[str, Any]) -> None:
        """Keeps an item, if possible."""


def make_cache(kind: str, folder: str | Path | None) -> PreparedCache:
    """Builds a cache.

    Args:
        kind: 'none', 'memory' or 'disk'.
        folder: of a cache on disk.

    Raises:
        ValueError: an unknown kind, or a cache on disk without a folder.
    """
    if kind not in CACHES:
        raise ValueError(f"cache expects one of {CACHES}, got {kind!r}.")
    if kind == "disk" and folder is None:
        raise ValueError("cache='disk' expects a folder as cache_dir, got none; name one with enough space.")
    if kind == "disk":
        return DiskCache(Path(str(folder)))
    return MemoryCache() if kind == "memory" else NoCache()


class NoCache:
    """Keeps nothing."""

    def load(self, key: str) -> dict[str, Any] | None:
        """Always None."""
        return None

    def save(self, key: str, item: dict[str, Any]) -> None:
        """Does nothing."""


class DiskCache:
    """Keeps one file per item, as MONAI's `PersistentDataset` does.

    Other than there, the key covers the content of files and the code (see `fingerprint.py`), a file that is damaged or
    was cut off is prepared anew, and every value comes back bit for bit, metadata of the image included. Several
    processes and runs may share a folder; nothing is ever removed from it, so delete it to get its space back.

    Args:
        folder: is made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._failed = False

    def load(self, key: str) -> dict[str, Any] | None:
        """Reads an item; tensors and plain values alone, no code runs."""
        path = self._path(key)
        try:
            return unpack(torch.load(path, weights_only=True))
        except FileNotFoundError:
            return None
        except Exception as error:  # a damaged archive fails anywhere in torch's reader
            logger.debug("%s is damaged (%s), and prepared anew.", path, type(error).__name__)
            return None

    def save(self, key: str, item: dict[str, Any]) -> None:
        """Writes an item under a temporary name, and renames it. A full disk ends the caching, not the training."""
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
            logger.warning("Prepared images are not cached in %s: %s", self.folder, error)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.pt"  # 256 folders: some file systems are slow with many files in one


class MemoryCache:
    """Keeps items in memory, filled on demand.

    Workers of a data loader live for one epoch. They keep theirs in a temporary folder, which the system holds in
    memory as far as there is room, so that the next epoch's workers find it; it is removed with the cache.
    """

    def __init__(self) -> None:
        self._items: dict[str, dict[str, Any]] = {}
        folder = Path(tempfile.gettempdir()) / f"mtmedformer_cache_{os.getpid()}_{uuid.uuid4().hex}"
        self._shared = DiskCache(folder)
        weakref.finalize(self, _remove, folder, os.getpid())

    def load(self, key: str) -> dict[str, Any] | None:
        """A copy of an item, which random transforms may change in place."""
        if key in self._items:
            return deepcopy(self._items[key])
        return self._shared.load(key) if get_worker_info() is not None else None

    def save(self, key: str, item: dict[str, Any]) -> None:
        """Keeps a copy."""
        if get_worker_info() is None:
            self._items[key] = deepcopy(item)
        else:
            self._shared.save(key, item)


def _remove(folder: Path, process: int) -> None:
    """In the process that made the cache alone: workers hold copies of the object."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
