"""Where results go: the archive's DICOMweb service, or a C-STORE receiver."""

from __future__ import annotations

from typing import Any, Protocol

from .archive import DicomWebArchive
from .case import ResultObject
from .config import StoreConfig
from .credentials import client_context
from .errors import ArchiveRefusedError, ArchiveUnavailableError


class Sender(Protocol):
    """Stores results; `DicomWebArchive` is one."""

    def has(self, item: ResultObject) -> bool:
        """Returns whether the receiver has an object; False if it cannot be asked."""

    def store(self, item: ResultObject) -> None:
        """Stores an object; raises ArchiveUnavailableError or ArchiveRefusedError."""


_UNCOMPRESSED = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
"""Explicit and Implicit VR Little Endian; the latter must be offered for every object (PS3.5 10.1)."""
_NO_SUCH_SYNTAX = 4
"""Result of a presentation context whose transfer syntaxes are not supported (PS3.8 9.3.3.2)."""


class CStoreSender:
    """Sends results by C-STORE (Storage SCU, DICOM PS3.4 B), decompressed for receivers that need it.

    Args:
        config: address and titles of the receiver.
        archive: asked by QIDO-RS whether an object is there already; None never asks: a receiver recognizes a repeated
            object by its UID.
    """

    def __init__(self, config: StoreConfig, archive: DicomWebArchive | None = None) -> None:
        self._config, self._archive = config, archive

    def has(self, item: ResultObject) -> bool:
        """Returns whether the archive has an object; see `Sender`."""
        return self._archive is not None and self._archive.has(item)

    def store(self, item: ResultObject) -> None:
        """Sends an object; see `Sender`."""
        import pydicom

        header = pydicom.dcmread(item.file)
        association = self._connect(item, header.file_meta.TransferSyntaxUID)
        try:
            _decompress_for(association, header)
            status = association.send_c_store(header)
        finally:
            association.release()
        code = status.get("Status") if status else None
        if code is None or 0xA700 <= code <= 0xA7FF:
            raise ArchiveUnavailableError("the receiver of results is out of resources, or ended the association")
        if code != 0x0000 and not 0xB000 <= code <= 0xBFFF:
            raise ArchiveRefusedError(f"the receiver does not accept a result (C-STORE status 0x{code:04X})")

    def _connect(self, item: ResultObject, syntax: str) -> Any:
        """Opens an association for one object."""
        import pynetdicom

        config = self._config
        entity = pynetdicom.AE(ae_title=config.calling_ae)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = 30.0
        for each in dict.fromkeys((syntax, *_UNCOMPRESSED)):  # one context for each: the receiver accepts all it can
            entity.add_requested_context(item.sop_class, each)
        tls = None if config.tls is None else (client_context(config.tls), config.host)
        association = entity.associate(config.host, config.port, ae_title=config.called_ae, tls_args=tls)
        if association.is_established:
            return association
        if association.acceptor.primitive is not None and association.rejected_contexts:
            if any(context.result == _NO_SUCH_SYNTAX for context in association.rejected_contexts):
                raise ArchiveRefusedError(
                    "the receiver of results takes neither its transfer syntax nor an uncompressed one; "
                    "permit Implicit VR Little Endian there"
                )
            raise ArchiveRefusedError("the receiver of results does not take this SOP class; permit it there")
        raise ArchiveUnavailableError("the receiver of results does not answer, or rejects the association")


def _decompress_for(association: Any, header: Any) -> None:
    """Decompresses an object in place if the receiver accepts only uncompressed ones."""
    syntax = header.file_meta.TransferSyntaxUID
    if not syntax.is_compressed or any(syntax in context.transfer_syntax for context in association.accepted_contexts):
        return
    header.decompress(generate_instance_uid=False)  # the object remains the same, as its codec is lossless
