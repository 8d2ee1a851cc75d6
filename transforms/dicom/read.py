"""Reads one DICOM projection radiograph."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtmedformer_monai.transforms.color import to_luminance
from mtmedformer_monai.transforms.errors import (
    RadiographError,
    RefusedImageError,
    UnreadableFileError,
    UnsupportedImageError,
    UnsupportedModalityError,
)
from mtmedformer_monai.transforms.geometry.patient_orientation import read_patient_orientation
from mtmedformer_monai.transforms.radiograph_meta import make_meta

from .admission import AdmissionRules, admit
from .for_processing import ForProcessing, check_for_processing, render_for_processing
from .grayscale.modality_lut import RescaleError
from .grayscale.pipeline import to_unit_range
from .grayscale.voi_lut import apply_voi_lut
from .header import is_for_processing, read_laterality, read_modality, read_uids, read_view
from .mammogram_rules import as_rules
from .parse import read_header as read_header
from .pixels.decode import decode_pixels
from .spacing import read_spacing_mm

MODALITIES = ("CR", "DX", "MG", "RG")
"""2D projection radiography: computed, digital, mammographic, and what is neither (films, captures)."""


def read_dicom(
    path: str | Path,
    modalities: Collection[str] | None = MODALITIES,
    voi_index: int = 0,
    for_processing: ForProcessing = "render",
    rules: AdmissionRules | Mapping[str, Any] | None = None,
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Reads a DICOM file into the contract of `read_radiograph`.

    Args:
        path: the file.
        modalities: admitted values of Modality; None admits all.
        voi_index: which alternative of VOI LUT or window; 0 is the maker's default.
        for_processing: what becomes of FOR PROCESSING images, see `for_processing.py`.
        rules: which kinds of images are admitted, see `admission.py`.

    Returns:
        float32 (H, W) in [0, 1], and metadata (`keys.MetaKey`).

    Raises:
        RadiographError: one of its kinds, see `errors.py`.
        ValueError: an unknown `for_processing` or rule.
    """
    check_for_processing(for_processing)
    known_rules = as_rules(rules)
    header = read_header(path)
    try:
        return _read(path, header, modalities, voi_index, for_processing, known_rules)
    except (RadiographError, OSError, MemoryError):
        raise
    except Exception as error:  # elements that contradict one another fail anywhere
        raise UnreadableFileError(
            path, f"its DICOM header makes no sense ({type(error).__name__})", "correct the file or exclude it"
        ) from error


def _read(
    path: str | Path,
    header: Any,
    modalities: Collection[str] | None,
    voi_index: int,
    for_processing: ForProcessing,
    rules: AdmissionRules,
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """The image of a header that parses."""
    modality = read_modality(header)
    if modalities is not None and modality not in modalities:
        raise UnsupportedModalityError(
            path,
            f"its modality is {modality or 'missing'}, but only {', '.join(sorted(modalities))} are admitted",
            f"exclude it, or admit it by modalities={sorted({*modalities, modality or 'OT'})} "
            "(None admits all, a missing one too)",
        )
    flags = admit(path, header, rules)
    if for_processing == "refuse" and is_for_processing(header):
        raise RefusedImageError(
            path,
            "it is FOR PROCESSING, and for_processing='refuse'",
            "take the image FOR PRESENTATION of the same exposure, or set for_processing='render'",
        )
    image = _to_image(path, header, voi_index, for_processing == "render" and needs_rendering(header))
    meta = make_meta(
        path,
        image.shape,
        read_spacing_mm(header),
        read_laterality(header),
        read_view(header),
        modality,
        patient_orientation=read_patient_orientation(header),
        uids=read_uids(header),
        flags=flags,
    )
    return image, meta


def needs_rendering(header: Any) -> bool:
    """Whether an image is FOR PROCESSING and nothing usable tells how to show it.

    A VOI LUT or window, where one stands in such a DX or CR header, is what its maker wants; in MG headers, which
    must not have one (PS3.3 A.27.3), it is the measured values' whole range.
    """
    if not is_for_processing(header):
        return False
    return read_modality(header) == "MG" or apply_voi_lut(np.zeros(1), header) is None


def _to_image(path: str | Path, header: Any, voi_index: int, render: bool) -> NDArray[np.float32]:
    """Decodes, and maps to [0, 1] by what the Photometric Interpretation says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pixels, photometric = decode_pixels(path, header)
    try:
        if photometric in {"MONOCHROME1", "MONOCHROME2"}:
            if render:
                return render_for_processing(pixels, header)
            return to_unit_range(pixels, header, voi_index)
        return to_luminance(pixels, photometric, header)
    except RescaleError as error:
        raise UnreadableFileError(path, f"its {error}", "correct its header") from error
    except IndexError as error:
        raise UnsupportedImageError(path, str(error), "choose another voi_index (0 is the maker's default)") from error
    except NotImplementedError as error:
        raise UnsupportedImageError(
            path, f"its Photometric Interpretation is {error}", "convert it to MONOCHROME2 or RGB"
        ) from error
