"""Devices of the synthetic mammography cohort: two FOR PRESENTATION, one FOR PROCESSING, and a film digitizer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Receptor:
    """Image receptor of a device.

    Attributes:
        kind: 'DIRECT', 'SCINTILLATOR' or 'FILM', as in DetectorType (PS3.3 C.8.11.4).
        field_mm: height of the field of view in the plane of the patient.
        aspect: number of rows divided by number of columns.
        magnification: geometric magnification from patient to receptor.
        noise: standard deviation of the quantum noise at unit exposure.
        blur_mm: standard deviation of the blur.
    """

    kind: str
    field_mm: float
    aspect: float
    magnification: float
    noise: float
    blur_mm: float


@dataclass(frozen=True)
class Display:
    """Image processing and storage of a device.

    Attributes:
        photometric: 'MONOCHROME1' or 'MONOCHROME2'.
        bits_stored: 9 to 16.
        voi: 'LUT' (VOI LUT Sequence, in addition to sigmoid windows), 'SIGMOID' or 'LINEAR' (windows), or '' for FOR
            PROCESSING images.
        has_padding: whether the background is Pixel Padding.
        equalize: fraction of the thickness decrease near the skin that is compensated.
        sharpen: gain of fine detail.
        contrast: slope of the characteristic curve.
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
    """Mammography device of one site.

    Attributes:
        name: name of the site.
        receptor: image receptor.
        display: image processing and storage.
        is_mirrored: whether images are stored horizontally flipped, as stated in PatientOrientation.
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
        """Whether images are digitized films."""
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
"""Four heterogeneous devices; `site_c` stores FOR PROCESSING images, `site_d` digitizes films."""
