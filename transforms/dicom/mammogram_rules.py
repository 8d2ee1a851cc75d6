"""Rules for mammograms that are no standard ones: read, or refused with a reason."""

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
    """What happens to each kind of unusual mammogram: 'pass', 'flag' or 'refuse'.

    Other modalities than MG pass all rules but the last three, which pass everything by default: set them where a
    network for mammograms is to answer mammograms alone.

    By default passes what a screening round contains, and what it does not contain is refused: it would teach another
    scale, or be answered with a confidence that nothing backs.

    Attributes:
        implants: breasts with implants, displaced or not.
        spot_views: spot compression and magnification, by the view's modifiers: parts of a breast, enlarged.
        magnified: magnified by the Estimated Radiographic Magnification Factor (1.3 or more) alone. The pixel spacing
            heeds the factor.
        specimens: excised tissue.
        tomosynthesis: projections and slices of one frame. Several frames are refused whatever the rule says.
        synthesized: 2D images generated from a tomosynthesis.
        localization: stereotactic pairs and biopsies, with needles and markers.
        subtracted: recombined images of contrast mammography, in which iodine is bright and not tissue.
        color: three channels or a palette: captures, annotated copies. Read, they become luminance.
        other_anatomy: a body part other than the breast, of another modality than MG.
        unknown_anatomy: another modality than MG, and the header names no body part.
        no_header: the file is PNG, JPEG or NIfTI: nothing tells what it shows.
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
        "unknown_anatomy": "not verified as a mammogram (its header does not say which body part it shows)",
        "no_header": "not verified as a mammogram (the file has no DICOM header)",
    }

    def how_to_admit(self, kind: str) -> str:
        """As a dict, which `LoadRadiographd` takes in the place of these rules."""
        return f"rules={{{kind!r}: 'pass'}}"

    def find_kinds(self, header: Any) -> tuple[str, ...]:
        """The fields that apply to an image; see `AdmissionRules`."""
        if header is None:
            return ("no_header",)
        if read_modality(header) == "MG":
            return read_kinds(header)
        part = read_body_part(header)
        return {"breast": (), "unknown": ("unknown_anatomy",)}.get(part, ("other_anatomy",))


def as_rules(rules: AdmissionRules | Mapping[str, Any] | None) -> AdmissionRules:
    """Rules as a config may give them: an object, a dict of some of `MammogramRules`' fields, or None for its defaults.

    Raises:
        ValueError: an unknown rule, or a value other than 'pass', 'flag' and 'refuse'.

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
