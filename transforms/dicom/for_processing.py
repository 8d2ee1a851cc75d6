"""Renders FOR PROCESSING images, which contain the values measured by the detector, as for presentation."""

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
"""How FOR PROCESSING images are handled: 'render' renders them as for presentation, 'refuse' raises an error, and 'raw'
keeps the measured values, mapped to [0, 1] like all other images (`grayscale/pipeline.py`)."""

_FLOOR = 1e-4
_SAMPLE = 1024  # pixels per side, for percentiles


def check_for_processing(value: str) -> None:
    """Checks the option `for_processing`.

    Raises:
        ValueError: the value is not one of `ForProcessing`.
    """
    if value not in get_args(ForProcessing):
        raise ValueError(f"for_processing expects 'render', 'refuse' or 'raw', got {value!r}.")


def render_for_processing(stored: NDArray[Any], header: Any) -> NDArray[np.float32]:
    """Renders detector values to [0, 1], where brighter is denser, without a VOI LUT.

    Values that are linear in the X-ray intensity (Pixel Intensity Relationship LIN, PS3.3 C.8.11.3.1.2, which is also
    the default) are converted to logarithms, which are proportional to the thickness and density of the tissue
    (Beer-Lambert law). Mammograms are then rendered by `render_mammogram`. All other images, and mammograms in which no
    breast is found, are stretched between their percentiles 0.5 and 99.5.

    Args:
        stored: (H, W) integers as decoded.
        header: pydicom Dataset.

    Returns:
        float32 (H, W) in [0, 1]; padding is 0.
    """
    density, padding = measure_density(stored, header)
    rendered = None
    if read_modality(header) == "MG":
        if padding is not None:  # padding must not be taken for tissue
            density[padding] = density[~padding].min() if not padding.all() else 0.0
        rendered = render_mammogram(torch.from_numpy(density)[None])
    unit = _stretch(density, padding) if rendered is None else rendered[0].numpy()
    if padding is not None:
        unit[padding] = 0.0
    return unit


def measure_density(stored: NDArray[Any], header: Any) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """Computes the logarithmic attenuation, in arbitrary units, from stored values.

    Args:
        stored: (H, W) integers as decoded.
        header: pydicom Dataset.

    Returns:
        The attenuation, float32 (H, W), which increases with the amount of tissue; and bool (H, W), True on padding, or
        None if there is no padding.
    """
    if stored.dtype.itemsize > 2:
        return _to_density(stored.astype(np.int64), header), is_padding(stored, header)
    low, high = int(stored.min()), int(stored.max())
    values = np.arange(low, high + 1, dtype=np.int64)  # a table: one logarithm per value, not per pixel
    index = stored.astype(np.int64) - low
    padding = is_padding(values, header)
    return _to_density(values, header)[index], None if padding is None or not padding.any() else padding[index]


def _to_density(values: NDArray[np.int64], header: Any) -> NDArray[np.float32]:
    """Converts stored values of any shape to density."""
    measured = apply_modality_lut(values, header).astype(np.float64)
    falls = is_inverse(header)
    if (read_code(header, "PixelIntensityRelationship") or "LIN") != "LIN":
        return (-measured if falls else measured).astype(np.float32)
    intensity = measured if falls else measured.max() - measured
    brightest = max(float(intensity.max()), 1e-6)
    return -np.log(np.maximum(intensity / brightest, _FLOOR)).astype(np.float32)


def _stretch(density: NDArray[np.float32], padding: NDArray[np.bool_] | None) -> NDArray[np.float32]:
    """Stretches the range between percentiles 0.5 and 99.5 of the non-padding pixels to [0, 1]."""
    step = max(1, max(density.shape) // _SAMPLE)
    sample = density[::step, ::step]
    if padding is not None and not padding[::step, ::step].all():
        sample = sample[~padding[::step, ::step]]
    low, high = (float(value) for value in np.percentile(sample, [0.5, 99.5]))
    return np.clip((density - low) / (high - low if high > low else 1.0), 0.0, 1.0).astype(np.float32)
