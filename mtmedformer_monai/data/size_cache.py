"""Caches the sizes of images and masks in a file, so that they are read only once."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

from mtmedformer_monai.io.atomic_files import write_atomically

from .fingerprint import digest_package, version_of_file

logger = logging.getLogger(__name__)

Size = tuple[int, int]


class SizeCache:
    """Caches sizes by path, file size, times and version of the code.

    Files that cannot be read are not cached, so that they are checked and reported every time.

    Args:
        path: path of the JSON file; None disables the cache.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._sizes: dict[str, list[int]] = self._load()
        self._changed = False

    def read(self, file: Path, read: Callable[[Path], Size]) -> Size:
        """Returns the size of an image or mask, calling `read` if it is not in the cache."""
        if self.path is None or file.is_dir():
            return read(file)
        key = f"{read.__name__}:{version_of_file(file.stat())}:{file}"
        if key not in self._sizes:
            self._sizes[key] = list(read(file))
            self._changed = True
        rows, columns = self._sizes[key]
        return rows, columns

    def save(self) -> None:
        """Writes the file if there are new entries. A write error is not raised, since it only costs time later."""
        if self.path is None or not self._changed:
            return
        text = json.dumps({"code": digest_package(), "sizes": self._sizes}).encode()
        try:
            write_atomically(self.path, lambda file: file.write(text))
        except OSError as error:
            logger.debug("Image sizes are not cached in %s: %s", self.path, error)

    def _load(self) -> dict[str, list[int]]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8")) if self.path is not None else {}
            return dict(content["sizes"]) if content.get("code") == digest_package() else {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}
