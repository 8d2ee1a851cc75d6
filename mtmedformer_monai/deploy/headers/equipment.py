"""Attributes that all written DICOM objects share."""

from __future__ import annotations

from typing import Final

MANUFACTURER: Final = "MTMedFormer-MONAI"
"""Manufacturer (0008,0070) of all written objects."""

DEVICE_SERIAL_NUMBER: Final = "none"
"""Device Serial Number (0018,1000), which software has none of; Enhanced General Equipment requires a value."""
