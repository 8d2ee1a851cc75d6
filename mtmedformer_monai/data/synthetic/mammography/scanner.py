"""Devices of a synthetic mammography cohort: two that present, one that sends raw images, and a film scanner."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Receptor:
    """What takes the image.

    Attributes:
        kind: 'DIRECT', 'SCINTILLATOR' or 'FILM', as DetectorType says (PS3.3 C.8.11.4).
        field_mm: height of the field at the patient.
        aspect: rows over columns.
        magnification: of the patient on the receptor.
        noise: quantum noise at unit exposure.
        blur_mm: of a point.
    """

    kind: str
    field_mm: float
    aspect: float
    magnification: float
    noise: float
    blur_mm: float


@dataclass(frozen=True)
class Display:
    """What the device makes of it.

    Attributes:
        photometric: 'MONOCHROME1' or 'MONOCHROME2'.
        bits_stored: 9 to 16.
        voi: 'LUT' (VOI LUT Sequence, and sigmoid windows beside it), 'SIGMOID' or 'LINEAR' (windows), or '' for a raw
            image, FOR PROCESSING.
        has_padding: whether all beside the breast is Pixel Padding.
        equalize: share of the fall of thickness near the skin that is evened out.
        sharpen: gain of fine detail.
        contrast: slope of the curve.
    """

    photometric: str
    bits_stored: int
    voi: str
    has_padding: bool = False
    equalize: float = 0.0
    sharpen: float = 0.0
    contrast: float = 1.0


@dataclass(frozen=True)
class MammographyScanner:
    """One site's device.

    Attributes:
        name: of the site.
        receptor: what takes the image.
        display: what the device makes of it.
        is_mirrored: whether images are stored left for right; PatientOrientation says so.
    """

    name: str
    receptor: Receptor
    display: Display
    is_mirrored: bool = False

    @property
    def is_raw(self) -> bool:
        """Whether images are FOR PROCESSING."""
        return not self.display.voi

    @property
    def is_film(self) -> bool:
        """Whether films are digitized."""
        return self.receptor.kind == "FILM"


MAMMOGRAPHY_SCANNERS = (
    MammographyScanner(
        "site_a",
        Receptor("SCINTILLATOR", 236.0, 1.25, 1.0, 0.0040, 0.25),
        Display("MONOCHROME2", 12, "LUT", has_padding=True, equalize=0.75, sharpen=0.3, contrast=1.1),
    ),
    MammographyScanner(
        "site_b",
        Receptor("DIRECT", 250.0, 1.28, 1.07, 0.0060, 0.15),
        Display("MONOCHROME2", 14, "SIGMOID", has_padding=True, equalize=0.92, sharpen=0.5, contrast=1.25),
    ),
    MammographyScanner(
        "site_c",
        Receptor("SCINTILLATOR", 240.0, 1.3333, 1.03, 0.0045, 0.25),
        Display("MONOCHROME1", 14, ""),
        is_mirrored=True,
    ),
    MammographyScanner(
        "site_d",
        Receptor("FILM", 240.0, 1.3333, 1.05, 0.0070, 0.45),
        Display("MONOCHROME1", 12, "LINEAR", contrast=0.9),
        is_mirrored=True,
    ),
)
"""Four heterogeneous devices; `site_c` sends FOR PROCESSING images, `site_d` scans films."""
