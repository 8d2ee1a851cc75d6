"""Computes the SHA-256 hash of a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

_CHUNK_BYTES = 2**20


def file_sha256(path: str | Path) -> str:
    """Returns the SHA-256 hash (FIPS 180-4) of a file as 64 hexadecimal digits, read in chunks of 1 MiB."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
