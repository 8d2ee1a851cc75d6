"""Affine geometry of images, in pixel-edge coordinates.

A point is (x, y), with x increasing to the right (columns) and y downward (rows). The pixel in row i and column j
covers [j, j + 1) x [i, i + 1), its center is (j + 0.5, i + 0.5), and a whole image is the box (0, 0, W, H). Every map
is a float64 (3, 3) matrix that acts on (x, y, 1). Axis legend: N boxes or points.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Affine = NDArray[np.float64]

_ROWS_AT_ONCE = 512
"""Rows resampled at once: the float64 coordinates take 32 bytes per pixel, or 440 MB for a whole mammogram."""


def scaling(x: float, y: float) -> Affine:
    """Returns the map that scales x and y."""
    return np.array([[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, 1.0]])


def translation(x: float, y: float) -> Affine:
    """Returns the map that shifts x and y."""
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def compose(*maps: Affine) -> Affine:
    """Composes maps into one; the last of `maps` is applied first, as in a matrix product."""
    return reduce(np.matmul, maps)


def invert(matrix: Affine) -> Affine:
    """Returns the inverse map."""
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def as_affine(value: Any) -> Affine:
    """Converts an affine from image metadata to a float64 (3, 3) array.

    Collating a batch replaces the arrays in the metadata with tensors, so both are accepted.

    Raises:
        ValueError: the shape is not (3, 3).
    """
    matrix = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value, dtype=np.float64)
    if matrix.shape != (3, 3):
        raise ValueError(f"to_source expects a (3, 3) matrix of one image, got {matrix.shape}; decollate the batch.")
    return matrix


def map_points(points: Tensor, matrix: Affine) -> Tensor:
    """Maps (N, 2) points (x, y); the dtype is preserved."""
    homogeneous = torch.as_tensor(matrix, dtype=torch.float64, device=points.device)
    mapped = points.to(torch.float64) @ homogeneous[:2, :2].T + homogeneous[:2, 2]
    return mapped.to(points.dtype)


def map_boxes(boxes: Tensor, matrix: Affine) -> Tensor:
    """Maps (N, 4) boxes x1, y1, x2, y2 to the axis-aligned bounding boxes of their mapped corners.

    The result is exact unless the map rotates by an angle other than a multiple of 90 degrees, or shears.
    """
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2)
    mapped = map_points(corners, matrix).reshape(-1, 4, 2)
    return torch.cat([mapped.amin(dim=1), mapped.amax(dim=1)], dim=1)


def resample(
    image: Tensor, to_input: Affine, size: tuple[int, int], mode: str = "bilinear", outside: float = 0.0
) -> Tensor:
    """Resamples an image on another grid.

    Args:
        image: float (C, H, W). With mode 'nearest' it may contain NaN.
        to_input: maps output points to input points.
        size: (h, w) of the output.
        mode: 'bilinear' or 'nearest'.
        outside: value of output pixels whose centers fall outside the input.

    Returns:
        (C, h, w) with the dtype of the image.
    """
    bands = [(row, min(row + _ROWS_AT_ONCE, size[0])) for row in range(0, size[0], _ROWS_AT_ONCE)]
    return torch.cat([_resample_rows(image, to_input, band, size[1], mode, outside) for band in bands], dim=1)


def _resample_rows(
    image: Tensor, to_input: Affine, band: tuple[int, int], width: int, mode: str, outside: float
) -> Tensor:
    """Resamples rows `band[0]` to `band[1]` of the output, (C, rows, width)."""
    if mode == "bilinear" and to_input[0, 1] == 0.0 and to_input[1, 0] == 0.0:
        return _resample_separably(image, to_input, band, width, outside)
    centers, inside = _sample_points(to_input, band, width, image.shape[-2:])
    if mode == "nearest":
        column = centers[..., 0].floor().long().clamp(0, image.shape[-1] - 1)
        row = centers[..., 1].floor().long().clamp(0, image.shape[-2] - 1)
        sampled = image[:, row, column]
    else:
        shape = torch.tensor([image.shape[-1], image.shape[-2]], dtype=torch.float64)
        grid = (2.0 * centers / shape - 1.0).to(image.dtype)[None]
        sampled = functional.grid_sample(image[None], grid, mode, "border", align_corners=False)[0]
    return torch.where(inside, sampled, torch.as_tensor(outside, dtype=image.dtype))


def _resample_separably(image: Tensor, to_input: Affine, band: tuple[int, int], width: int, outside: float) -> Tensor:
    """Resamples rows without rotation or shear: rows first, then columns, in a third of the time of `grid_sample`."""
    y = (torch.arange(*band, dtype=torch.float64) + 0.5) * float(to_input[1, 1]) + float(to_input[1, 2])
    x = (torch.arange(width, dtype=torch.float64) + 0.5) * float(to_input[0, 0]) + float(to_input[0, 2])
    lower, upper, weight = _neighbors(y, image.shape[-2])
    rows = torch.lerp(image[:, lower], image[:, upper], weight.to(image.dtype)[:, None])
    left, right, weight = _neighbors(x, image.shape[-1])
    sampled = torch.lerp(rows[..., left], rows[..., right], weight.to(image.dtype))
    sampled[:, (y < 0) | (y >= image.shape[-2])] = outside
    sampled[..., (x < 0) | (x >= image.shape[-1])] = outside
    return sampled


def _neighbors(points: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the two pixels between whose centers each point lies, and its position between them in [0, 1].

    Points outside the outermost centers take the value of the outermost pixel.
    """
    place = (points - 0.5).clamp(0, length - 1)
    first = place.floor()
    lower = first.long()
    return lower, (lower + 1).clamp(max=length - 1), place - first


def _sample_points(to_input: Affine, band: tuple[int, int], width: int, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Returns the input points (rows, width, 2) of the output's pixel centers, and whether each is inside the input."""
    rows = torch.arange(*band, dtype=torch.float64) + 0.5
    columns = torch.arange(width, dtype=torch.float64) + 0.5
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    matrix = torch.from_numpy(np.ascontiguousarray(to_input))
    points = torch.stack([x, y], dim=-1) @ matrix[:2, :2].T + matrix[:2, 2]
    inside = (points[..., 0] >= 0) & (points[..., 0] < shape[1]) & (points[..., 1] >= 0) & (points[..., 1] < shape[0])
    return points, inside


def resize_area(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes (C, H, W) to (C, h, w); each axis is antialiased where it shrinks and bilinear where it grows.

    The antialiasing filter is a triangle as wide as the scale factor, without a Gaussian blur beforehand. It is as fast
    as box averaging but has no discontinuities at fractional scale factors.
    """
    shrinks = size[0] < image.shape[1] or size[1] < image.shape[2]  # without antialiasing, it takes half the time
    resized = functional.interpolate(image[None], size, mode="bilinear", antialias=shrinks, align_corners=False)
    return resized[0]


def resize_nearest(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes (C, H, W) to (C, h, w) by nearest-neighbor interpolation; NaN is preserved."""
    return functional.interpolate(image[None], size, mode="nearest-exact")[0]


_SWAP = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
_FROM_CENTERS, _TO_CENTERS = compose(_SWAP, translation(-0.5, -0.5)), compose(translation(0.5, 0.5), _SWAP)


def index_affine(to_source: Affine, spacing_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the float64 (4, 4) affine that a MONAI MetaTensor carries.

    It maps pixel indices (row, column, 0, 1) of the current image to millimeters along the rows and columns of the
    source image, measured from the center of the source's first pixel. If the spacing is unknown, the unit is source
    pixels.
    """
    centers = compose(_FROM_CENTERS, to_source, _TO_CENTERS)
    step = np.where(np.isfinite(spacing_mm), spacing_mm, 1.0)
    affine = np.eye(4)
    affine[:2, :2] = step[:, None] * centers[:2, :2]
    affine[:2, 3] = step * centers[:2, 2]
    return affine
