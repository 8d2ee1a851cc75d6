"""UIDs of derived DICOM objects, which a repeated run reproduces (DICOM PS3.5, section 9)."""

from __future__ import annotations

import hashlib
import re

from mtmedformer_monai.deploy.results import Provenance

_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
"""Leading zeros are not allowed, but occur in archives."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


class InvalidUIDError(ValueError):
    """A UID of the source is none; the message does not repeat it."""


def derived_uid(source_uid: str, kind: str, model_sha256: str) -> str:
    """Returns the UID of an object that a model derives from a DICOM object.

    The UID depends on nothing but the arguments, so an archive that receives the result of a repeated run recognizes
    it as the same object. Another model, another source or another kind of object yields another UID.

    Args:
        source_uid: SOP Instance UID of the source image, or Series or Study Instance UID if the object describes a
            series or a study.
        kind: name of the kind of object, such as 'SEG' or 'SR'; a series of such objects is a kind of its own
            ('SR series').
        model_sha256: SHA-256 hash of everything that determines the model's output, 64 hexadecimal digits.

    Raises:
        InvalidUIDError: `source_uid` is not a UID of at most 64 characters.
        ValueError: `kind` is empty, or `model_sha256` is not a SHA-256 hash.

    Example:
        >>> derived_uid("1.2.3", "SR", "0" * 64) == derived_uid("1.2.3", "SR", "0" * 64)
        True
        >>> derived_uid("1.2.3", "SR", "0" * 64) == derived_uid("1.2.3", "SEG", "0" * 64)
        False
    """
    from pydicom.uid import generate_uid

    source_uid, digest = str(source_uid), model_sha256.lower()
    if len(source_uid) > 64 or not _UID.fullmatch(source_uid):
        raise InvalidUIDError(
            "the SOP, Series or Study Instance UID of the source expects numbers separated by points, at most 64 "
            f"characters, got {len(source_uid)} other characters; correct the source's header"
        )
    if not kind:
        raise ValueError("kind expects the name of the kind of object, such as 'SR', got ''.")
    if not _SHA256.fullmatch(digest):
        raise ValueError(
            f"model_sha256 expects 64 hexadecimal digits, got {len(model_sha256)} characters; compute it with "
            "mtmedformer_monai.io.file_sha256."
        )
    # UIDs hold no '|' and the hash has a fixed length, so different arguments never join to the same text.
    return str(generate_uid(entropy_srcs=[f"{source_uid}|{digest}|{kind}"]))


def model_sha256(provenance: Provenance) -> str:
    """Returns the hash of what determines the output of a model: bundle, weights, runtime, and package versions.

    Versions count, because objects with one UID are equal (PS3.3, C.12.1), and an archive that has the object of an
    earlier version ignores the corrected one.
    """
    versions = [f"{name} {version}" for name, version in sorted(provenance.versions.items())]
    parts = (provenance.bundle_sha256, provenance.weights_sha256, provenance.runtime, *versions)
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


def tracking_name(task: str, structure: str) -> str:
    """Returns the tracking identifier of a structure of a segmentation task."""
    return f"{task} {structure}"


def tracking_uid(source_uid: str, name: str, provenance: Provenance) -> str:
    """Returns the Tracking UID of a finding (PS3.3 C.8.20.4), which a segment and a measurement group share.

    Args:
        source_uid: SOP Instance UID of the source image.
        name: what identifies the finding in the image, such as `tracking_name`, or the task and the number of a box.
        provenance: what produced the finding.
    """
    return derived_uid(source_uid, f"finding {name}", model_sha256(provenance))
