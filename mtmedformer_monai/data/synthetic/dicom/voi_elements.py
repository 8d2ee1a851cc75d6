"""Adds the windows and VOI lookup tables of FOR PRESENTATION images to the header (DICOM PS3.3 C.11.2)."""

from __future__ import annotations

from collections.abc import Sequence as Several

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from mtmedformer_monai.data.synthetic.mammography.appearance import Window
from mtmedformer_monai.data.synthetic.mammography.scanner import Display

TABLE_BITS = 12
_FIRST = 0.1
"""Start of the lookup tables, as a fraction of the stored range; lower values map to the first entry."""


def add_windows(data: Dataset, windows: Several[Window], display: Display) -> None:
    """Adds windows, and for 'LUT' also the VOI LUTs that viewers apply by default.

    Args:
        data: dataset to which the elements are added.
        windows: windows in fractions of the stored range, where brighter is denser; inverted for MONOCHROME1.
        display: display settings of the device.
    """
    highest = 2**display.bits_stored - 1
    stored = [_as_stored(window, display, highest) for window in windows]
    data.WindowCenter = [center for center, _ in stored]
    data.WindowWidth = [width for _, width in stored]
    data.WindowCenterWidthExplanation = [window.name for window in windows]
    data.VOILUTFunction = "LINEAR" if display.voi == "LINEAR" else "SIGMOID"
    if display.voi == "LUT":
        tables = [_table(*pair, window.name, highest) for pair, window in zip(stored, windows, strict=True)]
        data.VOILUTSequence = Sequence(tables)


def _as_stored(window: Window, display: Display, highest: int) -> tuple[int, int]:
    """Returns center and width in stored values."""
    center = 1.0 - window.center if display.photometric == "MONOCHROME1" else window.center
    return round(center * highest), round(window.width * highest)


def _table(center: float, width: float, name: str, highest: int) -> Dataset:
    """Returns an item of the VOI LUT Sequence with the sigmoid function of PS3.3 C.11.2.1.3.1."""
    first = round(_FIRST * highest)
    values = np.arange(first, highest + 1)
    entries = (2**TABLE_BITS - 1) / (1.0 + np.exp(-4.0 * (values - center) / width))
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, TABLE_BITS])
    item.LUTExplanation = name
    item.add_new("LUTData", "OW", np.round(entries).astype("<u2").tobytes())
    return item
