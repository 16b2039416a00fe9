"""What getLicenseAsync and the calls about authorization codes ask for (spec §4.1, §4.2). Pure.

The page prints times as `2023-10-27 10:30:15 z`; what other interfaces print is taken too.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from billing_sync.errors import BadEvent
from billing_sync.koogallery.fields import Callback, utc_ms
from billing_sync.lifecycle import Activity, Event, LifecycleEvent

_TIME: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?"
    r" ?(?:(z|utc|gmt)|([+-])(\d{2}):?(\d{2}))?",
    re.ASCII | re.IGNORECASE,
)
CODE_ACTIVITIES: Final = frozenset(
    {Activity.CODE_REFRESH, Activity.CODE_STATUS, Activity.CODE_RELEASE}
)
_CODE_EVENTS: Final = {
    Activity.CODE_REFRESH: (Activity.REFRESH, Event.REFRESH),
    Activity.CODE_RELEASE: (Activity.RELEASE, Event.RELEASE),
}
_STATUS: Final = {"FREEZE": Event.FREEZE, "UNFREEZE": Event.UNFREEZE}


@dataclass(frozen=True, slots=True)
class LicenceAsked:
    """One wish for a licence. Times are UTC ms; `expires` 0 is none. `by_reply`: getLicense of V1.0,
    whose reply delivers it."""

    event_id: str
    instance_id: str
    effective: int
    expires: int = 0
    fingerprint: str = field(default="", repr=False)
    by_reply: bool = False


def licence_ms(name: str, text: str) -> int:
    """A time of getLicenseAsync as UTC ms; one without a zone is UTC. Raises BadEvent."""
    if text.isascii() and text.isdigit():
        return utc_ms(name, text)
    found = _TIME.fullmatch(text)
    if found is None:
        raise BadEvent(f"{name} is not a time such as 2023-10-27 10:30:15 z")
    date, time, fraction, _, sign, hours, minutes = found.groups()
    try:
        zone = _zone(sign, int(hours or 0), int(minutes or 0))
        local = datetime.strptime(f"{date} {time}", "%Y-%m-%d %H:%M:%S").replace(tzinfo=zone)
        moment = local.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadEvent(f"{name} is no date") from None
    millis = int((fraction or "0").ljust(3, "0")[:3])
    return int(moment.timestamp()) * 1000 + millis


def _zone(sign: str | None, hours: int, minutes: int) -> timezone:
    if minutes > 59:
        raise ValueError("an hour has 60 minutes")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if sign == "-" else offset)


def to_asked(callback: Callback) -> LicenceAsked:
    """The wish of a getLicenseAsync. Raises BadEvent naming the field that is wrong."""
    values = callback.values
    if values["eventId"].strip(".") == "":
        raise BadEvent("eventId cannot stand in an address")
    effective = licence_ms("effectiveTime", values["effectiveTime"])
    expires = licence_ms("expireTime", values["expireTime"]) if values["expireTime"] else 0
    if effective <= 0 or expires < 0 or (expires and expires <= effective):
        raise BadEvent("expireTime is not after effectiveTime, or they are before 1970")
    return LicenceAsked(
        event_id=values["eventId"],
        instance_id=values["instanceId"],
        effective=effective,
        expires=expires,
        fingerprint=values["deviceFingerprint"],
    )


def to_code_event(callback: Callback, code_id: str, sent_at: int) -> LifecycleEvent:
    """What a call does to an authorization code, in the words of instances. Raises BadEvent.

    The code itself stands in no event: `code_id` is its digest, and the body is left out.
    """
    values = callback.values
    if callback.activity is Activity.CODE_STATUS:
        activity, event = Activity.STATUS, _STATUS[values["status"]]
    else:
        activity, event = _CODE_EVENTS[callback.activity]
    expires = values.get("expireTime", "")
    return LifecycleEvent(
        activity=activity,
        event=event,
        instance_id=code_id,
        sent_at=sent_at,
        body="",
        order_id=values.get("orderId", ""),
        order_line_id=values.get("orderLineId", ""),
        scene=values.get("scene", ""),
        product_id=values.get("productId", ""),
        expires=utc_ms("expireTime", expires) if expires else 0,
    )
