"""What getLicenseAsync and the calls about authorization codes may say (spec §4.1, §4.2)."""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.errors import BadEvent
from billing_sync.koogallery import v2
from billing_sync.koogallery.fields import parse
from billing_sync.koogallery.licence_fields import licence_ms, to_asked, to_code_event
from billing_sync.koogallery.query import Addresses
from billing_sync.lifecycle import Activity, Event, identity

WISH = {
    "activity": "getLicenseAsync",
    "eventId": "8f0e5694-c8",
    "instanceId": "RA2LVS",
    "effectiveTime": "2023-10-27 10:30:15 z",
    "expireTime": "2024-10-27 10:30:15 z",
    "deviceFingerprint": "aa:bb|disk-1",
}
REFRESH = {
    "activity": "refreshLicenseCode",
    "scene": "RENEWAL",
    "orderId": "o",
    "orderLineId": "l",
    "license": "PL1",
    "expireTime": "20230523201932",
}


def parsed(fields: Mapping[str, object], **more: object) -> object:
    return to_asked(parse(json.dumps({**fields, **more}).encode()))


def test_the_pages_own_example() -> None:
    """Times with a space and a small z are UTC."""
    asked = to_asked(parse(json.dumps(WISH).encode()))
    assert (asked.event_id, asked.instance_id, asked.fingerprint) == (
        "8f0e5694-c8",
        "RA2LVS",
        "aa:bb|disk-1",
    )
    assert asked.effective == int(datetime(2023, 10, 27, 10, 30, 15, tzinfo=UTC).timestamp()) * 1000
    assert asked.expires - asked.effective == 366 * 86_400_000
    assert "aa:bb" not in repr(asked)


@pytest.mark.parametrize(
    "text",
    [
        "2023-10-27 10:30:15 z",
        "2023-10-27 10:30:15 Z",
        "2023-10-27 10:30:15z",
        "2023-10-27 10:30:15",
        "2023-10-27 10:30:15 UTC",
        "2023-10-27T10:30:15Z",
        "2023-10-27T10:30:15.000Z",
        "2023-10-27T18:30:15+08:00",
        "2023-10-27 18:30:15 +0800",
        "20231027103015",
        "20231027103015000",
    ],
)
def test_other_ways_to_write_a_time(text: str) -> None:
    """Other interfaces of the marketplace print them so."""
    assert licence_ms("t", text) == 1_698_402_615_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "2023-10-27",
        "2023-13-01 00:00:00 z",
        "2023-02-29 00:00:00 z",
        "2023-10-27 24:00:00 z",
        "2023-10-27 10:30:15 x",
        "2023-10-27 10:30:15 +99:00",
        "2023-10-27 10:30:15 +08:61",
        "0001-01-01 00:00:00 +08:00",
        "9999-12-31 23:59:59 -08:00",
        "٢٠٢٣-10-27 10:30:15 z",
        "1698402615",
    ],
)
def test_what_is_no_time(text: str) -> None:
    """Is refused by the field's name."""
    with pytest.raises(BadEvent, match="effectiveTime"):
        licence_ms("effectiveTime", text)


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(9998, 1, 1)),  # noqa: DTZ001  (a zone follows)
    st.integers(-14 * 60, 14 * 60),
)
def test_every_time_is_read_as_it_was_written(moment: datetime, offset: int) -> None:
    """To the millisecond, in any zone."""
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    text = aware.isoformat(sep=" ", timespec="milliseconds")
    exact = (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert licence_ms("t", text) == exact


@given(st.text(max_size=40))
def test_whatever_is_sent_is_a_time_or_refused(text: str) -> None:
    """No other exception comes out."""
    with suppress(BadEvent):
        assert isinstance(licence_ms("t", text), int)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"eventId": ""}, "eventId is missing"),
        ({"eventId": "e" * 65}, "eventId is longer"),
        ({"eventId": ".."}, "eventId"),
        ({"instanceId": ""}, "instanceId is missing"),
        ({"effectiveTime": ""}, "effectiveTime is missing"),
        ({"effectiveTime": "1" * 33}, "effectiveTime is longer"),
        ({"expireTime": "2023-10-27 10:30:15 z"}, "not after"),
        ({"expireTime": "2023-10-27 10:30:16 x"}, "expireTime is not"),
        ({"deviceFingerprint": "f" * 1025}, "deviceFingerprint is longer"),
        ({"deviceFingerprint": "a\nb"}, "deviceFingerprint is not a printable"),
        ({"deviceFingerprint": {"mac": "a"}}, "deviceFingerprint is not a printable"),
        ({"testFlag": "7"}, "testFlag"),
    ],
)
def test_bounds(fields: dict[str, object], reason: str) -> None:
    """Each field has the bound of its page, and names itself."""
    with pytest.raises(BadEvent, match=reason):
        parsed(WISH, **fields)


def test_what_may_be_left_out() -> None:
    """Expiry and fingerprint; whether they are needed depends on what was bought."""
    bare = {k: v for k, v in WISH.items() if k not in ("expireTime", "deviceFingerprint")}
    asked = to_asked(parse(json.dumps(bare).encode()))
    assert (asked.expires, asked.fingerprint) == (0, "")
    longest = to_asked(parse(json.dumps(WISH | {"deviceFingerprint": "f" * 1024}).encode()))
    assert len(longest.fingerprint) == 1024


@pytest.mark.parametrize(
    "fields",
    [
        WISH,
        REFRESH,
        {"activity": "updateLicenseCodeStatus", "license": "PL1", "status": "FREEZE"},
        {"activity": "releaseLicenseCode", "license": "PL1"},
    ],
)
def test_debugging_is_answered_from_the_call_alone(fields: dict[str, str]) -> None:
    """Success for whatever is well-formed, for ever (spec §2.14)."""
    callback = parse(json.dumps(fields | {"testFlag": "1"}).encode())
    assert callback.test
    assert v2.debug_answer(callback, 1, Addresses("https://x")).code == "000000"


@pytest.mark.parametrize(
    ("fields", "activity", "event"),
    [
        (REFRESH, Activity.REFRESH, Event.REFRESH),
        (
            {"activity": "updateLicenseCodeStatus", "license": "PL1", "status": "UNFREEZE"},
            Activity.STATUS,
            Event.UNFREEZE,
        ),
        (
            {"activity": "releaseLicenseCode", "license": "PL1", "orderId": "o"},
            Activity.RELEASE,
            Event.RELEASE,
        ),
    ],
)
def test_codes_speak_as_instances_do(
    fields: dict[str, str], activity: Activity, event: Event
) -> None:
    """And the code itself is in no event: not in its repr, its body or its identity."""
    made = to_code_event(parse(json.dumps(fields).encode()), "code_1", 7)
    assert (made.activity, made.event, made.instance_id, made.sent_at) == (
        activity,
        event,
        "code_1",
        7,
    )
    assert "PL1" not in repr(made)
    assert "code_1" in identity(made)


def test_scenes_of_codes() -> None:
    """A code knows renewals and their refunds, nothing else."""
    with pytest.raises(BadEvent, match="scene"):
        parse(json.dumps(REFRESH | {"scene": "TRIAL_TO_FORMAL"}).encode())
