"""Codes of the classes and structures of a bundle, which SR and SEG share (DICOM PS3.3 8.8, PS3.16).

Standard codes come from the context groups of PS3.16, whose SNOMED CT concepts are free to use. A name without one gets
a private code, determined by the name alone, so that consumers can rely on it.
"""

from __future__ import annotations

import hashlib
import re

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from .equipment import MANUFACTURER

PRIVATE_SCHEME = "99MTMEDFORMER"
"""Coding Scheme Designator of private codes (PS3.3 8.2: private designators start with 99)."""

PRIVATE_SCHEME_NAME = "MTMedFormer-MONAI task and class names"

MAX_VALUE = 16
"""Maximum length of Code Value (SH), as of PS3.5, Table 6.2-1."""

MAX_MEANING = 64
"""Maximum length of Code Meaning (LO)."""

BREAST_DENSITY = "breast_density"
COMPOSITION = {  # CID 6000, Overall Breast Composition
    "a": Code("129716005", "SCT", "Almost entirely fat"),
    "b": Code("129717001", "SCT", "Scattered fibroglandular densities"),
    "c": Code("129718006", "SCT", "Heterogeneously dense"),
    "d": Code("129719003", "SCT", "Extremely dense"),
}
CALCIFICATION_CLUSTER = Code("129769006", "SCT", "Calcification Cluster")
ARCHITECTURAL_DISTORTION = Code("129792006", "SCT", "Architectural distortion of breast")
BREAST = Code("76752008", "SCT", "Breast")

ANATOMY = {
    "lung": Code("39607008", "SCT", "Lung"),
    "heart": Code("80891009", "SCT", "Heart"),
    "clavicle": Code("51299004", "SCT", "Clavicle"),
    "breast": BREAST,
    "nipple": Code("24142002", "SCT", "Nipple"),
    "pectoral_muscle": Code("60005003", "SCT", "Pectoralis major muscle"),
}
FINDINGS = {
    "opacity": Code("112001", "DCM", "Opacity"),
    "lesion": Code("52988006", "SCT", "Lesion"),
    "mass": Code("4147007", "SCT", "Mass"),
    "nodule": Code("27925004", "SCT", "Nodule"),
    "cyst": Code("367643001", "SCT", "Cyst"),
    "calcification_cluster": CALCIFICATION_CLUSTER,
    "architectural_distortion": ARCHITECTURAL_DISTORTION,
    "pneumothorax": Code("36118008", "SCT", "Pneumothorax"),
    "pleural_effusion": Code("60046008", "SCT", "Pleural effusion"),
    "cardiomegaly": Code("287272002", "SCT", "Cardiomegaly"),
    "normal": Code("17621005", "SCT", "Normal"),
    "abnormal": Code("263654008", "SCT", "Abnormal"),
    "benign": Code("30807003", "SCT", "Benign"),
    "malignant": Code("21594007", "SCT", "Malignant"),
}


def class_concept(task: str, name: str) -> Code:
    """Returns the concept of a class or structure; breast density has those of CID 6000."""
    if task.lower() == BREAST_DENSITY and name.lower() in COMPOSITION:
        return COMPOSITION[name.lower()]
    key = _key(name)
    return ANATOMY.get(key) or FINDINGS.get(key) or private_concept(readable(name))


def private_concept(meaning: str) -> Code:
    """Returns a code of `PRIVATE_SCHEME`: the meaning itself if it is short, and otherwise with a hash of it.

    A code value identifies one concept of its scheme (PS3.3 8.8), so meanings with characters that a value does not
    express, such as a plus sign, have a hash as well. Letter case, spaces, hyphens and underscores do not distinguish
    short meanings.

    Example:
        >>> private_concept("opacity box").value
        'opacity_box'
        >>> private_concept("Probability of malignant").value
        'probabi-b8a6a1fb'
    """
    value = _key(meaning)
    if not re.fullmatch(rf"[a-z0-9_]{{1,{MAX_VALUE}}}", value):
        digest = hashlib.sha256(meaning.encode()).hexdigest()[:8]
        value = f"{re.sub('[^a-z0-9_]', '', value)[: MAX_VALUE - 9]}-{digest}"
    return Code(value, PRIVATE_SCHEME, ascii_text(meaning)[:MAX_MEANING].strip() or value)


def coding_scheme() -> Dataset:
    """Returns the identification of the private coding scheme (PS3.3 C.12.1.1.1)."""
    item = Dataset()
    item.CodingSchemeDesignator, item.CodingSchemeName = PRIVATE_SCHEME, PRIVATE_SCHEME_NAME
    item.CodingSchemeResponsibleOrganization = MANUFACTURER
    return item


def readable(name: str) -> str:
    """Returns a name from a configuration as words: 'opacity_box' becomes 'opacity box'."""
    return name.replace("_", " ").strip()


def ascii_text(text: str) -> str:
    """Returns a text that every Specific Character Set can encode: other characters and backslashes become '?'."""
    return re.sub(r"[^ -\[\]-~]", "?", text)


def _key(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().lower())
