"""DICOM lookup tables, as used by the Modality LUT and VOI LUT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .context_vr import Range, choose_first, is_little_endian, read_stored_range, read_words


@dataclass(frozen=True)
class Lookup:
    """One item of a LUT sequence (DICOM PS3.3 C.11.1.1.1 and C.11.2.1.1).

    Attributes:
        entries: int64 (N,), the output values.
        first: input value that maps to the first entry.
        bits: number of output bits; the output range is 0 to 2**bits - 1. It is derived from the largest entry instead
            of the descriptor, as in Cornerstone and Horos: some files declare 16 bits but use 12, which would be nearly
            black if the standard were followed literally, and others declare 8 but use 12.
    """

    entries: NDArray[np.int64]
    first: int
    bits: int

    @classmethod
    def from_item(cls, item: Any, header: Any, inputs: Range | None = None) -> Lookup | None:
        """Reads one sequence item; returns None if its descriptor or data are missing or inconsistent.

        Args:
            item: pydicom Dataset with LUTDescriptor and LUTData.
            header: the pydicom Dataset that contains the item, for its byte order.
            inputs: range of the values to be mapped; by default, the range of the stored values.
        """
        return cls.from_values(item.get("LUTDescriptor"), item.get("LUTData"), header, inputs)

    @classmethod
    def from_values(cls, descriptor: Any, data: Any, header: Any, inputs: Range | None = None) -> Lookup | None:
        """Reads a table from the values of its descriptor and data; see `from_item`."""
        words = read_words(descriptor, header)
        if data is None or len(words) != 3:
            return None
        count = words[0] or 2**16  # 0 stands for 65536
        entries = _entries(data, count, is_little_endian(header))
        if len(entries) < count:
            return None
        declared = words[1] if isinstance(descriptor, bytes) else int(descriptor[1])
        first = choose_first(words[1], count, inputs or read_stored_range(header), declared)
        return cls(entries[:count], first, max(int(entries[:count].max()).bit_length(), 1))

    def __call__(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Maps values of any shape; values before the first or after the last entry map to the nearest entry."""
        index = np.floor(values).astype(np.int64) - self.first
        mapped: NDArray[np.int64] = self.entries[np.clip(index, 0, len(self.entries) - 1)]
        return mapped


def _entries(data: Any, count: int, little_endian: bool) -> NDArray[np.int64]:
    """Converts LUT Data to integers: a list (VR US or SS), or bytes (VR OW), with one or two bytes per entry."""
    order = "<" if little_endian else ">"
    if not isinstance(data, bytes):
        words = np.atleast_1d(np.asarray(data, dtype=np.int64)) & 0xFFFF
        if len(words) >= count:
            return words
        data = words.astype(f"{order}u2").tobytes()  # two entries per word, the first in its low byte
    if len(data) < 2 * count:  # 8-bit entries packed two per word
        packed = data if little_endian else np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").tobytes()
        return np.frombuffer(packed, dtype=np.uint8).astype(np.int64)
    return np.frombuffer(data[: 2 * count], dtype=f"{order}u2").astype(np.int64)
