"""How the worker learns of new images: by Orthanc's change log, or by repeated searches.

A feed reads one page at a time, registers its images, and only then remembers its position. After a restart the last
page may be read again, which has no effect, because known images are ignored.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from .archive import DicomWebArchive, Found
from .config import ArchiveConfig
from .errors import ArchiveUnavailableError, NotInArchiveError
from .state import StateStore


class Feed(Protocol):
    """Source of new images."""

    def poll(self, take: Callable[[Found], None]) -> bool:
        """Reads the next page, and passes its images to `take`; returns whether there may be more."""


class OrthancFeed:
    """Follows the change log of Orthanc (`/changes`), in which every new image has a number.

    An archive that was rebuilt numbers its changes from 1 again. It is recognized at the start, and whenever the
    archive was away, by a change that has a number already read but is later than the last change read; its log is
    then read from the beginning. A log that was cleared lacks all changes up to the last one read; the archive's
    images are then listed, and those received since that change are taken.

    Args:
        archive: the archive.
        state: remembers the position.
        config: page size, and where to start.
    """

    def __init__(self, archive: DicomWebArchive, state: StateStore, config: ArchiveConfig) -> None:
        self._archive, self._state, self._config = archive, state, config
        self._is_same_log = False

    def poll(self, take: Callable[[Found], None]) -> bool:
        """Reads the next page of changes; see `Feed`."""
        try:
            return self._poll(take)
        except ArchiveUnavailableError:
            self._is_same_log = False
            raise

    def _poll(self, take: Callable[[Found], None]) -> bool:
        since = self._since()
        if not self._is_same_log and self._was_rebuilt(since):
            self._set_position(0, [])
            since = 0
        self._is_same_log = True
        page = self._archive.orthanc("/changes", since=since, limit=self._config.page)
        for change in page["Changes"]:
            if change["ChangeType"] == "NewInstance":
                for found in self._look_up(str(change["ID"])):
                    take(found)
        if self._was_cleared(since, page):
            self._list(take)
        if page["Changes"] or page["Last"] > since:
            self._set_position(int(page["Last"]), page["Changes"])
        elif since and int(self._archive.orthanc("/changes", last="")["Last"]) < since:
            self._set_position(0, [])  # the log was started anew while the worker watched
            return True
        return not page["Done"]

    def _was_rebuilt(self, since: int) -> bool:
        date = self._state.mark(_POSITION_DATE)
        first = self._archive.orthanc("/changes", since=0, limit=1)["Changes"] if since and date else []
        return bool(first) and int(first[0]["Seq"]) <= since and str(first[0]["Date"]) > str(date)

    def _was_cleared(self, since: int, page: Any) -> bool:
        """Returns whether changes after the position are missing, and all before it; deleted images leave gaps too."""
        following = int(page["Changes"][0]["Seq"]) if page["Changes"] else int(page["Last"]) + 1
        if following <= since + 1:
            return False
        first = self._archive.orthanc("/changes", since=0, limit=1)["Changes"]
        return not first or int(first[0]["Seq"]) > since

    def _list(self, take: Callable[[Found], None]) -> None:
        """Takes all images of the archive that it received since the last change read."""
        date, offset = self._state.mark(_POSITION_DATE) or "", 0
        while numbers := self._archive.orthanc("/instances", since=offset, limit=self._config.page):
            offset += len(numbers)
            for number in map(str, numbers):
                if not date or self._received(number) >= date:
                    for found in self._look_up(number):
                        take(found)

    def _received(self, number: str) -> str:
        """Returns when an image was received, such as 20200131T235959; a deleted one never."""
        try:
            return str(self._archive.orthanc(f"/instances/{number}/metadata", expand="").get("ReceptionDate", ""))
        except NotInArchiveError:
            return ""

    def _set_position(self, last: int, changes: Sequence[Any]) -> None:
        """Remembers number and date of the last change read; the date first, so that a crash repeats changes."""
        if changes or not last:
            self._state.set_mark(_POSITION_DATE, str(changes[-1]["Date"]) if changes else None)
        self._state.set_mark(_POSITION, str(last))

    def _since(self) -> int:
        mark = self._state.mark(_POSITION)
        if mark is None:
            at_end = self._config.start == "now"
            page: Any = self._archive.orthanc("/changes", last="") if at_end else {"Last": 0, "Changes": []}
            self._set_position(int(page["Last"]), page["Changes"])
            return int(page["Last"])
        return int(mark)

    def _look_up(self, number: str) -> list[Found]:
        """Finds the UIDs of an image by Orthanc's number; images that were deleted in the meantime are left out."""
        try:
            tags = self._archive.orthanc(f"/instances/{number}")["MainDicomTags"]
        except NotInArchiveError:
            return []
        return self._archive.search({"SOPInstanceUID": str(tags["SOPInstanceUID"]), "limit": 1})


class QidoFeed:
    """Searches the images of recent studies again and again, page by page.

    DICOMweb has no order of arrival. So each pass covers all studies whose Study Date is within `lookback_days`, or
    since the last complete pass if that is longer ago. Images of older studies, and of studies without a date, must be
    sent by C-STORE.

    Args:
        archive: the archive.
        state: remembers the date of the last complete pass.
        config: page size, and the days to cover.
        modalities: only images of these are searched for.
        today: returns the date.
    """

    def __init__(
        self,
        archive: DicomWebArchive,
        state: StateStore,
        config: ArchiveConfig,
        modalities: Sequence[str],
        today: Callable[[], datetime.date] = datetime.date.today,
    ) -> None:
        self._archive, self._state, self._config, self._today = archive, state, config, today
        self._modalities = tuple(modalities) or ("",)
        self._pass: list[tuple[str, int]] = []
        self._began = today()

    def poll(self, take: Callable[[Found], None]) -> bool:
        """Reads the next page of the current pass; see `Feed`."""
        if not self._pass:
            self._began = self._today()
            self._pass = [(modality, 0) for modality in self._modalities]
        modality, offset = self._pass[0]
        query: dict[str, str | int] = {"limit": self._config.page, "offset": offset, **self._window()}
        page = self._archive.search({**query, "Modality": modality} if modality else query)
        for found in page:
            take(found)
        if page:  # a short page is not the last: archives may have a lower limit of their own
            self._pass[0] = (modality, offset + len(page))
        else:
            del self._pass[0]
        if not self._pass:
            self._state.set_mark(_LAST_PASS, self._began.isoformat())
        return bool(self._pass)

    def _window(self) -> dict[str, str]:
        last = self._state.mark(_LAST_PASS)
        if last is None and self._config.start == "beginning":
            return {}
        first = min(datetime.date.fromisoformat(last or self._began.isoformat()), self._began)
        first -= datetime.timedelta(days=self._config.lookback_days)
        return {"StudyDate": f"{first:%Y%m%d}-"}


_POSITION, _POSITION_DATE, _LAST_PASS = "orthanc changes", "date of orthanc changes", "qido pass"
POSITIONS = (_POSITION, _POSITION_DATE, _LAST_PASS)
"""Names of the positions that the state remembers."""


def make_feed(
    archive: DicomWebArchive, state: StateStore, config: ArchiveConfig, modalities: Sequence[str]
) -> Feed | None:
    """Returns the configured feed, or None if the worker only receives images."""
    if config.feed == "none":
        return None
    if config.feed == "orthanc":
        return OrthancFeed(archive, state, config)
    return QidoFeed(archive, state, config, modalities)
