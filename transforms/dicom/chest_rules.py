"""Admission rules for networks that expect frontal chest radiographs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from mtmedformer_monai.transforms.geometry.patient_orientation import read_patient_orientation
from mtmedformer_monai.transforms.view_names import normalize_view

from .admission import AdmissionRules, Rule
from .body_part import read_body_part
from .header import is_for_processing

# Codes of the View Code Sequence (PS3.16 CID 4010): SNOMED CT, and SNOMED RT used in older files.
_FRONTAL_CODES = frozenset({"272479007", "R-40888", "399348003", "R-10206", "399033003", "R-10202"})
_LATERAL_CODES = frozenset({
    "399067008", "R-102CD", "399173006", "R-10236", "399198007", "R-10232",  # lateral, left, right
    "399352003", "R-10228", "399260004", "R-10224", "30730003", "G-A145",  # lateral-medial, medial-lateral, sagittal
})  # fmt: skip
_OBLIQUE_CODES = frozenset({
    "399182000", "R-102C1", "399184004", "R-10238", "399236003", "R-10234",  # oblique, left, right
    "399312000", "R-10208", "399135007", "R-10220", "399356000", "R-40985",  # anterior, left, right
    "399059000", "R-10216", "399006002", "R-10212", "399038007", "R-10210",  # posterior, left, right
    "399160007", "R-10204", "260427002", "R-40783", "260426006", "R-40782",  # frontal, lateral, medial
})  # fmt: skip
_LATERAL_NAMES = frozenset({"LL", "RL", "LAT", "LLAT", "RLAT", "LATL", "LATR", "LATERALL", "LATERALR", "ML", "LM"})
_OBLIQUE_NAMES = frozenset({"RLO", "LLO", "RAO", "LAO", "RPO", "LPO", "OBL", "RO", "LO", "MLO", "LMO"})
_FRONTAL_NAMES = frozenset({"PA", "AP", "RLD", "LLD"})
"""Decubitus views (RLD, LLD) are frontal: the patient lies on one side, and the beam is anteroposterior."""

_ANIMALS = ("CANINE", "FELINE", "EQUINE", "VETERINAR", "AVIAN", "BOVINE")


@dataclass(frozen=True)
class ChestRules(AdmissionRules):
    """Rules for images that are not frontal chest radiographs: 'pass', 'flag' or 'refuse'.

    By default, images that the header shows to be something else are refused, and images for which the header is
    inconclusive are read and flagged. A network produces an output for any image, even for a hip, but that output is
    meaningless.

    Attributes:
        other_anatomy: a body part other than the chest, by Anatomic Region Sequence and Body Part Examined.
        unknown_anatomy: the header gives no body part, or two contradictory ones.
        lateral: lateral views, by View Position, View Code Sequence, Patient Orientation, and Acquisition Device
            Processing Description.
        oblique: oblique views, by View Position, View Code Sequence, and Acquisition Device Processing Description.
        unknown_view: the header does not show whether the view is frontal.
        turned: rotated or mirrored by Patient Orientation: rows do not run to the patient's left (in lateral views, to
            the front or back), or columns not to the feet. Such an image is not turned upright.
        for_processing: FOR PROCESSING, by Presentation Intent Type or SOP class. The option `for_processing` of
            `LoadRadiographd` defines how such an image is rendered, which is not the manufacturer's rendering.
        animals: the Acquisition Device Processing Description names an animal.
        no_header: the file is PNG, JPEG or NIfTI, whose content cannot be verified.
    """

    other_anatomy: Rule = "refuse"
    unknown_anatomy: Rule = "flag"
    lateral: Rule = "refuse"
    oblique: Rule = "refuse"
    unknown_view: Rule = "flag"
    turned: Rule = "flag"
    for_processing: Rule = "flag"
    animals: Rule = "refuse"
    no_header: Rule = "flag"

    descriptions: ClassVar[Mapping[str, str]] = {
        "other_anatomy": "of another body part than the chest",
        "unknown_anatomy": "not verified as a chest radiograph (its header states no body part, or contradictory ones)",
        "lateral": "a lateral view",
        "oblique": "an oblique view",
        "unknown_view": "not verified as a frontal view (its header does not say which view it is)",
        "turned": "stored rotated or mirrored (by its Patient Orientation)",
        "for_processing": "FOR PROCESSING (its gray levels are not those of the manufacturer's image for display)",
        "animals": "a radiograph of an animal",
        "no_header": "not verified as a frontal chest radiograph (the file has no DICOM header)",
    }

    def find_kinds(self, header: Any) -> tuple[str, ...]:
        """Returns the names of the fields that apply to an image; see `AdmissionRules`."""
        if header is None:
            return ("no_header",)
        part, view = read_body_part(header), read_chest_view(header)
        signs = {
            "other_anatomy": part in ("breast", "other"),
            "animals": any(word in _processing(header) for word in _ANIMALS),
            "lateral": view == "lateral",
            "oblique": view == "oblique",
            "unknown_anatomy": part == "unknown",
            "unknown_view": view == "",
            "turned": _is_turned(read_patient_orientation(header)),
            "for_processing": is_for_processing(header),
        }
        return tuple(kind for kind, applies in signs.items() if applies)


def read_chest_view(header: Any) -> str:
    """Reads the view from a header: 'frontal', 'lateral', 'oblique', or '' if it is unknown.

    The attributes are, in order of precedence: View Position (PS3.3 C.8.11.5), the View Code Sequence, the Acquisition
    Device Processing Description ('CHEST LAT'), and the row direction in Patient Orientation (PS3.3 C.7.6.1.1.1). Rows
    that run anteroposteriorly mean a lateral view, and rows that run from side to side a frontal view.
    """
    name = normalize_view(header.get("ViewPosition"))
    codes = {str(item.get("CodeValue") or "").strip() for item in header.get("ViewCodeSequence") or ()}
    words = _processing(header)
    rows = read_patient_orientation(header)[:1]
    for view, applies in (
        ("oblique", name in _OBLIQUE_NAMES or "OBLIQ" in name),
        ("lateral", name in _LATERAL_NAMES or "LATERAL" in name or "SAGITTAL" in name),
        ("frontal", name in _FRONTAL_NAMES or "FRONTAL" in name or name.startswith(("PA", "AP"))),
        ("oblique", bool(codes & _OBLIQUE_CODES)),
        ("lateral", bool(codes & _LATERAL_CODES)),
        ("frontal", bool(codes & _FRONTAL_CODES)),
        ("oblique", "OBLIQ" in words),
        ("lateral", "LATERAL" in words or " LAT" in words),
        ("lateral", rows in ("A", "P") and bool(rows)),
        ("frontal", rows in ("L", "R") and bool(rows)),
    ):
        if applies:
            return view
    return ""


def _is_turned(orientation: str) -> bool:
    r"""Returns whether an orientation is known, and is neither that of a frontal view, 'L\F', nor of a lateral one."""
    rows, _, columns = orientation.partition("\\")
    return bool(orientation) and not (rows[0] in "LAP" and columns[0] == "F")


def _processing(header: Any) -> str:
    """Reads Acquisition Device Processing Description in upper case: 'CHEST,FRN P->A', 'CANINE LATERAL THORAX'."""
    return f" {header.get('AcquisitionDeviceProcessingDescription') or ''}".upper().replace(",", " ")
