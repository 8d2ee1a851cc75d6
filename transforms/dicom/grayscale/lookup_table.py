"""A DICOM lookup table: the common part of Modality LUT and VOI LUT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Lookup:
    """One item of a LUT sequence (DICOM PS3.3 C.11.1.1.1 and C.11.2.1.1).

    Attributes:
        entries: int64 (N,), the output values.
        first: input value that maps to the first entry.
        bits: output bits, so that the output range is 0 to 2**bits - 1.
    """

    entries: NDArray[np.int64]
    first: int
    bits: int

    @classmethod
    def from_item(cls, item: Any, header: Any) -> Lookup | None:
        """Reads one sequence item; None where its descriptor or data are missing or do not fit together.

        Args:
            item: pydicom Dataset with LUTDescriptor and LUTData.
            header: the pydicom Dataset around it, for its byte order.
        """
        descriptor, data = item.get("LUTDescriptor"), item.get("LUTData")
        if descriptor is None or data is None or len(descriptor) != 3:
            return None
        count, first, bits = (int(number) for number in descriptor)
        count = count % 2**16 or 2**16  # 0 stands for 65536; VR SS shows large counts as negative ones
        entries = _entries(data, count, _is_little_endian(header))
        if len(entries) < count:
            return None
        # Some writers declare fewer bits than the entries use; the range must hold all entries.
        used_bits = int(entries[:count].max()).bit_length()
        return cls(entries[:count], first, max(bits, used_bits, 1))

    def __call__(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Maps values of any shape; values below the first or above the last entry take the nearest entry."""
        index = np.floor(values).astype(np.int64) - self.first
        mapped: NDArray[np.int64] = self.entries[np.clip(index, 0, len(self.entries) - 1)]
        return mapped


def _entries(data: Any, count: int, little_endian: bool) -> NDArray[np.int64]:
    """LUT Data as integers: a list (VR US or SS), or bytes (VR OW) with one or two bytes an entry."""
    if not isinstance(data, bytes):
        return np.atleast_1d(np.asarray(data, dtype=np.int64)) & 0xFFFF
    if len(data) < 2 * count:  # 8-bit entries packed two a word
        return np.frombuffer(data, dtype=np.uint8).astype(np.int64)
    order = "<" if little_endian else ">"
    return np.frombuffer(data[: 2 * count], dtype=f"{order}u2").astype(np.int64)


def _is_little_endian(header: Any) -> bool:
    """False for the retired big endian transfer syntax only."""
    syntax = getattr(getattr(header, "file_meta", None), "TransferSyntaxUID", None)
    return syntax is None or bool(syntax.is_little_endian)
