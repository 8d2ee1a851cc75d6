"""The coded concepts of DICOM outputs: tasks, classes, measurements and units (DICOM PS3.3 8.8, PS3.16).

Standard codes come from the context groups of PS3.16, whose SNOMED CT concepts are free to use. A name without one gets
a private code, determined by the name alone, so that consumers can rely on it.
"""

from __future__ import annotations

import hashlib
import re

from pydicom.sr.coding import Code

PRIVATE_SCHEME = "99MTMEDFORMER"
"""Coding Scheme Designator of private codes (PS3.3 8.2: private designators start with 99)."""

PRIVATE_SCHEME_NAME = "MTMedFormer-MONAI task and class names"

MAX_VALUE = 16
"""Maximum length of Code Value (SH), as of PS3.5, Table 6.2-1."""

MAX_MEANING = 64
"""Maximum length of Code Meaning (LO)."""

# Measurements. DCM: PS3.16, Annex D. SCT: CID 7469 and 7470.
PROBABILITY = Code("122157", "DCM", "Probability")
AREA = Code("42798000", "SCT", "Area")
WIDTH = Code("103355008", "SCT", "Width")
HEIGHT = Code("121207", "DCM", "Height")
NUMBER_OF_FINDINGS = Code("246206008", "SCT", "Number of lesions")
BOUNDED_BY = Code("75958009", "SCT", "Bounded by")  # CID 219
IMAGING_PROCEDURE = Code("363679005", "SCT", "Imaging procedure")  # CID 100

# Concepts of several templates. PS3.16, Annex D; CID 6014.
FINDING = Code("121071", "DCM", "Finding")
CALCIFICATION_CLUSTER = Code("129769006", "SCT", "Calcification Cluster")
ARCHITECTURAL_DISTORTION = Code("129792006", "SCT", "Architectural distortion of breast")
LANGUAGE = Code("121049", "DCM", "Language of Content Item and Descendants")
IMAGE_LIBRARY = Code("111028", "DCM", "Image Library")
SOURCE = Code("260753009", "SCT", "Source")
TRACKING_ID = Code("112039", "DCM", "Tracking Identifier")
TRACKING_UID = Code("112040", "DCM", "Tracking Unique Identifier")
ALGORITHM_NAME = Code("111001", "DCM", "Algorithm Name")
ALGORITHM_PARAMETERS = Code("111002", "DCM", "Algorithm Parameters")
ALGORITHM_VERSION = Code("111003", "DCM", "Algorithm Version")

# Units (UCUM), PS3.16, CID 7181.
NO_UNITS = Code("1", "UCUM", "no units")
PERCENT = Code("%", "UCUM", "Percent")
MM = Code("mm", "UCUM", "millimeter")
MM2 = Code("mm2", "UCUM", "square millimeter")
PIXELS = Code("{pixels}", "UCUM", "pixels")

YES, NO = Code("373066001", "SCT", "Yes"), Code("373067005", "SCT", "No")  # CID 230
PRESENT, ABSENT = Code("52101004", "SCT", "Present"), Code("272519000", "SCT", "Absent")
LATERALITIES = {  # CID 244
    "R": Code("24028007", "SCT", "Right"),
    "L": Code("7771000", "SCT", "Left"),
    "B": Code("51440002", "SCT", "Bilateral"),
}
BREASTS = {  # CID 6022
    "R": Code("73056007", "SCT", "Right breast"),
    "L": Code("80248007", "SCT", "Left breast"),
    "B": Code("63762007", "SCT", "Both breasts"),
}
SITES = {
    "CHEST": Code("816094009", "SCT", "Chest"),
    "BREAST": Code("76752008", "SCT", "Breast"),
}

BREAST_DENSITY = "breast_density"
_COMPOSITION = {  # CID 6000, Overall Breast Composition
    "a": Code("129716005", "SCT", "Almost entirely fat"),
    "b": Code("129717001", "SCT", "Scattered fibroglandular densities"),
    "c": Code("129718006", "SCT", "Heterogeneously dense"),
    "d": Code("129719003", "SCT", "Extremely dense"),
}
_TASKS = {
    BREAST_DENSITY: Code("129715009", "SCT", "Breast composition"),
    "finding": FINDING,
    "pathology": Code("111042", "DCM", "Pathology"),
}
_CLASSES = {
    "lung": Code("39607008", "SCT", "Lung"),
    "heart": Code("80891009", "SCT", "Heart"),
    "breast": SITES["BREAST"],
    "nipple": Code("24142002", "SCT", "Nipple"),
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


def task_concept(task: str) -> Code:
    """Returns the concept of a task, such as (129715009, SCT, 'Breast composition')."""
    return _TASKS.get(task.lower()) or private_concept(readable(task))


def class_concept(task: str, name: str) -> Code:
    """Returns the concept of a class or structure; breast density has those of CID 6000."""
    if task.lower() == BREAST_DENSITY and name.lower() in _COMPOSITION:
        return _COMPOSITION[name.lower()]
    return _CLASSES.get(_key(name)) or private_concept(readable(name))


def private_concept(meaning: str) -> Code:
    """Returns a code of `PRIVATE_SCHEME`: the meaning itself if it is short, and otherwise with a hash of it.

    Example:
        >>> private_concept("opacity box").value
        'opacity_box'
        >>> private_concept("Probability of malignant").value
        'probabi-b8a6a1fb'
    """
    value = _key(ascii_text(meaning))
    if len(value) > MAX_VALUE or meaning != ascii_text(meaning) or not value:
        digest = hashlib.sha256(meaning.encode()).hexdigest()[:8]
        value = f"{value[: MAX_VALUE - 9]}-{digest}"
    return Code(value, PRIVATE_SCHEME, ascii_text(meaning)[:MAX_MEANING].strip() or value)


def readable(name: str) -> str:
    """Returns a name from a configuration as words: 'opacity_box' becomes 'opacity box'."""
    return name.replace("_", " ").strip()


def ascii_text(text: str) -> str:
    """Returns a text that every Specific Character Set can encode: other characters and backslashes become '?'."""
    return re.sub(r"[^ -\[\]-~]", "?", text)


def _key(name: str) -> str:
    return re.sub(r"\W+", "_", name.strip().lower(), flags=re.ASCII).strip("_")
