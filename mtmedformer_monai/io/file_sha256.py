"""Computes the SHA-256 hash of a file, cached while the file is unchanged."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path


def file_sha256(path: str | Path) -> str:
    """Returns the SHA-256 hash of a file in hexadecimal; the hash of an unchanged file is computed only once."""
    status = Path(path).stat()
    return _sha256(str(path), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=8)
def _sha256(path: str, size: int, changed: int) -> str:
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        for block in iter(lambda: file.read(2**20), b""):
            digest.update(block)
    return digest.hexdigest()
