"""Reads the body part from a DICOM header: chest, breast, another one, or unknown."""

from __future__ import annotations

from typing import Any, Literal

BodyPart = Literal["chest", "breast", "other", "unknown"]

# Codes of the Anatomic Region Sequence (PS3.16 CID 4009, 4030, 4031): SNOMED CT, and SNOMED RT used in older files.
_CHEST_CODES = frozenset({
    "816094009", "51185008", "T-D3000", "43799004", "T-D3200",  # chest, thoracic structure, thoracic cavity
    "39607008", "T-28000", "86598002", "T-280A0",  # lung, apex of lung
    "416550000", "R-FAB55", "416775004", "R-FAB56", "417437006", "R-FAB52",  # with abdomen, and pelvis; with neck
    "416152001", "R-FAB53", "416319003", "R-FAB54",  # from the neck to the abdomen, to the pelvis
})  # fmt: skip
_BREAST_CODES = frozenset({"76752008", "T-04000"})
_UNINFORMATIVE = frozenset(
    {"", "UNKNOWN", "OTHER", "NONE", "NA", "NOTAPPLICABLE", "UNDEFINED", "UNSPECIFIED", "DEFAULT"}
)
_CHEST_WORDS = ("CHEST", "THORAX", "TORAX", "THORACI", "LUNG", "PULMO")
_NO_CHEST_WORDS = ("SPINE", "VERTEBRA", "RIB", "STERN")
_BREAST_WORDS = ("BREAST", "MAMM", "SPECIMEN")


def read_body_part(header: Any) -> BodyPart:
    """Reads the body part from Anatomic Region Sequence and Body Part Examined (PS3.3 10.5, C.7.3.1; PS3.16 Annex L).

    The result is 'unknown' if the two attributes contradict each other, and for the whole body.

    Args:
        header: pydicom Dataset.
    """
    found = {_of_text(header.get("BodyPartExamined")), _of_codes(header.get("AnatomicRegionSequence"))} - {"unknown"}
    return found.pop() if len(found) == 1 else "unknown"


def _of_text(value: Any) -> BodyPart:
    """Classifies free text ('CHEST', 'Port. chest', 'THORAX PA'); text without a known word is another body part."""
    text = "".join(character for character in str(value or "").upper() if character.isalnum())
    if text in _UNINFORMATIVE or "WHOLEBODY" in text:
        return "unknown"
    if any(word in text for word in _BREAST_WORDS):
        return "breast"
    is_chest = any(word in text for word in _CHEST_WORDS) and not any(word in text for word in _NO_CHEST_WORDS)
    return "chest" if is_chest else "other"


def _of_codes(regions: Any) -> BodyPart:
    """Classifies the items of the Anatomic Region Sequence; among several codes, chest or breast takes precedence."""
    codes = {str(item.get("CodeValue") or "").strip() for item in regions or ()} - {""}
    if not codes:
        return "unknown"
    if codes & _CHEST_CODES:
        return "chest"
    return "breast" if codes & _BREAST_CODES else "other"
