"""The fields of the V2.0 callbacks (spec §2.6 to §2.12, §4, §6) as tables, and how a body is read. Pure.

What a field may hold is checked here for V1.0 too (v1_fields.py has its tables).

Fields that are not in a table are accepted: the marketplace adds some without notice, and the
signature covers them anyway.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from billing_sync.errors import BadEvent
from billing_sync.lifecycle import Activity

MAX_BODY: Final = 64 * 1024
MAX_IDS: Final = 100
MAX_ID: Final = 64
_LINEAR_VALUE: Final = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class Field:
    """One row of a table: presence, greatest length, the values allowed (all, if empty), and a
    pattern that the whole value must match."""

    name: str
    required: bool = True
    length: int = MAX_ID
    allowed: frozenset[str] = frozenset()
    pattern: re.Pattern[str] | None = None


SCENES: Final = frozenset(
    {"TRIAL_TO_FORMAL", "RENEWAL", "UNSUBSCRIBE_RENEWAL_PERIOD", "RENEWAL_CHANGE"}
)
CODE_SCENES: Final = frozenset({"RENEWAL", "UNSUBSCRIBE_RENEWAL_PERIOD"})
LICENCE_CODE: Final = Field("license")
TEST: Final = Field("testFlag", required=False, length=2, allowed=frozenset({"0", "1"}))
# An object, or the same written as a string: both were met.
PRODUCT_INFO: Final = Field("productInfo", length=4096)

TABLES: Final[Mapping[str, tuple[Field, ...]]] = {
    # The page knows no productId, but says that pay-per-use orders are told apart by it.
    Activity.NEW: (
        Field("orderId"),
        Field("orderLineId"),
        Field("businessId"),
        Field("productId", required=False),
        TEST,
    ),
    # The page prints length 100 beside "up to 100 ids": the ids decide.
    Activity.QUERY: (Field("instanceId", length=MAX_IDS * (MAX_ID + 1)), TEST),
    Activity.REFRESH: (
        Field("scene", allowed=SCENES),
        Field("orderId"),
        Field("orderLineId"),
        Field("instanceId"),
        Field("productId", required=False),
        Field("expireTime", length=20),
        TEST,
    ),
    Activity.STATUS: (
        Field("instanceId"),
        Field("status", length=32, allowed=frozenset({"FREEZE", "UNFREEZE"})),
        TEST,
    ),
    Activity.RELEASE: (
        Field("instanceId"),
        Field("orderId", required=False),
        Field("orderLineId", required=False),
        TEST,
    ),
    Activity.UPGRADE: (Field("instanceId"), Field("orderId"), Field("orderLineId"), TEST),
    Activity.CHECK: (Field("instanceId"), PRODUCT_INFO, TEST),
    Activity.NOTIFY: (Field("orderId"), Field("orderLineId"), TEST),
    # Licences (spec §4): see licence_fields for their times.
    Activity.LICENCE: (
        Field("instanceId"),
        Field("effectiveTime", length=32),
        Field("expireTime", required=False, length=32),
        Field("eventId"),
        Field("deviceFingerprint", required=False, length=1024),
        TEST,
    ),
    Activity.CODE_REFRESH: (
        LICENCE_CODE,
        Field("scene", allowed=CODE_SCENES),
        Field("orderId"),
        Field("orderLineId"),
        Field("productId", required=False),
        Field("expireTime", length=20),
        TEST,
    ),
    Activity.CODE_STATUS: (
        LICENCE_CODE,
        Field("status", length=32, allowed=frozenset({"FREEZE", "UNFREEZE"})),
        TEST,
    ),
    Activity.CODE_RELEASE: (
        LICENCE_CODE,
        Field("orderId", required=False),
        Field("orderLineId", required=False),
        TEST,
    ),
}


@dataclass(frozen=True, slots=True)
class Callback:
    """A body that passed its table. Optional fields that were absent are empty."""

    activity: Activity
    values: Mapping[str, str]
    test: bool
    body: str


def parse(raw: bytes) -> Callback:
    """Read a callback's body. Raises BadEvent naming the field that is wrong."""
    text, data = _object(raw)
    activity = _activity(data.get("activity"))
    values = {field.name: checked(field, data.get(field.name)) for field in TABLES[activity]}
    return Callback(activity, values, test=values["testFlag"] == "1", body=text)


def activity_name(raw: bytes) -> str:
    """The activity for a counter's label: a documented name, or `other`. Never raises."""
    try:
        name = _object(raw)[1].get("activity")
    except BadEvent:
        return "other"
    return name if isinstance(name, str) and name in TABLES else "other"


def _object(raw: bytes) -> tuple[str, dict[str, Any]]:
    try:
        text = raw.decode()
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise BadEvent("body is not JSON in UTF-8") from None
    if not isinstance(data, dict):
        raise BadEvent("body is not a JSON object")
    return text, data


def _activity(name: object) -> Activity:
    if not isinstance(name, str) or name not in TABLES:
        raise BadEvent("activity is missing or unknown")
    return Activity(name)


def checked(field: Field, given: object) -> str:
    """The value of a field, empty where it is absent and may be. Raises BadEvent naming the field."""
    # testFlag is a number in the Kit and on older pages.
    value = str(given) if type(given) is int and field is TEST else given
    if field is PRODUCT_INFO and isinstance(value, dict | list):
        value = json.dumps(value)
    if value is None or value == "":
        if field.required:
            raise BadEvent(f"{field.name} is missing")
        return ""
    if not isinstance(value, str) or not value.isprintable():
        raise BadEvent(f"{field.name} is not a printable string")
    if len(value) > field.length:
        raise BadEvent(f"{field.name} is longer than {field.length} characters")
    if field.allowed and value not in field.allowed:
        raise BadEvent(f"{field.name} is none of {', '.join(sorted(field.allowed))}")
    if field.pattern and not field.pattern.fullmatch(value):
        raise BadEvent(f"{field.name} is not a number as documented")
    return value


class Wanted(NamedTuple):
    """The product that an instance shall be changed to; `linear_value` is None where none is said."""

    product_id: str
    linear_value: int | None


def wanted_product(callback: Callback) -> Wanted:
    """The target of changeInstanceCheck: one product of order query's shape (spec §2.12, §7.5).

    Raises BadEvent.
    """
    try:
        info = json.loads(callback.values["productInfo"])
    except (ValueError, RecursionError):
        raise BadEvent("productInfo is not JSON") from None
    first = info[0] if isinstance(info, list) and info else info
    if not isinstance(first, dict):
        raise BadEvent("productInfo is not an object")
    product_id = checked(Field("productId"), first.get("productId"))
    value = first.get("linearValue")
    plain = str(value) if type(value) is int or isinstance(value, str) else ""
    if value is not None and not _LINEAR_VALUE.fullmatch(plain):
        raise BadEvent("linearValue is not a number from 1 to 999999999")
    return Wanted(product_id, int(plain) if plain else None)


def instance_ids(callback: Callback) -> tuple[str, ...]:
    """The ids of a query in the order given, each once. Raises BadEvent."""
    ids = tuple(dict.fromkeys(part.strip() for part in callback.values["instanceId"].split(",")))
    if len(ids) > MAX_IDS:
        raise BadEvent(f"instanceId lists more than {MAX_IDS} ids")
    if not all(0 < len(part) <= MAX_ID for part in ids):
        raise BadEvent(f"instanceId holds an empty id or one longer than {MAX_ID} characters")
    return ids


def utc_ms(name: str, text: str) -> int:
    """`yyyyMMddHHmmss` with or without milliseconds, UTC, as ms. Raises BadEvent naming the field."""
    if not (text.isascii() and text.isdigit() and len(text) in (14, 17)):
        raise BadEvent(f"{name} is not yyyyMMddHHmmss")
    try:
        moment = datetime.strptime(text[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        raise BadEvent(f"{name} is no date") from None
    return int(moment.timestamp()) * 1000 + int(text[14:] or 0)
