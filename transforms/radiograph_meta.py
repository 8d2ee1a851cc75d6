"""Metadata of a radiograph that was just read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtmedformer_monai.keys import MetaKey

from .geometry.affine import Affine


def make_meta(
    path: str | Path,
    source_shape: tuple[int, ...],
    spacing_mm: NDArray[np.float64] | None = None,
    laterality: str = "",
    view: str = "",
    modality: str = "",
    to_source: Affine | None = None,
    patient_orientation: str = "",
) -> dict[str, Any]:
    """Builds the metadata that `keys.MetaKey` documents; all of it collates.

    Args:
        path: the file.
        source_shape: rows and columns of the source image.
        spacing_mm: row and column spacing; NaN where left out.
        laterality: 'L', 'R', 'B' or ''.
        view: 'PA', 'MLO', ... or ''.
        modality: 'DX', 'MG', ... or ''.
        to_source: identity where left out.
        patient_orientation: see `read_patient_orientation`, or ''.
    """
    return {
        MetaKey.FILENAME: str(path),
        MetaKey.SOURCE_SHAPE: np.array(source_shape[:2], dtype=np.int64),
        MetaKey.TO_SOURCE: np.eye(3) if to_source is None else to_source,
        MetaKey.SPACING_MM: np.full(2, np.nan) if spacing_mm is None else spacing_mm,
        MetaKey.LATERALITY: laterality,
        MetaKey.PATIENT_ORIENTATION: patient_orientation,
        MetaKey.VIEW: view,
        MetaKey.MODALITY: modality,
    }
