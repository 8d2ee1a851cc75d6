"""Coded terms of the structures in a DICOM Segmentation (PS3.3 C.8.20.2, Segment Description Macro)."""

from __future__ import annotations

from pydicom.sr.coding import Code

from mtmedformer_monai.deploy.headers import coded_names
from mtmedformer_monai.deploy.headers.coded_names import class_concept, private_concept

ANATOMY = Code("91723000", "SCT", "Anatomical Structure")
ABNORMALITY = Code("49755003", "SCT", "Morphologically Abnormal Structure")
FUNCTION = Code("246464006", "SCT", "Function")
"""Categories of CID 7150, Segmentation Property Category."""


def codes_of(task: str, structure: str) -> tuple[Code, Code]:
    """Returns category and type of a structure; the type is its Finding in the SR.

    Example:
        >>> codes_of("lesion", "lesion")[1].value
        '52988006'
        >>> codes_of("devices", "suture anchor")[1].scheme_designator
        '99MTMEDFORMER'
    """
    concept = class_concept(task, structure)
    return (ANATOMY if concept in coded_names.ANATOMY.values() else ABNORMALITY), concept


def explanation_codes() -> tuple[Code, Code]:
    """Returns category and type of a map that explains a classification: where the network found its evidence."""
    return FUNCTION, private_concept("Attribution of a classification")
