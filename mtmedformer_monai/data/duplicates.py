"""Finds duplicate images."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path


def find_duplicates(files: Sequence[Path]) -> list[tuple[int, int]]:
    """Returns pairs (first, later) of indices whose files are identical or have identical content.

    Only files of equal size are read. A file that cannot be read has no duplicates.
    """
    resolved = [file.resolve() for file in files]
    lengths = {file: file.stat().st_size for file in set(resolved)}
    sharing = Counter(lengths.values())
    first_of: dict[str, int] = {}
    pairs = []
    for index, file in enumerate(resolved):
        identity = _digest(file) if sharing[lengths[file]] > 1 else str(file)
        if identity in first_of:
            pairs.append((first_of[identity], index))
        else:
            first_of[identity] = index
    return pairs


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            digest = hashlib.sha256()
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError:
        return str(file)
    return digest.hexdigest()
