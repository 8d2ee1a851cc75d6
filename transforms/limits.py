"""Bounds of reading: what a file may claim before anything is allocated for it."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import BrokenPixelDataError

MAX_PIXELS = 2**27
"""Above this a header is taken for nonsense: the largest radiographs (stitched legs, films at 50 um) have half."""

MAX_FILE_BYTES = 2**30
"""Of a picture, of a NIfTI file, of compressed pixel data, and of a header: 16-bit color at `MAX_PIXELS` has 0.75."""

MAX_SCANS = 256
"""Passes over a JPEG picture: a progressive one has about ten, and each costs a decoder the time of a whole picture."""


def check_pixels(path: str | Path, rows: int, columns: int) -> None:
    """Refuses an absurd size.

    Raises:
        BrokenPixelDataError: more than `MAX_PIXELS`.
    """
    if rows * columns > MAX_PIXELS:
        raise BrokenPixelDataError(
            path,
            f"its header says {rows} rows x {columns} columns, more than the {MAX_PIXELS:,} pixels of any radiograph",
            "check its header, or split the image",
        )


def read_bytes(path: str | Path) -> bytes:
    """A whole file.

    Raises:
        BrokenPixelDataError: more than `MAX_FILE_BYTES`.
    """
    with Path(path).open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > MAX_FILE_BYTES:
            raise BrokenPixelDataError(
                path, f"it has {size:,} bytes, more than the {MAX_FILE_BYTES:,} of any radiograph", "split the image"
            )
        return stream.read()
