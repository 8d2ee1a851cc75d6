"""Times of outputs: the moment of their creation, in the time zone that the object states."""

from datetime import datetime, timedelta

import pytest

from mtmedformer_monai.deploy.headers.creation_time import read_time_zone
from tests.deploy.headers.all_outputs import outputs_of
from tests.deploy.sources import write_mammogram

KINDS = {"SEG": "Content", "SR": "Content", "GSPS": "PresentationCreation", "CAD SR": "Content"}


def times_of(made, kind):
    """All times of creation that an object states, as aware datetimes; local ones if it states no offset."""
    texts = [made[f"{name}Date"].value + made[f"{name}Time"].value[:6] for name in ("InstanceCreation", kind)]
    texts += [
        str(item.ContributionDateTime)[:14]
        for item in made.get("ContributingEquipmentSequence", [])
        if "ContributionDateTime" in item
    ]
    zone = read_time_zone(made)
    naive = [datetime.strptime(text, "%Y%m%d%H%M%S") for text in texts]
    return [time.replace(tzinfo=zone) if zone else time.astimezone() for time in naive]


@pytest.mark.parametrize("offset", ["+0900", "-1130", "+1400", None])
def test_times_are_in_the_zone_of_the_source(tmp_path, offset):
    write_mammogram(tmp_path / "a.dcm", **({"TimezoneOffsetFromUTC": offset} if offset else {}))
    for kind, made in outputs_of(tmp_path / "a.dcm").items():
        assert made.get("TimezoneOffsetFromUTC") == offset
        for time in times_of(made, KINDS[kind]):
            assert abs(datetime.now().astimezone() - time) < timedelta(minutes=1)


@pytest.mark.parametrize("offset", ["9", "+1500", "-1230", "-0000", "+0960", "UTC"])
def test_an_invalid_offset_is_left_out(tmp_path, offset):
    write_mammogram(tmp_path / "a.dcm", TimezoneOffsetFromUTC=offset)
    for kind, made in outputs_of(tmp_path / "a.dcm").items():
        assert "TimezoneOffsetFromUTC" not in made
        for time in times_of(made, KINDS[kind]):
            assert abs(datetime.now().astimezone() - time) < timedelta(minutes=1)
