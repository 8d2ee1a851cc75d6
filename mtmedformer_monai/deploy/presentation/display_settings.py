"""How a source is displayed by default, as a presentation state describes it (DICOM PS3.3 C.11.1, C.11.6, C.11.8)."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from mtmedformer_monai.transforms.dicom.code_strings import read_code
from mtmedformer_monai.transforms.dicom.grayscale.lookup_table import Lookup
from mtmedformer_monai.transforms.dicom.grayscale.modality_lut import read_modality_range
from mtmedformer_monai.transforms.dicom.grayscale.voi_lut import read_windows

_TABLE_BITS = 16
"""Bits of the entries of written tables; presentation states allow 8 and 16."""


def presentation_lut_shape(header: Dataset) -> str:
    """Returns 'INVERSE' for MONOCHROME1, whose polarity presentation states ignore (PS3.4 N.2), or else 'IDENTITY'."""
    return "INVERSE" if read_code(header, "PhotometricInterpretation") == "MONOCHROME1" else "IDENTITY"


def copy_display_settings(header: Dataset, state: Dataset) -> None:
    """Adds the source's Modality LUT, its default VOI LUT or window, and its laterality to a presentation state."""
    _add_modality_lut(header, state)
    voi = _voi_item(header)
    if voi is not None:
        state.SoftcopyVOILUTSequence = [voi]
    state.Laterality = series_laterality(header)


def series_laterality(header: Dataset) -> str:
    """Returns the source's laterality, 'R', 'L' or ''. It is an attribute of the series (PS3.3 C.7.3.1)."""
    side = read_code(header, "ImageLaterality") or read_code(header, "Laterality")
    return side if side in {"R", "L"} else ""


def _add_modality_lut(header: Dataset, state: Dataset) -> None:
    """Adds the Modality LUT (C.11.1): the table, or otherwise slope and intercept, or nothing if they do nothing."""
    items = header.get("ModalityLUTSequence")
    lookup = Lookup.from_item(items[0], header) if items else None
    if items and lookup is not None:
        item = _table(lookup.entries, lookup.first)
        item.ModalityLUTType = read_code(items[0], "ModalityLUTType") or "US"
        state.ModalityLUTSequence = [item]
        return
    slope, intercept = header.get("RescaleSlope"), header.get("RescaleIntercept")
    if slope is None and intercept is None:
        return
    state.RescaleSlope = float(slope or 1.0)
    state.RescaleIntercept = float(intercept or 0.0)
    state.RescaleType = read_code(header, "RescaleType") or "US"


def _voi_item(header: Dataset) -> Dataset | None:
    """The first VOI LUT, or otherwise the first window, which viewers apply by default."""
    items = header.get("VOILUTSequence")
    lookup = Lookup.from_item(items[0], header, read_modality_range(header)) if items else None
    if lookup is not None:
        highest = 2**_TABLE_BITS - 1
        return _sequence_item(_table(np.round(lookup.entries * (highest / (2**lookup.bits - 1))), lookup.first))
    windows = read_windows(header)
    if not windows:
        return None
    item = Dataset()
    item.WindowCenter, item.WindowWidth = windows[0]
    function = read_code(header, "VOILUTFunction")
    if function in {"LINEAR", "LINEAR_EXACT", "SIGMOID"}:
        item.VOILUTFunction = function
    return item


def _sequence_item(table: Dataset) -> Dataset:
    item = Dataset()
    item.VOILUTSequence = [table]
    return item


def _table(entries: Any, first: int) -> Dataset:
    """Returns an item of a LUT sequence with 16-bit entries (C.11.1.1.1)."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US" if first >= 0 else "SS", [_word(len(entries), first), first, _TABLE_BITS])
    item.add_new("LUTData", "OW", np.asarray(entries).astype("<u2").tobytes())
    return item


def _word(count: int, first: int) -> int:
    """The number of entries as the 16-bit word of the descriptor: 0 stands for 65536, and SS has no larger numbers."""
    word = count % 2**16
    return word - 2**16 if first < 0 and word >= 2**15 else word
