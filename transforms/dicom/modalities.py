"""Values of Modality for messages: defined terms only, because a damaged header can contain any text there."""

from __future__ import annotations

_TERMS = (
    "ANN AR ASMT AU BDUS BI BMD CFM CR CT CTPROTOCOL DG DMS DOC DX ECG EEG EMG EOG EPS ES FID GM HC HD IO IOL "
    "IVOCT IVUS KER KO LEN LS M3D MG MR NM OAM OCT OP OPM OPT OPTBSV OPTENF OPV OSS OT PA PLAN POS PR PT PX "
    "REG RESP RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF "
    "STAIN TEXTUREMAP TG US VA XA XAPROTOCOL XC "
)
MODALITIES = frozenset(_TERMS.split())
"""Defined terms (DICOM PS3.3 C.7.3.1.1.1)."""


def describe_modality(modality: str) -> str:
    """Returns a defined term as it is, 'missing' for '', and 'not a defined term' for any other text."""
    if not modality:
        return "missing"
    return modality if modality in MODALITIES else "not a defined term"
