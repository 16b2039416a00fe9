"""Calls of V2.0 that a merchant must refuse: our own tests, by the field tables of spec §2. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final

from . import case_making
from .debug_case import DebugCase, Version
from .tampering import BAD_PARAMETER, EXPECTED
from .times import DAY_MS, format_compact_time
from .v2_cases import order

_SPOILT: Final[Mapping[str, str]] = {
    "signature": "wrong signature",
    "missing_signature": "without signature",
    "nonce": "another nonce",
    "body": "another body",
    "timestamp": "timestamp of ten minutes ago",
    "future_timestamp": "timestamp in ten minutes",
    "missing_timestamp": "without timestamp",
    "missing_nonce": "without nonce",
    "replay": "the same nonce again",
    "shift": "again, the end of its nonce moved to the timestamp",
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
_NEED_AN_INSTANCE: Final = (
    "queryInstance",
    "refreshInstance",
    "updateInstanceStatus",
    "upgradeInstance",
    "releaseInstance",
)
NO_BODIES: Final[Mapping[str, bytes]] = {
    "no body": b"",
    "not JSON": b"activity=newInstance",
    "a list": b'["newInstance"]',
    "broken UTF-8": b'{"activity":"\xff"}',
    "thousands of brackets": b"[" * 20_000,
}


def refused(now_ms: int) -> Iterator[DebugCase]:
    """Debug calls that are wrong in one respect each."""
    creation = {**order("MOCKONDEMAND"), "businessId": "", "testFlag": "1"}
    good = DebugCase(Version.V2, "newInstance", "", creation)
    yield from case_making.badly_signed(good, _SPOILT, EXPECTED)
    status = {"instanceId": "debug-instance", "status": "FREEZE"}
    yield case_making.forged(Version.V2, "updateInstanceStatus", status)
    for activity, lengths in _FIELDS.items():
        fields = _good(activity, now_ms)
        for name, length in lengths.items():
            yield from case_making.spoilt(Version.V2, activity, fields, name, length)
    yield from _senseless(now_ms)
    for title, raw in NO_BODIES.items():
        yield DebugCase(Version.V2, "", title, accepted=BAD_PARAMETER, raw=raw)


def unknown(instance_id: str, now_ms: int) -> Iterator[DebugCase]:
    """Real calls about an instance that nobody ever made."""
    goods = ((activity, _good(activity, now_ms)) for activity in _NEED_AN_INSTANCE)
    yield from case_making.unknown(Version.V2, instance_id, goods)


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
        yield case_making.wrong(Version.V2, activity, shown, {**_good(activity, now_ms), **more})
    yield case_making.wrong(Version.V2, "makeCoffee", "unknown activity", {"testFlag": "1"})
    yield DebugCase(
        Version.V2, "", "without activity", accepted=BAD_PARAMETER, raw=b'{"testFlag":"1"}'
    )
