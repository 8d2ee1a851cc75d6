"""PNG pictures of 16 bits a channel in color or with alpha, which Pillow would read through 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SEVERAL_CHANNELS = {2, 4, 6}
"""Color types of RGB, gray with alpha, RGBA (PNG, third edition, 11.2.1)."""

_TURNS: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda array: array[:, ::-1],
    3: lambda array: array[::-1, ::-1],
    4: lambda array: array[::-1],
    5: lambda array: array.swapaxes(0, 1),
    6: lambda array: np.rot90(array, -1),
    7: lambda array: array[::-1, ::-1].swapaxes(0, 1),
    8: lambda array: np.rot90(array),
}
"""Upright by the EXIF orientation (CIPA DC-008, 4.6.5.1)."""


def is_deep_png(path: str | Path) -> bool:
    """Whether a file is a PNG of 16 bits a channel and more than one channel."""
    with Path(path).open("rb") as stream:
        head = stream.read(26)
    return len(head) == 26 and head.startswith(_SIGNATURE) and head[24] == 16 and head[25] in _SEVERAL_CHANNELS


def read_deep_png(path: str | Path, orientation: int = 1) -> NDArray[np.float32]:
    """Decodes such a file by ITK at full depth.

    Args:
        path: the file.
        orientation: of EXIF, by which the picture is turned upright.

    Returns:
        float32 (H, W, C) of whole numbers up to 65,535: RGB, gray and alpha, or RGBA (also where a tRNS chunk says
        which color is transparent).

    Raises:
        RuntimeError: cut short or damaged.
    """
    import itk

    decoder = itk.PNGImageIO.New()
    decoder.SetFileName(str(path))
    decoder.ReadImageInformation()
    kind = itk.Image[itk.Vector[itk.F, decoder.GetNumberOfComponents()], 2]
    reader = itk.ImageFileReader[kind].New(FileName=str(path), ImageIO=decoder)
    reader.Update()
    samples: NDArray[np.float32] = itk.array_from_image(reader.GetOutput())
    turn = _TURNS.get(orientation)
    return samples if turn is None else turn(samples)
