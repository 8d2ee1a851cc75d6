"""Builds the header of a de-identified image from an allow-list of elements and of the words in them.

The Basic Application Level Confidentiality Profile (DICOM PS3.15 E.2) lists elements to remove. This module lists those
to keep: other elements do not survive, wherever they are nested, and private elements never do. Of text, only defined
terms survive, because any element may contain a name: `BodyPartExamined`, `CodeMeaning`, an explanation of a window. Of
numbers, only those survive that describe pixels, gray levels and geometry.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from mtmedformer_monai.transforms.dicom.body_part import read_body_part
from mtmedformer_monai.transforms.dicom.chest_rules import ChestRules
from mtmedformer_monai.transforms.dicom.code_strings import read_codes
from mtmedformer_monai.transforms.dicom.codes import REGIONS, VIEW_MODIFIERS, VIEWS, CodedTerm, code_item
from mtmedformer_monai.transforms.dicom.header import GEOMETRY_TAGS, GRAYSCALE_TAGS, PIXEL_TAGS, read_modality
from mtmedformer_monai.transforms.dicom.mammogram_rules import MammogramRules

METHOD = "Elements and words of an allow-list only; PS3.15 E.2"
"""Value of De-identification Method (LO, at most 64 characters)."""

_NUMERIC = frozenset({"DS", "IS", "US", "SS", "UL", "SL", "FD", "FL", "US or SS"})
_BYTES = frozenset({"OB", "OW", "US or OW", "OB or OW"})
"""VRs of bytes, which may be text in an element that is none of tables."""
_NOT_COPIED = frozenset({"PixelData", "FloatPixelData", "DoubleFloatPixelData", "NumberOfFrames", "ExtendedOffsetTable",
                         "ExtendedOffsetTableLengths"})  # fmt: skip
_LUT_SEQUENCES = ("ModalityLUTSequence", "VOILUTSequence")
_LUT_ELEMENTS = ("LUTDescriptor", "LUTData")

_TERMS = {
    "Modality": "CR DX MG RG CT MR US NM PT RF XA OT SC IO PX XC SR SEG PR KO",
    "PhotometricInterpretation": "MONOCHROME1 MONOCHROME2 RGB YBR_FULL YBR_FULL_422 YBR_RCT YBR_ICT PALETTE_COLOR",
    "PresentationIntentType": "FOR_PRESENTATION FOR_PROCESSING",
    "PresentationLUTShape": "IDENTITY INVERSE LIN_OD",
    "VOILUTFunction": "LINEAR LINEAR_EXACT SIGMOID",
    "PixelIntensityRelationship": "LIN LOG OTHER DISP",
    "BreastImplantPresent": "YES NO",
    "BurnedInAnnotation": "YES NO",
    "LossyImageCompression": "00 01",
    "ImageLaterality": "L R B U",
    "Laterality": "L R B LEFT RIGHT BOTH",
    "ImageType": "ORIGINAL DERIVED PRIMARY SECONDARY LEFT RIGHT MIXED TOMOSYNTHESIS TOMO_PROJ TOMO TOMO_SCOUT NONE "
    "GENERATED_2D SUBTRACTION STEREO_SCOUT STEREO_PLUS STEREO_MINUS PREFIRE POSTFIRE POSTBIOPSY POSTMARKER SPECIMEN "
    "VOLUME MAXIMUM MEAN MINIMUM SCANNED POST_PROCESSED POST_CONTRAST PRE_CONTRAST LOW_ENERGY HIGH_ENERGY",
}
"""Elements of which only defined terms survive; '_' stands for itself or a space."""

_WORDS = frozenset({
    "CHEST", "THORAX", "TORAX", "LUNG", "LUNGS", "BREAST", "MAMMA", "MAMMO", "MAMMOGRAPHY", "SPECIMEN", "SPINE",
    "CSPINE", "TSPINE", "LSPINE", "VERTEBRA", "RIB", "RIBS", "STERNUM", "ABDOMEN", "PELVIS", "HIP", "HIPS",
    "KNEE", "KNEES", "LEG", "LEGS", "FOOT", "FEET", "TOE", "ANKLE", "HEEL", "TIBIA", "FIBULA", "FEMUR", "ARM",
    "HAND", "HANDS", "WRIST", "FINGER", "THUMB", "ELBOW", "FOREARM", "HUMERUS", "SHOULDER", "CLAVICLE",
    "SCAPULA", "HEAD", "SKULL", "NECK", "JAW", "FACE", "NASAL", "SINUS", "ORBIT", "HEART", "AORTA", "COLON",
    "BLADDER", "KIDNEY", "EXTREMITY", "WHOLEBODY", "HEADNECK", "UNKNOWN", "OTHER", "NONE", "PA", "AP", "LL",
    "RL", "LAT", "LATERAL", "LLAT", "RLAT", "OBL", "OBLIQUE", "RAO", "LAO", "RPO", "LPO", "LLO", "RLO", "LLD",
    "RLD", "FRN", "FRONTAL", "SAGITTAL", "DECUBITUS", "CC", "MLO", "ML", "LM", "LMO", "FB", "SIO", "ISO", "XCC",
    "XCCL", "XCCM", "RCC", "LCC", "RMLO", "LMLO", "CCID", "MLOID", "MLID", "LMID", "CRANIOCAUDAL",
    "MEDIOLATERAL", "LATEROMEDIAL", "CANINE", "FELINE", "EQUINE", "VETERINARY", "AVIAN", "BOVINE", "L", "R",
    "P", "A", "LEFT", "RIGHT", "PORTABLE", "PORT", "ERECT", "SUPINE",
})  # fmt: skip
"""Words of free text that survive: body parts, views and sides."""

_TEXTS = ("BodyPartExamined", "ViewPosition", "AcquisitionDeviceProcessingDescription")
_DIRECTIONS = re.compile(r"[APRLHF]{1,3}")
_CODE_SEQUENCES = {
    "ViewCodeSequence": tuple(VIEWS.values()),
    "AnatomicRegionSequence": tuple(REGIONS.values()),
    "ViewModifierCodeSequence": tuple(VIEW_MODIFIERS.values()),
}


def clean_header(header: Any) -> Any:
    """Returns a pydicom Dataset with those elements of an image's header that cannot identify a person.

    It has neither UIDs, nor patient and study, nor pixel data.

    Args:
        header: as returned by `read_header`.

    Raises:
        ValueError: without its free text, the image would be judged by admission rules as another kind of image.
    """
    from pydicom.dataset import Dataset

    clean = Dataset()
    for keyword in (*PIXEL_TAGS, *GRAYSCALE_TAGS, *GEOMETRY_TAGS):
        if keyword in header and keyword not in _NOT_COPIED and _is_numeric(header[keyword]):
            clean.add(deepcopy(header[keyword]))
    _copy_tables(header, clean)
    for keyword, terms in _TERMS.items():
        _keep_terms(header, clean, keyword, frozenset(terms.split()))
    _copy_orientation(header, clean)
    _copy_codes(header, clean, ("ViewCodeSequence", "AnatomicRegionSequence"))
    for keyword in _TEXTS:
        if words := [word for value in read_codes(header, keyword) for word in _words(value)]:
            setattr(clean, keyword, " ".join(words)[:16].strip())
    if (part := read_body_part(header)) in ("chest", "breast") and read_body_part(clean) != part:
        clean.BodyPartExamined = part.upper()
    _copy_class(header, clean)
    _check_kinds(header, clean)
    return clean


def _is_numeric(element: Any) -> bool:
    """Returns whether an element has numbers, and bytes only where the standard has them: a file may misuse any VR."""
    from pydicom.datadict import dictionary_VR

    return element.VR in _NUMERIC or (element.VR in _BYTES and "OW" in dictionary_VR(element.tag))


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"[A-Z]+", text) if word in _WORDS]


def _keep_terms(header: Any, clean: Any, keyword: str, terms: frozenset[str]) -> None:
    found = [value if value.replace(" ", "_") in terms else "" for value in read_codes(header, keyword)]
    if any(found):
        setattr(clean, keyword, found if len(found) > 1 else found[0])


def _copy_tables(header: Any, clean: Any) -> None:
    """Copies look-up tables without their explanations and types, which are free text."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    for keyword in _LUT_SEQUENCES:
        items = []
        for item in header.get(keyword) or ():
            table = Dataset()
            for name in _LUT_ELEMENTS:
                if name in item and _is_numeric(item[name]):
                    table.add(deepcopy(item[name]))
            items.append(table)
        if items:
            setattr(clean, keyword, Sequence(items))


def _copy_orientation(header: Any, clean: Any) -> None:
    values = read_codes(header, "PatientOrientation")
    if len(values) == 2 and all(_DIRECTIONS.fullmatch(value) for value in values):
        clean.PatientOrientation = list(values)
    elif len(values) == 1 and values[0] in _WORDS:  # CBIS-DDSM has the view here
        clean.PatientOrientation = values[0]


def _copy_codes(header: Any, clean: Any, keywords: Iterable[str]) -> None:
    """Copies known codes; their meanings are those of the standard."""
    from pydicom.sequence import Sequence

    for keyword in keywords:
        items = []
        for item in header.get(keyword) or ():
            term = _term(str(item.get("CodeValue") or "").strip(), _CODE_SEQUENCES[keyword])
            if term is not None:
                items.append(code_item(term))
                _copy_codes(item, items[-1], ["ViewModifierCodeSequence"])
        if items:
            setattr(clean, keyword, Sequence(items))


def _term(value: str, terms: Iterable[CodedTerm]) -> CodedTerm | None:
    return next((term for term in terms if value and value in (term.value, *term.older)), None)


def _copy_class(header: Any, clean: Any) -> None:
    from pydicom.uid import UID_dictionary

    value = str(header.get("SOPClassUID") or "").strip(" \0")
    if value in UID_dictionary:
        clean.SOPClassUID = value


def _check_kinds(header: Any, clean: Any) -> None:
    """Checks that the rules judge the image as before; only unverified properties may be added."""
    for rules in (MammogramRules(),) if read_modality(header) == "MG" else (ChestRules(), MammogramRules()):
        lost = set(rules.find_kinds(header)) - set(rules.find_kinds(clean))
        if lost := {kind for kind in lost if not kind.startswith("unknown")}:
            raise ValueError(
                f"its header shows by free text that it is {rules.descriptions[min(lost)]}, and free text is removed"
            )
