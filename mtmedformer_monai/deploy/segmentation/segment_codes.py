"""Coded terms of the structures in a DICOM Segmentation (PS3.3 C.8.20.2, Segment Description Macro)."""

from __future__ import annotations

from mtmedformer_monai.transforms.dicom.codes import CodedTerm

ANATOMY = CodedTerm("91723000", "Anatomical Structure", ("123037004",))
ABNORMALITY = CodedTerm("49755003", "Morphologically Abnormal Structure")
FUNCTION = CodedTerm("246464006", "Function")
"""Categories of CID 7150, Segmentation Property Category."""

STRUCTURES = {
    "lung": (ANATOMY, CodedTerm("39607008", "Lung")),
    "heart": (ANATOMY, CodedTerm("80891009", "Heart")),
    "clavicle": (ANATOMY, CodedTerm("51299004", "Clavicle")),
    "breast": (ANATOMY, CodedTerm("76752008", "Breast")),
    "nipple": (ANATOMY, CodedTerm("24142002", "Nipple")),
    "pectoral_muscle": (ANATOMY, CodedTerm("60005003", "Pectoralis major muscle")),
    "lesion": (ABNORMALITY, CodedTerm("52988006", "Lesion")),
    "mass": (ABNORMALITY, CodedTerm("4147007", "Mass")),
    "nodule": (ABNORMALITY, CodedTerm("27925004", "Nodule")),
    "opacity": (ABNORMALITY, CodedTerm("112001", "Opacity", scheme="DCM")),
    "pneumothorax": (ABNORMALITY, CodedTerm("36118008", "Pneumothorax")),
    "pleural_effusion": (ABNORMALITY, CodedTerm("60046008", "Pleural effusion")),
}
"""{structure of a task: category and type}."""

PRIVATE_SCHEME = "99MTMEDFORMER"
"""Coding scheme of structures without a standard term; private designators start with 99 (PS3.16 8.2)."""

_LONGEST_VALUE, _LONGEST_MEANING = 16, 64
"""Maximum lengths of Code Value (SH) and Code Meaning (LO)."""


def codes_of(structure: str) -> tuple[CodedTerm, CodedTerm]:
    """Returns category and type of a structure; those of a private scheme if the name is not in `STRUCTURES`.

    Example:
        >>> codes_of("lesion")[1].value
        '52988006'
        >>> codes_of("suture anchor")[1].scheme
        '99MTMEDFORMER'
    """
    if structure in STRUCTURES:
        return STRUCTURES[structure]
    name = "".join(letter if letter.isascii() and letter.isprintable() else "_" for letter in structure)
    name = name.replace("\\", "_").strip() or "structure"
    return ABNORMALITY, CodedTerm(name[:_LONGEST_VALUE].strip(), name[:_LONGEST_MEANING].strip(), scheme=PRIVATE_SCHEME)


def explanation_codes() -> tuple[CodedTerm, CodedTerm]:
    """Returns category and type of a map that explains a classification: where the network found its evidence."""
    return FUNCTION, CodedTerm("attribution", "Attribution of a classification", scheme=PRIVATE_SCHEME)
