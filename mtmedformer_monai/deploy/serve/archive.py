"""A client of the archive: QIDO-RS, WADO-RS and STOW-RS (DICOM PS3.18), and Orthanc's REST API."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .case import ResultObject, Source
from .config import ArchiveConfig
from .credentials import open_session
from .errors import ArchiveRefusedError, ArchiveUnavailableError, NotInArchiveError, ObjectTooLargeError
from .multipart import decode_part, encode_file

if TYPE_CHECKING:
    import requests

_JSON = "application/dicom+json"
_WAIT = (401, 403, 408, 429, 502, 503, 504, 507)
"""Status codes that concern every request: wrong credentials, overload, an archive that is down or full."""

_BLOCK = 2**18
_FAILED, _REASON, _STORED = "00081198", "00081197", "00081199"
_OUT_OF_RESOURCES = range(0xA700, 0xA800)
FIELDS = ("00080016", "00080060", "00280008")
"""SOP Class UID, Modality and Number of Frames, by which most images can be refused without fetching them."""


@dataclass(frozen=True)
class Found:
    """An image in the archive.

    Attributes:
        source: its UIDs.
        sop_class: SOP Class UID, or '' if the archive does not tell.
        modality: Modality, likewise.
        frames: Number of Frames; 1 if the archive does not tell.
    """

    source: Source
    sop_class: str
    modality: str
    frames: int


class DicomWebArchive:
    """The archive. Not safe for use by several threads.

    Args:
        config: address, authentication and limits.
        session: HTTP session; None opens one as configured.
    """

    def __init__(self, config: ArchiveConfig, session: requests.Session | None = None) -> None:
        self._config, self._session = config, session or open_session(config)
        self._url = config.url.rstrip("/")
        self._orthanc = (config.orthanc_url or config.url.rstrip("/").rpartition("/")[0]).rstrip("/")

    def search(self, query: Mapping[str, str | int], study_uid: str = "") -> list[Found]:
        """Searches for images (QIDO-RS); images with incomplete UIDs are left out.

        Args:
            query: {keyword: value}, and `limit` and `offset`.
            study_uid: study to search in; '' searches in the whole archive.

        Raises:
            ArchiveUnavailableError: the archive cannot be asked now.
            ArchiveRefusedError: it refuses the request.
        """
        path = f"/studies/{study_uid}/instances" if study_uid else "/instances"
        fields = {"includefield": ",".join(FIELDS)}
        try:
            answer = self._ask("GET", self._url + path, params={**query, **fields}, headers={"Accept": _JSON})
        except NotInArchiveError:
            return []
        entries = [] if answer.status_code == 204 else _json(answer)
        found = [_found(entry) for entry in entries if isinstance(entry, dict)]
        return [item for item in found if item.source.uid and item.source.series_uid and item.source.study_uid]

    def has(self, item: ResultObject) -> bool:
        """Returns whether the archive has an object; raises as `search`."""
        found = self.search({"SOPInstanceUID": item.uid, "limit": 1}, item.study_uid)
        return any(entry.source.uid == item.uid for entry in found)

    def fetch(self, source: Source, path: Path, max_bytes: int) -> None:
        """Retrieves an image (WADO-RS) into a file, in its original transfer syntax and without loading it to memory.

        Raises:
            NotInArchiveError: the archive does not have it.
            ObjectTooLargeError: it has more than `max_bytes`.
            ArchiveUnavailableError, ArchiveRefusedError: as `search`.
            OSError: the file cannot be written.
        """
        url = f"{self._url}/studies/{source.study_uid}/series/{source.series_uid}/instances/{source.uid}"
        accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        answer = self._ask("GET", url, headers={"Accept": accept}, stream=True)
        size = 0
        with answer, path.open("wb") as file:
            for block in self._part(answer):
                size += len(block)
                if size > max_bytes:
                    raise ObjectTooLargeError
                file.write(block)

    def store(self, item: ResultObject) -> None:
        """Stores an object (STOW-RS).

        Raises:
            ArchiveUnavailableError: the archive cannot be reached, or is out of resources.
            ArchiveRefusedError: it does not accept the object.
        """
        kind, body = encode_file(item.file)
        headers = {"Content-Type": kind, "Accept": _JSON}
        answer = self._ask("POST", f"{self._url}/studies", data=body, headers=headers, accepted=(409,))
        content = _json(answer)
        reasons = [_value(entry, _REASON) for entry in _items(content, _FAILED)]
        if any(isinstance(reason, int) and reason in _OUT_OF_RESOURCES for reason in reasons):
            raise ArchiveUnavailableError("the archive is out of resources")
        if reasons or answer.status_code == 409 or not _items(content, _STORED):
            shown = ", ".join(f"0x{reason:04X}" for reason in reasons if isinstance(reason, int))
            raise ArchiveRefusedError(f"the archive does not accept a result (failure reason {shown or 'not stated'})")

    def orthanc(self, path: str, **query: int | str) -> Any:
        """Returns the answer of Orthanc's REST API to GET; raises as `search`, and NotInArchiveError."""
        return _json(self._ask("GET", self._orthanc + path, params=query))

    def _ask(self, method: str, url: str, accepted: Iterable[int] = (), **options: Any) -> requests.Response:
        """Sends a request, and sorts its failures by what is to be done."""
        import requests

        try:
            answer = self._session.request(method, url, timeout=self._config.timeout_seconds, **options)
        except requests.RequestException as error:
            raise ArchiveUnavailableError(_unreachable(error)) from None  # the message may contain the address
        code = answer.status_code
        if code < 400 or code in accepted:
            return answer
        answer.close()
        if code in (401, 403):
            raise ArchiveUnavailableError(f"the archive refuses the credentials (HTTP {code}); check archive.auth")
        if code in _WAIT:
            raise ArchiveUnavailableError(f"the archive is overloaded or down (HTTP {code})")
        if code in (404, 410):
            raise NotInArchiveError
        raise ArchiveRefusedError(f"the archive refuses a {method} request (HTTP {code})")

    def _part(self, answer: requests.Response) -> Iterator[bytes]:
        """Yields the content of an answer with one part."""
        import requests

        try:
            yield from decode_part(answer.iter_content(_BLOCK), answer.headers.get("Content-Type", ""))
        except requests.RequestException as error:
            raise ArchiveUnavailableError(_unreachable(error)) from None
        except ValueError as error:
            raise ArchiveRefusedError(f"the archive's answer to a retrieval is wrong: {error}") from None


def _unreachable(error: Exception) -> str:
    return f"the archive does not answer ({type(error).__name__})"


def _json(answer: requests.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        raise ArchiveRefusedError("the archive's answer is not JSON; check archive.url") from None


def _found(entry: Mapping[str, Any]) -> Found:
    """Reads one entry of a search, in DICOM JSON (PS3.18 F)."""
    uid, series, study = (str(_value(entry, tag) or "") for tag in ("00080018", "0020000E", "0020000D"))
    sop_class, modality, frames = (_value(entry, tag) for tag in FIELDS)
    return Found(Source(uid, series, study), str(sop_class or ""), str(modality or ""), _count(frames))


def _count(value: Any) -> int:
    """Returns a Number of Frames; 1 if the archive's value is not a number, because the file's own is checked later."""
    try:
        return int(value or 1)
    except (TypeError, ValueError, OverflowError):
        return 1


def _value(entry: Mapping[str, Any], tag: str) -> Any:
    values = entry.get(tag, {}).get("Value") or [None]
    return values[0]


def _items(entry: Any, tag: str) -> list[Mapping[str, Any]]:
    return list(entry.get(tag, {}).get("Value") or []) if isinstance(entry, dict) else []
