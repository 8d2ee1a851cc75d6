"""The coded concepts of structured reports: tasks, measurements, sites and units (DICOM PS3.3 8.8, PS3.16).

Those of classes and structures are in `headers/coded_names.py`.
"""

from __future__ import annotations

from pydicom.sr.coding import Code

from mtmedformer_monai.deploy.headers.coded_names import BREAST, BREAST_DENSITY, private_concept, readable

# Measurements. DCM: PS3.16, Annex D. SCT: CID 7469 and 7470.
PROBABILITY = Code("122157", "DCM", "Probability")
AREA = Code("42798000", "SCT", "Area")
WIDTH = Code("103355008", "SCT", "Width")
HEIGHT = Code("121207", "DCM", "Height")
NUMBER_OF_FINDINGS = Code("246206008", "SCT", "Number of lesions")
BOUNDED_BY = Code("75958009", "SCT", "Bounded by")  # CID 219
IMAGING_PROCEDURE = Code("363679005", "SCT", "Imaging procedure")  # CID 100

# Concepts of several templates. PS3.16, Annex D.
FINDING = Code("121071", "DCM", "Finding")
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
    "BREAST": BREAST,
}

_TASKS = {
    BREAST_DENSITY: Code("129715009", "SCT", "Breast composition"),
    "finding": FINDING,
    "pathology": Code("111042", "DCM", "Pathology"),
}


def task_concept(task: str) -> Code:
    """Returns the concept of a task, such as (129715009, SCT, 'Breast composition')."""
    return _TASKS.get(task.lower()) or private_concept(readable(task))
