"""Identifiers of the DICOM objects that are written, determined by source, model and kind of object."""

from __future__ import annotations

import uuid

from .results import Provenance

_NAMESPACE = uuid.UUID("6f1f0d0c-1b0f-5b0e-9a52-3f0c8f7f4b11")
"""Namespace of the name-based UUIDs (RFC 9562, version 5) of this package."""

MANUFACTURER = "MTMedFormer-MONAI"
"""Manufacturer (0008,0070) of all written objects."""

DEVICE_SERIAL_NUMBER = "none"
"""Device Serial Number (0018,1000), which software has none of; Enhanced General Equipment requires a value."""


def result_uid(source_uid: str, provenance: Provenance, kind: str) -> str:
    """Returns the UID of a result, which is the same for the same source, bundle, weights and kind.

    An archive therefore never stores a result twice. UIDs are derived from UUIDs under the root 2.25 (DICOM PS3.5 B.2).

    Args:
        source_uid: SOP Instance UID of the source image, or Study Instance UID of results of a study.
        provenance: bundle and weights.
        kind: what the UID identifies, such as 'seg instance' or 'seg series'.
    """
    name = "\n".join((source_uid, provenance.bundle_sha256, provenance.weights_sha256, kind))
    return f"2.25.{uuid.uuid5(_NAMESPACE, name).int}"
