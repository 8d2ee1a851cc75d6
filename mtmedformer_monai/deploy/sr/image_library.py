"""The image library of a measurement report (DICOM PS3.16, TID 1600 to 1603).

highdicom's library raises an error for images without Patient Orientation or Imager Pixel Spacing, which many have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from . import concepts
from .content_items import CONTAINS, HAS_ACQ_CONTEXT, code, container, exact_number, image

_MODALITIES = {  # CID 29
    "CR": Code("CR", "DCM", "Computed Radiography"),
    "DX": Code("DX", "DCM", "Digital Radiography"),
    "MG": Code("MG", "DCM", "Mammography"),
    "RG": Code("RG", "DCM", "Radiographic imaging"),
}
IMAGE_LIBRARY_GROUP = Code("126200", "DCM", "Image Library Group")
MODALITY = Code("121139", "DCM", "Modality")
SIZES = {
    "Rows": Code("110910", "DCM", "Pixel Data Rows"),
    "Columns": Code("110911", "DCM", "Pixel Data Columns"),
}


def image_library(headers: Sequence[Dataset]) -> Dataset:
    """Returns a library with one group, in which every image has the descriptors that its header states."""
    entries = [image(CONTAINS, header, list(_descriptors(header)), concepts.SOURCE) for header in headers]
    return container(concepts.IMAGE_LIBRARY, [container(IMAGE_LIBRARY_GROUP, entries)])


def _descriptors(header: Dataset) -> Iterator[Dataset]:
    modality = _MODALITIES.get(str(header.get("Modality", "")))
    if modality is not None:
        yield code(HAS_ACQ_CONTEXT, MODALITY, modality)
    for keyword, name in SIZES.items():
        if header.get(keyword):
            yield exact_number(HAS_ACQ_CONTEXT, name, int(header[keyword].value), concepts.PIXELS)
