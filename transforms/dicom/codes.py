"""The coded terms that DICOM headers use for views, view modifiers, regions and positions (PS3.16).

The readers and the writers of synthetic files share these tables. Values and meanings are those of
`pydicom.sr.codedict`, which a test verifies. They are repeated here because pydicom's keywords differ between releases
(2.4 has no unambiguous `LateroMedialOblique`), and so that reading a header does not import the whole dictionary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .code_strings import read_code


@dataclass(frozen=True)
class CodedTerm:
    """One coded concept (PS3.3 8.8).

    Attributes:
        value: Code Value.
        meaning: Code Meaning.
        older: Code Values of the same concept in older files: SNOMED RT (designator SRT, SNM3 or 99SDM), or a SNOMED CT
            concept that has been replaced.
        scheme: Coding Scheme Designator of `value`.
    """

    value: str
    meaning: str
    older: tuple[str, ...] = ()
    scheme: str = "SCT"


VIEWS = {
    # CID 4010, DX View.
    "PA": CodedTerm("272479007", "postero-anterior", ("R-40888",)),
    "AP": CodedTerm("399348003", "antero-posterior", ("R-10206",)),
    "LL": CodedTerm("399173006", "left lateral", ("R-10236",)),
    "RL": CodedTerm("399198007", "right lateral", ("R-10232",)),
    "LAT": CodedTerm("399067008", "lateral", ("R-102CD",)),
    # CID 4014, View for Mammography.
    "CC": CodedTerm("399162004", "cranio-caudal", ("R-10242",)),
    "MLO": CodedTerm("399368009", "medio-lateral oblique", ("R-10226",)),
    "ML": CodedTerm("399260004", "medial-lateral", ("R-10224",)),
    "LM": CodedTerm("399352003", "latero-medial", ("R-10228",)),
    "LMO": CodedTerm("399099002", "latero-medial oblique", ("R-10230",)),
    "FB": CodedTerm("399196006", "caudo-cranial", ("R-10244",)),
    "SIO": CodedTerm("399188001", "superolateral to inferomedial oblique", ("R-102D0",)),
    "ISO": CodedTerm("441555000", "inferomedial to superolateral oblique", ("R-40AAA",)),
    "XCCL": CodedTerm("399192008", "cranio-caudal exaggerated laterally", ("R-1024A",)),
    "XCCM": CodedTerm("399101009", "cranio-caudal exaggerated medially", ("R-1024B",)),
    "SPECIMEN": CodedTerm("127457009", "tissue specimen from breast", ("G-8310", "119376003", "G-8300")),
}
"""Views by their short names. SPECIMEN also covers 'tissue specimen' of CID 4010."""

VIEW_MODIFIERS = {
    "implant displaced": CodedTerm("399209000", "Implant Displaced", ("R-102D5",)),
    "spot compression": CodedTerm("399055006", "Spot Compression", ("R-102D7",)),
    "magnification": CodedTerm("399163009", "Magnification", ("R-102D6",)),
}
"""View modifiers of CID 4015, View Modifier for Mammography."""

REGIONS = {
    "CHEST": CodedTerm("816094009", "Chest", ("51185008", "43799004", "T-D3000")),
    "BREAST": CodedTerm("76752008", "Breast", ("T-04000",)),
    "SPECIMEN": VIEWS["SPECIMEN"],
}
"""Regions of CID 4031, Common Anatomic Regions, by Body Part Examined; a specimen has the same term as its view."""

ERECT = CodedTerm("C86043", "erect", ("10904000", "F-10440"), scheme="NCIt")
"""The term of CID 19, Patient Orientation, for an upright patient."""


def _by_value(terms: Mapping[str, CodedTerm]) -> dict[str, str]:
    return {value: name for name, term in terms.items() for value in (term.value, *term.older)}


_VIEW_OF_VALUE = _by_value(VIEWS)
_MODIFIER_OF_VALUE = _by_value(VIEW_MODIFIERS)
_REGION_OF_VALUE = _by_value(REGIONS)


def view_of(item: Any) -> str:
    """Returns the short name of the view in an item of a View Code Sequence, or '' if it is not in `VIEWS`.

    The Coding Scheme Designator is ignored: code values of different schemes cannot be confused, and old files use
    various designators.
    """
    return _VIEW_OF_VALUE.get(read_code(item, "CodeValue"), "")


def view_modifier_of(item: Any) -> str:
    """Returns the name in `VIEW_MODIFIERS` of an item of a View Modifier Code Sequence, or ''."""
    return _MODIFIER_OF_VALUE.get(read_code(item, "CodeValue"), "")


def region_of(item: Any) -> str:
    """Returns the name in `REGIONS` of an item of an Anatomic Region Sequence, or ''."""
    return _REGION_OF_VALUE.get(read_code(item, "CodeValue"), "")


def code_item(term: CodedTerm) -> Any:
    """Returns a term as an item of a code sequence (PS3.3 8.8), a pydicom Dataset."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = term.value, term.scheme, term.meaning
    return item
