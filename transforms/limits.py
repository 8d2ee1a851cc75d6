"""Limits on what a file may declare, checked before any memory is allocated for it."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import BrokenPixelDataError

MAX_PIXELS = 2**27
"""Maximum number of pixels; the largest radiographs (stitched legs, films at 50 um) have half as many."""

MAX_SIDE = 2**15
"""Maximum number of rows or columns; a stitched image of 1.3 m at 50 um has 26,000."""

MAX_FILE_BYTES = 2**30
"""Maximum size of picture and NIfTI files, compressed pixel data and headers: enough for `MAX_PIXELS` in 16-bit RGB."""

MAX_SCANS = 256
"""Maximum number of scans of a JPEG image; progressive ones have about ten, and each takes as long as a whole image."""


MAX_TABLE_BYTES = 2**27
"""Maximum size of a table of labels, and of the parts of an .xlsx file when unpacked; the largest known has 2**24."""


def check_pixels(path: str | Path, rows: int, columns: int) -> None:
    """Refuses an image size that is implausibly large.

    Raises:
        BrokenPixelDataError: the image has more than `MAX_PIXELS`, or a side has more than `MAX_SIDE`.
    """
    if rows * columns > MAX_PIXELS:
        raise BrokenPixelDataError(
            path,
            f"its header says {rows} rows x {columns} columns, more than the {MAX_PIXELS:,} pixels of any radiograph",
            "check its header, or split the image",
        )
    if max(rows, columns) > MAX_SIDE:
        raise BrokenPixelDataError(
            path,
            f"its header says {rows} rows x {columns} columns, and no radiograph has a side of more than {MAX_SIDE:,}",
            "check its header, or split the image",
        )


def read_bytes(path: str | Path) -> bytes:
    """Reads a whole file.

    Raises:
        BrokenPixelDataError: the file has more than `MAX_FILE_BYTES`.
    """
    with Path(path).open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > MAX_FILE_BYTES:
            raise BrokenPixelDataError(
                path, f"it has {size:,} bytes, more than the {MAX_FILE_BYTES:,} of any radiograph", "split the image"
            )
        return stream.read()
