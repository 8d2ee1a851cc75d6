"""States when an object was made, in the time zone of its source (DICOM PS3.3 C.12.1.1)."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from pydicom.dataset import Dataset

_OFFSET = re.compile(r"([+-])(\d\d)([0-5]\d)")
_LONGEST = {"+": timedelta(hours=14), "-": timedelta(hours=12)}


def set_creation_time(header: Dataset, made: Dataset, kind: str) -> None:
    """Sets date and time of an object's creation to now.

    Timezone Offset From UTC applies to all dates and times of an object, also to those that are copied from its source.
    It is therefore that of the source; without a valid one, times are local and there is no offset.

    Args:
        header: header of the source.
        made: the object, changed in place; items about highdicom's contribution are changed as well.
        kind: prefix of the dates that are set beside Instance Creation Date: 'Content' or 'PresentationCreation'.
    """
    zone = read_time_zone(header)
    if zone is not None:
        made.TimezoneOffsetFromUTC = str(header.TimezoneOffsetFromUTC).strip()
    now = datetime.now(zone)
    for name in ("InstanceCreation", kind):
        setattr(made, f"{name}Date", now.strftime("%Y%m%d"))
        setattr(made, f"{name}Time", now.strftime("%H%M%S"))
    for item in made.get("ContributingEquipmentSequence") or ():
        if "ContributionDateTime" in item:
            item.ContributionDateTime = now.strftime("%Y%m%d%H%M%S")


def read_time_zone(header: Dataset) -> timezone | None:
    """Returns the time zone of a header, from -1200 to +1400, or None if it has no valid one; -0000 is not valid.

    Example:
        >>> header = Dataset()
        >>> header.TimezoneOffsetFromUTC = "+0530"
        >>> str(read_time_zone(header))
        'UTC+05:30'
    """
    found = _OFFSET.fullmatch(str(header.get("TimezoneOffsetFromUTC") or "").strip())
    if found is None:
        return None
    sign, hours, minutes = found.groups()
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    if offset > _LONGEST[sign] or (sign == "-" and not offset):
        return None
    return timezone(offset if sign == "+" else -offset)
