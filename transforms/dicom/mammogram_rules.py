"""Admission rules for networks that expect standard mammograms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .admission import AdmissionRules, Rule
from .body_part import read_body_part
from .header import read_modality
from .mammogram_kind import read_kinds


@dataclass(frozen=True)
class MammogramRules(AdmissionRules):
    """Rules for unusual mammograms: 'pass', 'flag' or 'refuse'.

    Only the last three rules apply to modalities other than MG. They pass all images by default; set them to restrict a
    network to mammograms.

    By default, images that occur in screening pass. Other images are refused: in training they would introduce a
    different scale, and at inference their predictions would not be reliable.

    Attributes:
        implants: breasts with implants, displaced or not.
        spot_views: spot compression and magnification views, by the view modifiers; they show an enlarged part of a
            breast.
        magnified: images with an Estimated Radiographic Magnification Factor of 1.3 or more. The pixel spacing accounts
            for the factor.
        specimens: excised tissue.
        tomosynthesis: single-frame projections and slices. Multi-frame images are always refused.
        synthesized: 2D images synthesized from a tomosynthesis.
        localization: stereotactic pairs and biopsies, with needles and markers.
        subtracted: recombined images of contrast-enhanced mammography, in which iodine is bright instead of tissue.
        color: images with three channels or a palette, such as screen captures and annotated copies. If they are
            admitted, they are converted to luminance.
        other_anatomy: a body part other than the breast, in a modality other than MG.
        unknown_anatomy: a modality other than MG, without a body part in the header.
        no_header: the file is PNG, JPEG or NIfTI, whose content cannot be verified.
    """

    implants: Rule = "pass"
    spot_views: Rule = "refuse"
    magnified: Rule = "pass"
    specimens: Rule = "refuse"
    tomosynthesis: Rule = "refuse"
    synthesized: Rule = "pass"
    localization: Rule = "refuse"
    subtracted: Rule = "refuse"
    color: Rule = "refuse"
    other_anatomy: Rule = "pass"
    unknown_anatomy: Rule = "pass"
    no_header: Rule = "pass"

    descriptions: ClassVar[Mapping[str, str]] = {
        "implants": "a breast with an implant",
        "spot_views": "a spot compression or magnification view",
        "magnified": "a magnified view",
        "specimens": "a specimen",
        "tomosynthesis": "part of a tomosynthesis",
        "synthesized": "a 2D image synthesized from a tomosynthesis",
        "localization": "an image of a biopsy or localization",
        "subtracted": "a subtraction of contrast mammography",
        "color": "a mammogram in color",
        "other_anatomy": "of another body part than the breast",
        "unknown_anatomy": "not verified as a mammogram (its header states no body part, or contradictory ones)",
        "no_header": "not verified as a mammogram (the file has no DICOM header)",
    }

    def how_to_admit(self, kind: str) -> str:
        """Returns the setting as a dict, which `LoadRadiographd` accepts instead of an object."""
        return f"rules={{{kind!r}: 'pass'}}"

    def find_kinds(self, header: Any) -> tuple[str, ...]:
        """Returns the names of the fields that apply to an image; see `AdmissionRules`."""
        if header is None:
            return ("no_header",)
        if read_modality(header) == "MG":
            return read_kinds(header)
        part = read_body_part(header)
        return {"breast": (), "unknown": ("unknown_anatomy",)}.get(part, ("other_anatomy",))


def as_rules(rules: AdmissionRules | Mapping[str, Any] | None) -> AdmissionRules:
    """Converts rules as given in a config: an object, a dict of `MammogramRules` fields, or None for its defaults.

    Raises:
        ValueError: a rule is unknown, or a value is not 'pass', 'flag' or 'refuse'.

    Example:
        >>> as_rules({"implants": "refuse"}).implants
        'refuse'
    """
    if isinstance(rules, AdmissionRules):
        return rules
    given = dict(rules or {})
    known = MammogramRules.descriptions
    unknown = sorted(str(name) for name in set(given) - set(known))
    if unknown:
        raise ValueError(f"rules expects some of {', '.join(known)}; got {', '.join(unknown)}.")
    return MammogramRules(**given)
