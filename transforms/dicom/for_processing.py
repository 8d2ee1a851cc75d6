"""FOR PROCESSING images: what a detector measured, made to look like what is presented to a radiologist."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from mtmedformer_monai.transforms.mammography.presentation_appearance import render_mammogram

from .code_strings import read_code
from .grayscale.modality_lut import apply_modality_lut
from .grayscale.padding import is_padding
from .grayscale.polarity import is_inverse
from .header import read_modality

ForProcessing = Literal["render", "refuse", "raw"]
"""'render' makes them look like those for presentation, 'refuse' raises, 'raw' leaves what was measured, mapped as all
other images are (`grayscale.py`)."""

_FLOOR = 1e-4
_SAMPLE = 1024  # pixels a side, for percentiles


def check_for_processing(value: str) -> None:
    """Tells a mistyped knob.

    Raises:
        ValueError: none of `ForProcessing`.
    """
    if value not in get_args(ForProcessing):
        raise ValueError(f"for_processing expects 'render', 'refuse' or 'raw', got {value!r}.")


def render_for_processing(stored: NDArray[Any], header: Any) -> NDArray[np.float32]:
    """Renders the detector's values to [0, 1], brighter is denser, without any VOI LUT.

    Values that are linear in the X-ray intensity (Pixel Intensity Relationship LIN, PS3.3 C.8.11.3.1.2, or not said)
    become logarithms, which are proportional to the tissue's thickness and density (Beer and Lambert). Mammograms are
    then rendered by `render_mammogram`; all others, and mammograms without a breast, are stretched between their
    percentiles 0.5 and 99.5.

    Args:
        stored: (H, W) integers as decoded.
        header: pydicom Dataset.

    Returns:
        float32 (H, W) in [0, 1]; padding is 0.
    """
    density, padding = measure_density(stored, header)
    rendered = None
    if read_modality(header) == "MG":
        if padding is not None:  # nothing passes for tissue there
            density[padding] = density[~padding].min() if not padding.all() else 0.0
        rendered = render_mammogram(torch.from_numpy(density)[None])
    unit = _stretch(density, padding) if rendered is None else rendered[0].numpy()
    if padding is not None:
        unit[padding] = 0.0
    return unit


def measure_density(stored: NDArray[Any], header: Any) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """Attenuation on a logarithmic scale, in the device's units, from stored values.

    Args:
        stored: (H, W) integers as decoded.
        header: pydicom Dataset.

    Returns:
        float32 (H, W), larger behind more tissue; and bool (H, W), True on padding, or None where none is declared.
    """
    if stored.dtype.itemsize > 2:
        return _to_density(stored.astype(np.int64), header), is_padding(stored, header)
    low, high = int(stored.min()), int(stored.max())
    values = np.arange(low, high + 1, dtype=np.int64)  # a table: one logarithm a value, not one a pixel
    index = stored.astype(np.int64) - low
    padding = is_padding(values, header)
    return _to_density(values, header)[index], None if padding is None or not padding.any() else padding[index]


def _to_density(values: NDArray[np.int64], header: Any) -> NDArray[np.float32]:
    """Density of stored values of any shape."""
    measured = apply_modality_lut(values, header).astype(np.float64)
    falls = is_inverse(header)
    if (read_code(header, "PixelIntensityRelationship") or "LIN") != "LIN":
        return (-measured if falls else measured).astype(np.float32)
    intensity = measured if falls else measured.max() - measured
    brightest = max(float(intensity.max()), 1e-6)
    return -np.log(np.maximum(intensity / brightest, _FLOOR)).astype(np.float32)


def _stretch(density: NDArray[np.float32], padding: NDArray[np.bool_] | None) -> NDArray[np.float32]:
    """Percentiles 0.5 and 99.5 of what is no padding to [0, 1]."""
    step = max(1, max(density.shape) // _SAMPLE)
    sample = density[::step, ::step]
    if padding is not None and not padding[::step, ::step].all():
        sample = sample[~padding[::step, ::step]]
    low, high = (float(value) for value in np.percentile(sample, [0.5, 99.5]))
    return np.clip((density - low) / (high - low if high > low else 1.0), 0.0, 1.0).astype(np.float32)
