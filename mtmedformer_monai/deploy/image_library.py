"""The image library of a measurement report (DICOM PS3.16, TID 1600 to 1603).

highdicom's library raises an error for images without Patient Orientation or Imager Pixel Spacing, which many have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import highdicom as hd
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from . import concepts

_MODALITIES = {  # CID 29
    "CR": Code("CR", "DCM", "Computed Radiography"),
    "DX": Code("DX", "DCM", "Digital Radiography"),
    "MG": Code("MG", "DCM", "Mammography"),
    "RG": Code("RG", "DCM", "Radiographic imaging"),
}
_CONTEXT = hd.sr.RelationshipTypeValues.HAS_ACQ_CONTEXT


def image_library(headers: Sequence[Dataset]) -> Any:
    """Returns a library with one group, in which every image has the descriptors that its header states."""
    library = _container(codes.DCM.ImageLibrary)
    group = _container(codes.DCM.ImageLibraryGroup)
    group.ContentSequence = hd.sr.ContentSequence([_entry(header) for header in headers])
    library.ContentSequence = hd.sr.ContentSequence([group])
    return library


def _container(name: Code) -> Any:
    return hd.sr.ContainerContentItem(name=name, relationship_type=hd.sr.RelationshipTypeValues.CONTAINS)


def _entry(header: Dataset) -> Any:
    entry = hd.sr.ImageContentItem(
        name=Code("260753009", "SCT", "Source"),
        referenced_sop_class_uid=header.SOPClassUID,
        referenced_sop_instance_uid=header.SOPInstanceUID,
        relationship_type=hd.sr.RelationshipTypeValues.CONTAINS,
    )
    entry.ContentSequence = hd.sr.ContentSequence(_descriptors(header))
    return entry


def _descriptors(header: Dataset) -> Iterator[Any]:
    modality = _MODALITIES.get(str(header.get("Modality", "")))
    if modality is not None:
        yield hd.sr.CodeContentItem(codes.DCM.Modality, modality, _CONTEXT)
    for name, keyword in ((codes.DCM.PixelDataRows, "Rows"), (codes.DCM.PixelDataColumns, "Columns")):
        if header.get(keyword):
            yield hd.sr.NumContentItem(name, int(header[keyword].value), concepts.PIXELS, relationship_type=_CONTEXT)
