"""Calls of V1.0 that a merchant must refuse: our own tests, by the field tables of spec §3. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final

from . import case_making
from .debug_case import DebugCase, Version
from .times import DAY_MS, format_compact_time
from .v1_calls import V1_EXPECTED

_SPOILT: Final[Mapping[str, str]] = {
    "signature": "wrong authToken",
    "missing_signature": "without authToken",
    "body": "another parameter",
    "timestamp": "timeStamp of thirty days ago",
    "future_timestamp": "timeStamp in ten minutes",
    "missing_timestamp": "without timeStamp",
}
# Mandatory parameters and their greatest lengths (§3.4, §3.5).
_PARAMETERS: Final[Mapping[str, Mapping[str, int]]] = {
    "newInstance": {"customerId": 100, "businessId": 64, "orderId": 64, "productId": 64},
    "queryInstance": {"instanceId": 64},
    "refreshInstance": {"orderId": 64, "instanceId": 64, "expireTime": 20},
    "expireInstance": {"instanceId": 64, "orderId": 64},
    "releaseInstance": {"instanceId": 64, "orderId": 64},
    "upgrade": {"instanceId": 64, "orderId": 64, "skuCode": 64, "productId": 64},
    "instanceStatus": {"instanceId": 64, "instanceStatus": 32},
}


def refused(now_ms: int) -> Iterator[DebugCase]:
    """Debug calls that are wrong in one respect each."""
    good = DebugCase(Version.V1, "newInstance", "", _good("newInstance", now_ms))
    yield from case_making.badly_signed(good, _SPOILT, V1_EXPECTED)
    status = {"instanceId": "debug-instance", "instanceStatus": "FREEZE"}
    yield case_making.forged(Version.V1, "instanceStatus", status)
    for activity, lengths in _PARAMETERS.items():
        fields = _good(activity, now_ms)
        for name, length in lengths.items():
            yield from case_making.spoilt(Version.V1, activity, fields, name, length)
    yield from _senseless(now_ms)


def unknown(instance_id: str, now_ms: int) -> Iterator[DebugCase]:
    """Real calls about an instance that nobody ever made."""
    goods = ((name, _good(name, now_ms)) for name in _PARAMETERS if name != "newInstance")
    yield from case_making.unknown(Version.V1, instance_id, goods)


def _good(activity: str, now_ms: int) -> dict[str, object]:
    """Parameters that pass."""
    bought = {"customerId": "cust", "businessId": "debug-business", "productId": "P"}
    known: Mapping[str, Mapping[str, object]] = {
        "newInstance": {**bought, "orderId": "MOCKONDEMAND", "chargingMode": "0"},
        "refreshInstance": {
            "orderId": "MOCKMONTYRENEW",
            "expireTime": format_compact_time(now_ms + 30 * DAY_MS),
        },
        "expireInstance": {"orderId": "MOCKPERIODYEARNEW"},
        "releaseInstance": {"orderId": "MOCKPERIODYEARNEW"},
        "upgrade": {"orderId": "MOCKMONTYCHANGE", "skuCode": "SKU-2", "productId": "P-2"},
        "instanceStatus": {"instanceStatus": "FREEZE"},
    }
    more = known.get(activity, {})
    about = {} if activity == "newInstance" else {"instanceId": "debug-instance"}
    return {**about, **more, "testFlag": "1"}


def _senseless(now_ms: int) -> Iterator[DebugCase]:
    """Values outside what the tables allow."""
    for activity, name, value in (
        ("instanceStatus", "instanceStatus", "UNFREEZE"),
        ("refreshInstance", "expireTime", "20261341256199"),
        ("refreshInstance", "trialToFormal", "2"),
        ("newInstance", "amount", "many"),
        ("newInstance", "trialFlag", "yes"),
        ("queryInstance", "instanceId", "i-1,,i-2"),
        ("upgrade", "diskSize", "12345678"),
    ):
        yield case_making.wrong(
            Version.V1, activity, f"{name}={value}", {**_good(activity, now_ms), name: value}
        )
    yield case_making.wrong(Version.V1, "makeCoffee", "unknown activity", {"testFlag": "1"})
