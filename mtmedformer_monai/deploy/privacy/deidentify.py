"""De-identifies DICOM images before anything is computed from them, so that no result can contain an identifier.

The copy has the elements of `deidentified_header` and newly encoded pixels: comments in a JPEG stream, bits above Bits
Stored, overlays and thumbnails do not survive. Text that is burned into the pixels does; an image whose header states
such text is refused.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mtmedformer_monai.io.atomic_files import write_atomically
from mtmedformer_monai.transforms.dicom.code_strings import read_code
from mtmedformer_monai.transforms.dicom.header import UID_TAGS, read_uids
from mtmedformer_monai.transforms.dicom.parse import read_header
from mtmedformer_monai.transforms.dicom.pixels.decode import decode_pixels
from mtmedformer_monai.transforms.errors import RefusedImageError

from .deidentified_header import METHOD, clean_header

BURNED_IN = "burned_in"
"""Name of the rule that refuses images with burned-in annotation."""

UNVERIFIED = "Burned In Annotation is not stated in the header: text in the pixels, if there is any, was not removed."

_MORE_TAGS = ("BurnedInAnnotation", "LossyImageCompression", "PatientID")
_EMPTY = (
    "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber", "StudyID", "ReferringPhysicianName",
    "Manufacturer", "InstanceNumber", "SeriesNumber",
)  # fmt: skip
"""Elements of type 2, which must be present (PS3.3 C.7.1.1, C.7.2.1, C.7.3.1, C.7.5.1)."""

_BIG_ENDIAN = "1.2.840.10008.1.2.2"


@dataclass(frozen=True)
class Deidentifier:
    """Replaces identifiers consistently: equal keys give equal pseudonyms.

    Without the key, nobody can check a guess of an identifier.

    Attributes:
        key: secret key of the pseudonyms.
        keeps_uids: whether UIDs are kept, so that results can be filed with their study (the Retain UIDs Option of
            PS3.15 E.3.9).
    """

    key: bytes = field(repr=False)
    keeps_uids: bool = False

    def uid(self, uid: str) -> str:
        """Returns the UID that stands for another one; '' for ''."""
        if not uid or self.keeps_uids:
            return uid
        return f"2.25.{int(self._digest('uid', uid)[:32], 16)}"  # PS3.5 B.2

    def patient(self, identifier: str) -> str:
        """Returns the pseudonym of a Patient ID; '' for ''."""
        return f"ANON{self._digest('patient', identifier)[:16].upper()}" if identifier else ""

    def fingerprint(self) -> str:
        """Returns a keyed hash that differs if the key or the handling of UIDs differs, and does not tell the key."""
        return self._digest("settings", "keep" if self.keeps_uids else "replace")

    def _digest(self, kind: str, text: str) -> str:
        return hmac.new(self.key, f"{kind} {text}".encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()

    def write_copy(self, source: Path, target: Path) -> bool:
        """Writes a de-identified copy of a DICOM image, atomically.

        Args:
            source: the image.
            target: the copy; may be `source`.

        Returns:
            Whether the header states that no text is burned into the pixels.

        Raises:
            RadiographError: the image cannot be read.
            RefusedImageError: text is burned into the pixels, or the image cannot be described without free text.
            OSError: the copy cannot be written.
        """
        header = read_header(source, more_tags=_MORE_TAGS)
        if read_code(header, "BurnedInAnnotation") == "YES":
            raise RefusedImageError(
                source,
                f"text is burned into its pixels (Burned In Annotation), and the rule is {BURNED_IN}='refuse'",
                "remove the text, or exclude it",
                BURNED_IN,
            )
        copy = self._make_copy(source, header)
        write_atomically(target, lambda file: copy.save_as(file, enforce_file_format=True))
        return read_code(header, "BurnedInAnnotation") == "NO"

    def _make_copy(self, path: Path, header: Any) -> Any:
        try:
            copy = clean_header(header)
        except ValueError as error:
            raise RefusedImageError(
                path,
                f"{error}, and the rule is free_text='refuse'",
                "correct its Body Part Examined, View Position or codes, or exclude it",
                "free_text",
            ) from error
        for keyword, uid in zip(UID_TAGS, read_uids(header), strict=True):
            setattr(copy, keyword, self.uid(uid))
        copy.PatientID = copy.PatientName = self.patient(str(header.get("PatientID") or "").strip())
        for keyword in _EMPTY:
            setattr(copy, keyword, None)
        copy.PatientIdentityRemoved, copy.DeidentificationMethod = "YES", METHOD
        copy.LongitudinalTemporalInformationModified = "REMOVED"
        _set_pixels(path, header, copy)
        return copy


def read_key(path: Path) -> bytes:
    """Reads a key from a file; surrounding white space is ignored.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the key has fewer than 16 bytes, so that pseudonyms could be guessed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"the key of de-identification expects a file, found none at {path}.")
    key = path.read_bytes().strip()
    if len(key) < 16:
        raise ValueError(
            f"the key of de-identification expects 16 bytes or more, got {len(key)}; write one by "
            "'openssl rand -hex 32 > KEY_FILE'."
        )
    return key


def _set_pixels(path: Path, header: Any, copy: Any) -> None:
    """Adds the decoded pixels, uncompressed, and the description of their encoding (PS3.3 C.7.6.3)."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

    pixels, photometric = decode_pixels(path, header)
    is_big = str(header.file_meta.TransferSyntaxUID) == _BIG_ENDIAN  # look-up tables are copied in their byte order
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    copy.PhotometricInterpretation = "YBR_FULL" if photometric == "YBR_FULL_422" else photometric
    copy.Rows, copy.Columns, copy.SamplesPerPixel = pixels.shape[0], pixels.shape[1], samples
    copy.BitsAllocated = 8 * pixels.dtype.itemsize
    copy.BitsStored = min(int(header.get("BitsStored") or copy.BitsAllocated), copy.BitsAllocated)
    copy.HighBit = copy.BitsStored - 1
    copy.PixelRepresentation = int(pixels.dtype.kind == "i")
    if samples > 1:
        copy.PlanarConfiguration = 0
    elif "PlanarConfiguration" in copy:
        del copy.PlanarConfiguration
    data = np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder(">" if is_big else "<")).tobytes()
    copy.add_new("PixelData", "OB" if pixels.dtype.itemsize == 1 else "OW", data + b"\0" * (len(data) % 2))
    copy.file_meta = FileMetaDataset()
    copy.file_meta.TransferSyntaxUID = ExplicitVRBigEndian if is_big else ExplicitVRLittleEndian
