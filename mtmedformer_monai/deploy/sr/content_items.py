"""Content items of SR documents as plain datasets (DICOM PS3.3 C.17.3, C.18).

They build trees whose items refer to one another. highdicom has no items of by-reference relationships, which the
templates of mammography CAD require, and its items take ten times as long to build: it validates and copies them at
every level. Codes and the parameters of an algorithm, which recur many times in a report, are encoded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import cast

from pydicom.charset import default_encoding
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_sequence_item
from pydicom.sr.coding import Code
from pydicom.tag import BaseTag

CONTAINS, HAS_PROPERTIES, INFERRED_FROM = "CONTAINS", "HAS PROPERTIES", "INFERRED FROM"
HAS_CONCEPT_MOD, HAS_ACQ_CONTEXT, HAS_OBS_CONTEXT = "HAS CONCEPT MOD", "HAS ACQ CONTEXT", "HAS OBS CONTEXT"
SELECTED_FROM = "SELECTED FROM"


def new_item() -> Dataset:
    """Returns an empty item whose encoded sequences pydicom writes as they are; text is ASCII."""
    item = Dataset()
    item.set_original_encoding(False, True, default_encoding)
    return item


def code_sequence(code: Code) -> list[Dataset]:
    """Returns a code sequence with one item (PS3.3 8.8)."""
    item = new_item()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return [item]


def encode_items(items: Sequence[Dataset]) -> bytes:
    """Returns the value of a sequence, encoded in Explicit VR Little Endian (PS3.5 7.5)."""
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, False
    for item in items:
        write_sequence_item(file, item, [default_encoding])
    return file.getvalue()


def set_encoded(item: Dataset, keyword: str, content: bytes) -> None:
    """Sets a sequence to an encoded value, which is decoded only if it is read.

    The dataset must be written in Explicit VR Little Endian.
    """
    tag = BaseTag(cast("int", tag_for_keyword(keyword)))
    item[tag] = RawDataElement(tag, "SQ", len(content), content, 0, False, True)


def set_code(item: Dataset, keyword: str, code: Code) -> None:
    """Sets a code sequence with one item."""
    set_encoded(item, keyword, _encode_code(code.value, code.scheme_designator, code.meaning))


@lru_cache(maxsize=4096)
def _encode_code(value: str, scheme: str, meaning: str) -> bytes:
    """The arguments are those of a code, because codes that are equal may differ in their meaning."""
    return encode_items(code_sequence(Code(value, scheme, meaning)))


def container(name: Code, children: Sequence[Dataset], relationship: str = CONTAINS, template: str = "") -> Dataset:
    """Returns a CONTAINER whose items are separate; of a template of PS3.16, if one is named by its number."""
    item = _item("CONTAINER", relationship, name, children)
    item.ContinuityOfContent = "SEPARATE"
    if template:
        item.ContentTemplateSequence = [content_template(template)]
    return item


def content_template(number: str) -> Dataset:
    """Returns the item of a Content Template Sequence (PS3.3 C.18.8.1.1)."""
    item = new_item()
    item.MappingResource, item.TemplateIdentifier = "DCMR", number
    return item


def code(relationship: str, name: Code, value: Code, children: Sequence[Dataset] = ()) -> Dataset:
    """Returns a CODE item."""
    item = _item("CODE", relationship, name, children)
    set_code(item, "ConceptCodeSequence", value)
    return item


def text(relationship: str, name: Code, value: str) -> Dataset:
    """Returns a TEXT item."""
    item = _item("TEXT", relationship, name)
    item.TextValue = value
    return item


def number(relationship: str, name: Code, value: float, unit: Code) -> Dataset:
    """Returns a NUM item with five significant digits."""
    return _measured(relationship, name, f"{value:.5g}", unit)


def exact_number(relationship: str, name: Code, value: float, unit: Code, children: bytes = b"") -> Dataset:
    """Returns a NUM item with a decimal string of at most 16 characters, and the exact value beside it.

    Args:
        relationship: Relationship Type.
        name: concept name.
        value: the number.
        unit: its unit.
        children: items that describe the measurement, from `encode_items`.
    """
    item = _measured(relationship, name, f"{value:.9g}", unit)
    item.MeasuredValueSequence[0].FloatingPointValue = float(value)
    if children:
        set_encoded(item, "ContentSequence", children)
    return item


def _measured(relationship: str, name: Code, value: str, unit: Code) -> Dataset:
    item, measured = _item("NUM", relationship, name), new_item()
    measured.NumericValue = value
    set_code(measured, "MeasurementUnitsCodeSequence", unit)
    item.MeasuredValueSequence = [measured]
    return item


def uid_reference(relationship: str, name: Code, value: str) -> Dataset:
    """Returns a UIDREF item."""
    item = _item("UIDREF", relationship, name)
    item.UID = value
    return item


def image(
    relationship: str, source: Dataset, children: Sequence[Dataset] = (), name: Code | None = None, frame: int = 0
) -> Dataset:
    """Returns an IMAGE item.

    Args:
        relationship: Relationship Type.
        source: has the SOP Class UID and the SOP Instance UID of the image.
        children: items below it.
        name: concept name, if there is one.
        frame: number of one frame, from 1; 0 for the whole image.
    """
    item, reference = _item("IMAGE", relationship, name, children), new_item()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    if frame:
        reference.ReferencedFrameNumber = frame
    item.ReferencedSOPSequence = [reference]
    return item


def outline(relationship: str, name: Code, points: Sequence[float], source: Dataset, source_name: Code) -> Dataset:
    """Returns a SCOORD item of a closed line in an image, which stands below it.

    Args:
        relationship: Relationship Type.
        name: concept name.
        points: column and row of each point, alternately.
        source: has the UIDs of the image.
        source_name: concept name of the image.
    """
    item = _item("SCOORD", relationship, name, [image(SELECTED_FROM, source, name=source_name)])
    item.GraphicType, item.GraphicData = "POLYLINE", list(points)
    return item


def region(relationship: str, name: Code, kind: str, points: Sequence[float], path: Sequence[int]) -> Dataset:
    """Returns a SCOORD item of an image in the same tree.

    Args:
        relationship: Relationship Type.
        name: concept name.
        kind: 'POINT' or 'POLYLINE'.
        points: column and row of each point, alternately.
        path: position of the image in the tree.
    """
    item = _item("SCOORD", relationship, name, [by_reference(SELECTED_FROM, path)])
    item.GraphicType, item.GraphicData = kind, list(points)
    return item


def by_reference(relationship: str, path: Sequence[int]) -> Dataset:
    """Returns a relationship with an item of the same tree.

    Args:
        relationship: Relationship Type.
        path: position of the item, from the root: 1 for the root, and then the positions of children, from 1.
    """
    item = new_item()
    item.RelationshipType = relationship
    item.ReferencedContentItemIdentifier = list(path)
    return item


def _item(kind: str, relationship: str, name: Code | None, children: Sequence[Dataset] = ()) -> Dataset:
    item = new_item()
    if relationship:
        item.RelationshipType = relationship
    item.ValueType = kind
    if name is not None:
        set_code(item, "ConceptNameCodeSequence", name)
    if children:
        item.ContentSequence = list(children)
    return item
