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
from .modalities import describe_modality
from .parse import read_header as read_header
from .pixels.decode import decode_pixels
from .spacing import read_spacing_mm

MODALITIES = ("CR", "DX", "MG", "RG")
"""Modalities of 2D projection radiography: computed, digital, mammographic, and radiographic imaging (films)."""


def read_dicom(
    path: str | Path,
    modalities: Collection[str] | None = MODALITIES,
    voi_index: int = 0,
    for_processing: ForProcessing = "render",
    rules: AdmissionRules | Mapping[str, Any] | None = None,
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Reads a DICOM file; the result is that of `read_radiograph`.

    Args:
        path: the file.
        modalities: admitted values of Modality; None admits all.
        voi_index: index of the VOI LUT or window; 0 is the manufacturer's default.
        for_processing: how FOR PROCESSING images are handled; see `for_processing.py`.
        rules: which kinds of images are admitted; see `admission.py`.

    Returns:
        The image, float32 (H, W) in [0, 1], and its metadata (`keys.MetaKey`).

    Raises:
        RadiographError: the file cannot be read, or it is refused; see `errors.py` for the subclasses.
        ValueError: `for_processing` or a rule is unknown.
    """
    check_for_processing(for_processing)
    known_rules = as_rules(rules)
    header = read_header(path)
    try:
        return _read(path, header, modalities, voi_index, for_processing, known_rules)
    except (RadiographError, OSError, MemoryError):
        raise
    except Exception as error:  # contradictory elements can fail anywhere
        raise UnreadableFileError(
            path, f"its DICOM header is inconsistent ({type(error).__name__})", "correct the file or exclude it"
        ) from error


def _read(
    path: str | Path,
    header: Any,
    modalities: Collection[str] | None,
    voi_index: int,
    for_processing: ForProcessing,
    rules: AdmissionRules,
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Reads the image and metadata of a parsed header."""
    modality = read_modality(header)
    if modalities is not None and modality not in modalities:
        shown = modality if describe_modality(modality) == modality else "OT"
        raise UnsupportedModalityError(
            path,
            f"its modality is {describe_modality(modality)}, but only {', '.join(sorted(modalities))} are admitted",
            f"exclude it, or admit it by modalities={sorted({*modalities, shown})} "
            "(None admits all modalities, including a missing one)",
        )
    flags = admit(path, header, rules)
    if for_processing == "refuse" and is_for_processing(header):
        raise RefusedImageError(
            path,
            "it is FOR PROCESSING, and for_processing='refuse'",
            "take the image FOR PRESENTATION of the same exposure, or set for_processing='render'",
            "for_processing",
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
    """Returns whether an image is FOR PROCESSING and has no usable VOI LUT or window.

    In DX and CR headers, a VOI LUT or window is the rendering intended by the manufacturer. MG headers of such images
    must not contain one (PS3.3 A.27.3); if they do, it covers the whole range of the measured values and is ignored.
    """
    if not is_for_processing(header):
        return False
    return read_modality(header) == "MG" or apply_voi_lut(np.zeros(1), header) is None


def _to_image(path: str | Path, header: Any, voi_index: int, render: bool) -> NDArray[np.float32]:
    """Decodes the pixels, and maps them to [0, 1] according to the Photometric Interpretation."""
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
        raise UnsupportedImageError(
            path, str(error), "choose another voi_index (0 is the manufacturer's default)"
        ) from error
    except NotImplementedError as error:
        raise UnsupportedImageError(
            path, f"its Photometric Interpretation is {error}", "convert it to MONOCHROME2 or RGB"
        ) from error
