"""Calls of V2.0 that a merchant must refuse: our own tests, by the field tables of spec §2. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final

from .checks import SUCCESS
from .debug_case import DebugCase, Version
from .tampering import AUTH_FAILED, BAD_PARAMETER, EXPECTED
from .times import DAY_MS, format_compact_time
from .v2_cases import order

UNKNOWN: Final = frozenset({"000003"})
_SPOILT: Final[Mapping[str, str]] = {
    "signature": "wrong signature",
    "missing_signature": "without signature",
    "nonce": "another nonce",
    "body": "another body",
    "timestamp": "timestamp of ten minutes ago",
    "future_timestamp": "timestamp in ten minutes",
    "missing_timestamp": "without timestamp",
    "missing_nonce": "without nonce",
}
# Mandatory text fields and their greatest lengths (§2.6-2.12, §6).
_FIELDS: Final[Mapping[str, Mapping[str, int]]] = {
    "newInstance": {"orderId": 64, "orderLineId": 64, "businessId": 64},
    "queryInstance": {"instanceId": 64},
    "refreshInstance": {
        "scene": 64,
        "orderId": 64,
        "orderLineId": 64,
        "instanceId": 64,
        "expireTime": 20,
    },
    "updateInstanceStatus": {"instanceId": 64, "status": 32},
    "releaseInstance": {"instanceId": 64},
    "upgradeInstance": {"instanceId": 64, "orderId": 64, "orderLineId": 64},
    "changeInstanceCheck": {"instanceId": 64},
    "orderNotify": {"orderId": 64, "orderLineId": 64},
}
_NO_BODIES: Final[Mapping[str, bytes]] = {
    "no body": b"",
    "not JSON": b"activity=newInstance",
    "a list": b'["newInstance"]',
    "broken UTF-8": b'{"activity":"\xff"}',
    "thousands of brackets": b"[" * 20_000,
}


def refused(now_ms: int) -> Iterator[DebugCase]:
    """Debug calls that are wrong in one respect each."""
    yield from _badly_signed()
    for activity, lengths in _FIELDS.items():
        good = _good(activity, now_ms)
        for name, length in lengths.items():
            yield from _spoilt(activity, good, name, length)
    yield from _senseless(now_ms)
    for title, raw in _NO_BODIES.items():
        yield DebugCase(Version.V2, "", title, accepted=BAD_PARAMETER, raw=raw)


def unknown(instance_id: str, now_ms: int) -> Iterator[DebugCase]:
    """Real calls about an instance that nobody ever made. A release may be a repeated one."""
    for activity in (
        "queryInstance",
        "refreshInstance",
        "updateInstanceStatus",
        "upgradeInstance",
        "releaseInstance",
    ):
        fields = {**_good(activity, now_ms), "instanceId": instance_id}
        fields.pop("testFlag")
        accepted = UNKNOWN | ({SUCCESS} if activity == "releaseInstance" else frozenset())
        title = "unknown instance"
        yield DebugCase(Version.V2, activity, title, fields, accepted=accepted, real=True)


def _badly_signed() -> Iterator[DebugCase]:
    fields = {**order("MOCKONDEMAND"), "businessId": "", "testFlag": "1"}
    for tamper, title in _SPOILT.items():
        codes = EXPECTED[tamper]
        yield DebugCase(Version.V2, "newInstance", title, fields, tamper, codes)
    replayed = EXPECTED["replay"]
    title = "the same nonce again"
    yield DebugCase(Version.V2, "newInstance", title, fields, "replay", replayed)
    status = {
        "instanceId": "debug-instance",
        "status": "FREEZE",
    }  # a real call, if it were believed
    yield DebugCase(
        Version.V2, "updateInstanceStatus", "forged", status, "signature", AUTH_FAILED, real=True
    )


def _good(activity: str, now_ms: int) -> dict[str, object]:
    """A body that passes."""
    known: Mapping[str, Mapping[str, object]] = {
        "newInstance": {**order("MOCKONDEMAND"), "businessId": "debug-business"},
        "refreshInstance": {
            **order("MOCKMONTYRENEW"),
            "scene": "RENEWAL",
            "expireTime": format_compact_time(now_ms + 30 * DAY_MS),
        },
        "updateInstanceStatus": {"status": "FREEZE"},
        "upgradeInstance": order("MOCKMONTYCHANGE"),
        "changeInstanceCheck": {"productInfo": {"productId": "MOCK-PERIOD"}},
        "orderNotify": order("MOCKONETIMENEW"),
    }
    more = known.get(activity, {})
    about = {} if activity in ("newInstance", "orderNotify") else {"instanceId": "debug-instance"}
    return {**about, **more, "testFlag": "1"}


def _spoilt(
    activity: str, good: Mapping[str, object], name: str, length: int
) -> Iterator[DebugCase]:
    absent = {each: value for each, value in good.items() if each != name}
    for title, fields in (
        (f"without {name}", absent),
        (f"{name} empty", {**good, name: ""}),
        (f"{name} of {length + 1} characters", {**good, name: "x" * (length + 1)}),
        (f"{name} no text", {**good, name: {"x": 1}}),
    ):
        yield _wrong(activity, title, fields)


def _wrong(activity: str, title: str, fields: Mapping[str, object]) -> DebugCase:
    # A businessId that is there stays as it is: it may be what is wrong.
    return DebugCase(Version.V2, activity, title, fields, accepted=BAD_PARAMETER)


def _senseless(now_ms: int) -> Iterator[DebugCase]:
    """Values outside what the tables allow."""
    for activity, more in (
        ("refreshInstance", {"scene": "FOREVER"}),
        ("refreshInstance", {"expireTime": "20261341256199"}),
        ("refreshInstance", {"expireTime": "tomorrow"}),
        ("updateInstanceStatus", {"status": "NORMAL"}),
        ("queryInstance", {"instanceId": ",".join(f"i-{n}" for n in range(101))}),
        ("queryInstance", {"instanceId": "i-1,,i-2"}),
    ):
        [(name, value)] = more.items()
        shown = f"{name}={value}" if len(value) < 30 else f"{name}: 101 ids"
        yield _wrong(activity, shown, {**_good(activity, now_ms), **more})
    yield _wrong("makeCoffee", "unknown activity", {"testFlag": "1"})
    yield DebugCase(
        Version.V2, "", "without activity", accepted=BAD_PARAMETER, raw=b'{"testFlag":"1"}'
    )
