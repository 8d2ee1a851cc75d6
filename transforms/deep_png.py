"""Reads PNG images with 16 bits per channel in color or with alpha, which Pillow would reduce to 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SEVERAL_CHANNELS = {2, 4, 6}
"""Color types of RGB, gray with alpha, RGBA (PNG, third edition, 11.2.1)."""

_ORIENTATIONS: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda array: array[:, ::-1],
    3: lambda array: array[::-1, ::-1],
    4: lambda array: array[::-1],
    5: lambda array: array.swapaxes(0, 1),
    6: lambda array: np.rot90(array, -1),
    7: lambda array: array[::-1, ::-1].swapaxes(0, 1),
    8: lambda array: np.rot90(array),
}
"""Operations that bring an image upright, by EXIF orientation (CIPA DC-008, 4.6.5.1)."""


def is_deep_png(path: str | Path) -> bool:
    """Returns whether a file is a PNG with 16 bits per channel and more than one channel."""
    with Path(path).open("rb") as stream:
        head = stream.read(26)
    return len(head) == 26 and head.startswith(_SIGNATURE) and head[24] == 16 and head[25] in _SEVERAL_CHANNELS


def read_deep_png(path: str | Path, orientation: int = 1) -> NDArray[np.float32]:
    """Decodes a 16-bit PNG with ITK at full bit depth.

    Args:
        path: the file.
        orientation: EXIF orientation, according to which the image is brought upright.

    Returns:
        float32 (H, W, C) with integer values up to 65,535: RGB, gray and alpha, or RGBA (also if a tRNS chunk defines a
        transparent color).

    Raises:
        RuntimeError: the file is truncated or damaged.
    """
    import itk

    decoder = itk.PNGImageIO.New()
    decoder.SetFileName(str(path))
    decoder.ReadImageInformation()
    kind = itk.Image[itk.Vector[itk.F, decoder.GetNumberOfComponents()], 2]
    reader = itk.ImageFileReader[kind].New(FileName=str(path), ImageIO=decoder)
    reader.Update()
    samples: NDArray[np.float32] = itk.array_from_image(reader.GetOutput())
    make_upright = _ORIENTATIONS.get(orientation)
    return samples if make_upright is None else make_upright(samples)
