"""Metadata of a loaded radiograph."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtmedformer_monai.keys import MetaKey

from .dicom.admission import FLAG_SEPARATOR
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
    uids: tuple[str, str, str] = ("", "", ""),
    flags: str = "",
) -> dict[str, Any]:
    """Builds the metadata that `keys.MetaKey` documents; all values can be collated.

    Args:
        path: the file.
        source_shape: rows and columns of the source image.
        spacing_mm: row and column spacing; NaN by default.
        laterality: 'L', 'R', 'B' or ''.
        view: 'PA', 'MLO', ... or ''.
        modality: 'DX', 'MG', ... or ''.
        to_source: affine from image pixels to source pixels; the identity by default.
        patient_orientation: see `read_patient_orientation`, or ''.
        uids: SOP, Series and Study Instance UIDs, or ''.
        flags: see `admission.admit`.
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
        MetaKey.SOP_INSTANCE_UID: uids[0],
        MetaKey.SERIES_INSTANCE_UID: uids[1],
        MetaKey.STUDY_INSTANCE_UID: uids[2],
        MetaKey.FLAGS: flags,
    }


def add_flag(meta: MutableMapping[Any, Any], flag: str) -> None:
    """Adds a warning to those of the input checks; it may not contain `FLAG_SEPARATOR`."""
    meta[MetaKey.FLAGS] = FLAG_SEPARATOR.join(filter(None, [str(meta.get(MetaKey.FLAGS) or ""), flag]))


def describe_meta(meta: Mapping[Any, Any]) -> dict[str, Any]:
    """Describes the source of a result in plain Python types, without anything that identifies a person.

    Args:
        meta: metadata of a loaded radiograph.

    Returns:
        `size` ([rows, columns] or None), `spacing_mm` ([row, column] or None), `modality`, `laterality`, `view` and the
        three UIDs (None if unknown), and `flags`, a list.
    """
    shape = meta.get(MetaKey.SOURCE_SHAPE)
    spacing = [float(value) for value in meta.get(MetaKey.SPACING_MM, (np.nan, np.nan))]
    texts = (
        MetaKey.MODALITY,
        MetaKey.LATERALITY,
        MetaKey.VIEW,
        MetaKey.SOP_INSTANCE_UID,
        MetaKey.SERIES_INSTANCE_UID,
        MetaKey.STUDY_INSTANCE_UID,
    )
    return {
        "size": None if shape is None else [int(length) for length in shape],
        "spacing_mm": spacing if np.isfinite(spacing).all() else None,
        **{key: str(meta.get(key) or "") or None for key in texts},
        "flags": [flag for flag in str(meta.get(MetaKey.FLAGS) or "").split(FLAG_SEPARATOR) if flag],
    }
