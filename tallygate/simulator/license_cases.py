"""The cases of License in interface debugging: getLicenseAsync, and V1's getLicense (spec §4, §9). Pure.

The other activities of License products are those of V2.0, and are played there.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from . import case_making
from .case_making import PERIOD
from .checks import SUCCESS
from .debug_case import DebugCase, Ids, Version, id_of
from .tampering import EXPECTED
from .times import DAY_MS, format_compact_time, license_time
from .v2_cases import order

GET: Final = "getLicenseAsync"
REFRESH, STATUS = "refreshLicenseCode", "updateLicenseCodeStatus"
RELEASE: Final = "releaseLicenseCode"
OLD_GET: Final = "getLicense"
_NO_FINGERPRINT: Final = "000903"
_FIELDS: Final = {"instanceId": 64, "effectiveTime": 32, "eventId": 64}
_PRINT: Final = "9f86d081884c7d659a2feaa0c55ad015"
_SCENES: Final = (
    ("RENEWAL", "MOCKMONTYRENEW", 365),
    ("UNSUBSCRIBE_RENEWAL_PERIOD", "MOCKMONTYUNSUBSCRIBE", 30),
)
_SPOILT: Final = {
    "signature": "wrong signature",
    "missing_signature": "without signature",
    "body": "another body",
    "timestamp": "timestamp of ten minutes ago",
}


def creations(now_ms: int) -> Iterator[DebugCase]:
    """A licence of a period, for one machine."""
    yield _case("a period, a device", _good({}, now_ms))


def others(ids: Ids, now_ms: int) -> Iterator[DebugCase]:
    """Other machines, other events, the longest fingerprint; a licence without an end."""
    good = _good(ids, now_ms)
    yield _case("another device", {**good, "deviceFingerprint": "another", "eventId": "debug-2"})
    yield _case("another event, the same device", {**good, "eventId": "debug-3"})
    yield _case("a fingerprint of 1024 characters", {**good, "deviceFingerprint": "f" * 1024})
    one_time = {name: value for name, value in good.items() if name != "expireTime"}
    one_time |= {"instanceId": id_of(ids, "MOCKONETIMENEW"), "eventId": "debug-4"}
    yield _case("one-time, without expireTime", one_time)
    yield _case("unknown fields", {**good, "zzzNewField": "新字段/new"})
    for activity, fields in _of_codes(now_ms):
        yield DebugCase(Version.LICENSE, activity, _title(fields), fields)


def refused(now_ms: int) -> Iterator[DebugCase]:
    """Debug calls that are wrong in one respect each."""
    good = _good({}, now_ms)
    yield from case_making.badly_signed(_case("", good), _SPOILT, EXPECTED)
    for name, length in _FIELDS.items():
        yield from case_making.spoilt(Version.LICENSE, GET, good, name, length)
    for name, value in (
        ("effectiveTime", "tomorrow"),
        ("expireTime", "2026-13-41 25:61:99 z"),
    ):
        title = f"{name}={value}"
        yield case_making.wrong(Version.LICENSE, GET, title, {**good, name: value})
    yield case_making.too_long(Version.LICENSE, GET, good, "deviceFingerprint", 1024)
    absent = {name: value for name, value in good.items() if name != "deviceFingerprint"}
    codes = frozenset({SUCCESS, _NO_FINGERPRINT})  # as the product is
    yield from _wrong_codes(now_ms)
    title = "without deviceFingerprint"
    yield DebugCase(Version.LICENSE, GET, title, absent, accepted=codes)


def unknown(instance_id: str, now_ms: int) -> Iterator[DebugCase]:
    """A real call about an instance that nobody ever made."""
    yield from case_making.unknown(Version.LICENSE, instance_id, [(GET, _good({}, now_ms))])


def in_v1(now_ms: int) -> Iterator[DebugCase]:
    """The deprecated getLicense, by GET."""
    fields = {
        "customerId": "68cbc86abc2018ab880d92f36422fa0e",
        "customerName": "买家 A+B",
        "businessId": "debug-license",
        "orderId": "MOCKONETIMENEW",
        "productId": "P-MOCKONETIMENEW",
        "chargingMode": "3",
        "expireTime": format_compact_time(now_ms + 365 * DAY_MS),
        "testFlag": "1",
    }
    yield DebugCase(Version.V1, OLD_GET, "one-time", fields)


def _good(ids: Ids, now_ms: int) -> dict[str, object]:
    return {
        "instanceId": id_of(ids, PERIOD),
        "effectiveTime": license_time(now_ms),
        "expireTime": license_time(now_ms + 365 * DAY_MS),
        "eventId": "debug-1",
        "deviceFingerprint": _PRINT,
        "testFlag": "1",
    }


def _case(title: str, fields: Mapping[str, object]) -> DebugCase:
    return DebugCase(Version.LICENSE, GET, title, fields)


def _of_codes(now_ms: int) -> Iterator[tuple[str, dict[str, object]]]:
    """What a merchant is told of an authorization code (§4.2)."""
    code: dict[str, object] = {"license": "PLDEBUG1", "testFlag": "1"}
    for scene, order_id, days in _SCENES:
        expires = format_compact_time(now_ms + days * DAY_MS)
        yield REFRESH, {**code, **order(order_id), "scene": scene, "expireTime": expires}
    for status in ("FREEZE", "UNFREEZE"):
        yield STATUS, {**code, "status": status}
    yield RELEASE, code
    yield RELEASE, {**code, **order("MOCKMONTYUNSUBSCRIBE")}


def _wrong_codes(now_ms: int) -> Iterator[DebugCase]:
    for activity, good in dict(_of_codes(now_ms)).items():
        yield from case_making.spoilt(Version.LICENSE, activity, good, "license", 64)
    for activity, more in (
        (REFRESH, {"scene": "FOREVER"}),
        (REFRESH, {"expireTime": "tomorrow"}),
        (STATUS, {"status": "NORMAL"}),
    ):
        good = dict(_of_codes(now_ms))[activity]
        [(name, value)] = more.items()
        yield case_making.wrong(Version.LICENSE, activity, f"{name}={value}", {**good, **more})


def _title(fields: Mapping[str, object]) -> str:
    return str(fields.get("scene") or fields.get("status") or fields.get("orderId") or "a code")
