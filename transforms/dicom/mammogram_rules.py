"""Rules for mammograms that are no standard ones: read, or refused with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from mtmedformer_monai.transforms.errors import RefusedImageError

from .mammogram_kind import read_kinds

Rule = Literal["pass", "refuse"]


@dataclass(frozen=True)
class MammogramRules:
    """What happens to each kind of unusual mammogram, 'pass' or 'refuse'. Other modalities than MG pass.

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

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value not in {"pass", "refuse"}:
                raise ValueError(f"rule {field.name!r} expects 'pass' or 'refuse', got {value!r}.")


_DESCRIPTIONS = {
    "implants": "a breast with an implant",
    "spot_views": "a spot compression or magnification view",
    "magnified": "a magnified view",
    "specimens": "a specimen",
    "tomosynthesis": "part of a tomosynthesis",
    "synthesized": "a 2D image synthesized from a tomosynthesis",
    "localization": "an image of a biopsy or localization",
    "subtracted": "a subtraction of contrast mammography",
    "color": "a mammogram in color",
}


def as_rules(rules: MammogramRules | Mapping[str, Any] | None) -> MammogramRules:
    """Rules as a config may give them: an object, a dict of some of them, or None for the defaults.

    Raises:
        ValueError: an unknown rule, or a value other than 'pass' and 'refuse'.

    Example:
        >>> as_rules({"implants": "refuse"}).implants
        'refuse'
    """
    if isinstance(rules, MammogramRules):
        return rules
    given = dict(rules or {})
    unknown = sorted(str(name) for name in set(given) - set(_DESCRIPTIONS))
    if unknown:
        raise ValueError(f"rules expects some of {', '.join(_DESCRIPTIONS)}; got {', '.join(unknown)}.")
    return MammogramRules(**given)


def check_mammogram(path: str | Path, header: Any, rules: MammogramRules) -> None:
    """Refuses a mammogram that a rule does not admit.

    Args:
        path: for the message.
        header: pydicom Dataset.
        rules: for mammograms.

    Raises:
        RefusedImageError: names the rule.
    """
    if int(header.get("NumberOfFrames") or 1) > 1:  # refused by decoding, with a better remedy
        return
    for kind in read_kinds(header):
        if getattr(rules, kind) == "refuse":
            raise RefusedImageError(
                path,
                f"it is {_DESCRIPTIONS[kind]}, and the rule is {kind}='refuse'",
                f"leave it out, or admit it by rules={{{kind!r}: 'pass'}}",
            )
