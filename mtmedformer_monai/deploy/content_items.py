"""Content items of SR documents as plain datasets (DICOM PS3.3 C.17.3, C.18).

They build trees whose items refer to one another. highdicom has no items of by-reference relationships, which the
templates of mammography CAD require.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

CONTAINS, HAS_PROPERTIES, INFERRED_FROM = "CONTAINS", "HAS PROPERTIES", "INFERRED FROM"
HAS_CONCEPT_MOD, HAS_ACQ_CONTEXT, HAS_OBS_CONTEXT = "HAS CONCEPT MOD", "HAS ACQ CONTEXT", "HAS OBS CONTEXT"
SELECTED_FROM = "SELECTED FROM"


def code_sequence(code: Code) -> list[Dataset]:
    """Returns a code sequence with one item (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return [item]


def container(name: Code, children: Sequence[Dataset], relationship: str = CONTAINS) -> Dataset:
    """Returns a CONTAINER whose items are separate."""
    item = _item("CONTAINER", relationship, name, children)
    item.ContinuityOfContent = "SEPARATE"
    return item


def code(relationship: str, name: Code, value: Code, children: Sequence[Dataset] = ()) -> Dataset:
    """Returns a CODE item."""
    item = _item("CODE", relationship, name, children)
    item.ConceptCodeSequence = code_sequence(value)
    return item


def text(relationship: str, name: Code, value: str) -> Dataset:
    """Returns a TEXT item."""
    item = _item("TEXT", relationship, name)
    item.TextValue = value
    return item


def number(relationship: str, name: Code, value: float, unit: Code) -> Dataset:
    """Returns a NUM item with five significant digits."""
    item, measured = _item("NUM", relationship, name), Dataset()
    measured.NumericValue = f"{value:.5g}"
    measured.MeasurementUnitsCodeSequence = code_sequence(unit)
    item.MeasuredValueSequence = [measured]
    return item


def uid_reference(relationship: str, name: Code, value: str) -> Dataset:
    """Returns a UIDREF item."""
    item = _item("UIDREF", relationship, name)
    item.UID = value
    return item


def image(relationship: str, source: Dataset, children: Sequence[Dataset] = ()) -> Dataset:
    """Returns an IMAGE item without a concept name."""
    item, reference = _item("IMAGE", relationship, None, children), Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    item.ReferencedSOPSequence = [reference]
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
    item = Dataset()
    item.RelationshipType = relationship
    item.ReferencedContentItemIdentifier = list(path)
    return item


def _item(kind: str, relationship: str, name: Code | None, children: Sequence[Dataset] = ()) -> Dataset:
    item = Dataset()
    if relationship:
        item.RelationshipType = relationship
    item.ValueType = kind
    if name is not None:
        item.ConceptNameCodeSequence = code_sequence(name)
    if children:
        item.ContentSequence = list(children)
    return item
