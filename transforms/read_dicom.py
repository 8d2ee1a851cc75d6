"""Reads one DICOM projection radiograph."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from .color import to_luminance
from .decode import decode_pixels
from .errors import (
    BrokenPixelDataError,
    RadiographError,
    RefusedImageError,
    UnreadableFileError,
    UnsupportedImageError,
    UnsupportedModalityError,
)
from .for_processing import ForProcessing, check_for_processing, render_for_processing
from .grayscale import to_unit_range
from .header import ALLOWED_TAGS, is_for_processing, read_laterality, read_modality, read_view
from .mammogram_rules import MammogramRules, as_rules, check_mammogram
from .patient_orientation import read_patient_orientation
from .radiograph_meta import make_meta
from .spacing import read_spacing_mm
from .voi_lut import apply_voi_lut

MODALITIES = ("CR", "DX", "MG", "RG")
"""2D projection radiography: computed, digital, mammographic, and what is neither (films, captures)."""

_IMAGE_TAGS = {pydicom.tag.Tag("Modality"), pydicom.tag.Tag("Rows")}


def read_dicom(
    path: str | Path,
    modalities: Collection[str] | None = MODALITIES,
    voi_index: int = 0,
    for_processing: ForProcessing = "render",
    rules: MammogramRules | Mapping[str, Any] | None = None,
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Reads a DICOM file into the contract of `read_radiograph`.

    Args:
        path: the file.
        modalities: admitted values of Modality; None admits all.
        voi_index: which alternative of VOI LUT or window; 0 is the maker's default.
        for_processing: what becomes of FOR PROCESSING images, see `for_processing.py`.
        rules: for mammograms that are no standard ones.

    Returns:
        float32 (H, W) in [0, 1], and metadata (`keys.MetaKey`).

    Raises:
        RadiographError: one of its kinds, see `errors.py`.
        ValueError: an unknown `for_processing` or rule.
    """
    check_for_processing(for_processing)
    header = read_header(path)
    modality = read_modality(header)
    if modalities is not None and modality not in modalities:
        raise UnsupportedModalityError(
            path,
            f"its modality is {modality or 'missing'}, and {', '.join(sorted(modalities))} are admitted",
            f"leave it out, or admit it by modalities={sorted({*modalities, modality or 'OT'})} "
            "(None admits all, a missing one too)",
        )
    check_mammogram(path, header, as_rules(rules))
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


def read_header(path: str | Path) -> Any:
    """The pydicom Dataset of a file, with the allowed elements alone: `header.ALLOWED_TAGS`.

    Raises:
        UnreadableFileError: pydicom does not read it.
    """
    with warnings.catch_warnings():  # pydicom's warnings quote values of the header
        warnings.simplefilter("ignore")
        try:
            header = pydicom.dcmread(path, force=True, specific_tags=list(ALLOWED_TAGS))
            if not _IMAGE_TAGS & set(header.keys()):
                raise _empty(path)
        except (RadiographError, OSError, MemoryError):
            raise
        except Exception as error:  # a broken file fails anywhere in the parser
            raise UnreadableFileError(
                path, f"its DICOM header does not parse ({type(error).__name__})", "fetch it again from its archive"
            ) from error
    if "TransferSyntaxUID" not in header.file_meta:
        header.file_meta.TransferSyntaxUID = _guess_transfer_syntax(header)
    return header


def _empty(path: str | Path) -> RadiographError:
    """Tells why nothing was parsed: pydicom drops every element of a file that ends inside an encapsulated one."""
    header = pydicom.dcmread(path, force=True, specific_tags=list(ALLOWED_TAGS), stop_before_pixels=True)
    remedy = "fetch it again from its archive, or leave it out"
    if _IMAGE_TAGS & set(header.keys()):
        return BrokenPixelDataError(path, "it ends inside its pixel data", remedy)
    return UnreadableFileError(path, "its DICOM header is cut short, or is none", remedy)


def _guess_transfer_syntax(header: Any) -> Any:
    """Files without a meta group are, by the default of PS3.5 10.1, uncompressed."""
    if header.is_implicit_VR:
        return pydicom.uid.ImplicitVRLittleEndian
    return pydicom.uid.ExplicitVRLittleEndian if header.is_little_endian else pydicom.uid.ExplicitVRBigEndian


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
    except IndexError as error:
        raise UnsupportedImageError(path, str(error), "choose another voi_index (0 is the maker's default)") from error
    except NotImplementedError as error:
        raise UnsupportedImageError(
            path, f"its Photometric Interpretation is {error}", "convert it to MONOCHROME2 or RGB"
        ) from error
