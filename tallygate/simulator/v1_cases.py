"""The cases of V1.0's interface debugging that must succeed (spec §3, §9), as a table. Pure."""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from . import case_making
from .case_making import ON_DEMAND, PACKAGE, PERIOD
from .debug_case import DebugCase, Ids, Version, id_of
from .times import DAY_MS, format_compact_time
from .v1_calls import time_stamp

Seal = Callable[[str], str]
"""Encrypts a value as the marketplace does (§3.3)."""

_BUYER: Final = {"customerId": "68cbc86abc2018ab880d92f36422fa0e", "customerName": "买家 A+B&C=D"}
_PERIODIC: Final = {"chargingMode": "1", "periodType": "year", "periodNumber": "1"}
_LINEAR: Final = {"amount": "10", "diskSize": "200", "bandWidth": "20"}


def creations(now_ms: int, seal: Seal) -> Iterator[DebugCase]:
    """newInstance with each way to buy; phone and mail are encrypted."""
    contact = {"mobilePhone": seal("18888888888"), "email": seal("buyer@example.com")}
    trial = {"trialFlag": "1", "periodType": "day", "periodNumber": "7"}
    accepted = {"acceptanceTime": time_stamp(now_ms), "provisionType": "1"}
    expires = {"expireTime": format_compact_time(now_ms + 365 * DAY_MS)}
    for order_id, title, more in (
        (PERIOD, "", {**_PERIODIC, **expires, "orderAmount": "99.950"}),
        (PERIOD, ", accepted", {**_PERIODIC, **expires, **accepted}),
        (PERIOD, ", all parameters", {**_PERIODIC, **expires, **contact, **_LINEAR, **_extend()}),
        ("MOCKONETIMENEW", "", {"chargingMode": "3"}),
        (ON_DEMAND, "", {"chargingMode": "0"}),
        (PACKAGE, "", expires),
        ("MOCKPERIODDAYTRIAL", "", {**_PERIODIC, **trial}),
    ):
        yield _creation(order_id, order_id + title, more)


def others(ids: Ids, now_ms: int) -> Iterator[DebugCase]:
    """Everything that may be done to what `creations` made."""
    period, on_demand = id_of(ids, PERIOD), id_of(ids, ON_DEMAND)
    yield from case_making.queries(Version.V1, ids)
    yield from _refreshes(period, now_ms)
    yield _about(period, "expireInstance", PERIOD, {"orderId": PERIOD})
    for status in ("FREEZE", "NORMAL"):
        yield _about(on_demand, "instanceStatus", status, {"instanceStatus": status})
    change = {"orderId": "MOCKMONTYCHANGE", "skuCode": "SKU-2", "productId": "MOCK-PERIOD-2"}
    yield _about(period, "upgrade", "MOCKMONTYCHANGE", change)
    yield _about(period, "upgrade", "all parameters", {**change, **_LINEAR, **_extend()})
    yield _about(on_demand, "releaseInstance", "", {"orderId": ON_DEMAND})
    refund = {"orderId": "MOCKMONTYUNSUBSCRIBE", "orderAmount": "-12.500"}
    yield _about(on_demand, "releaseInstance", "orderAmount", refund)
    extra = {"instanceStatus": "FREEZE", "zzzNewField": "新 字段/+"}
    yield _about(on_demand, "instanceStatus", "unknown parameters", extra)


def _creation(order_id: str, title: str, more: Mapping[str, str]) -> DebugCase:
    bought = {"orderId": order_id, "productId": f"P-{order_id}", "skuCode": "SKU-1"}
    fields = {**_BUYER, **bought, **more, "businessId": "", "testFlag": "1"}
    return DebugCase(Version.V1, "newInstance", title, fields, line=order_id)


def _about(instance_id: str, activity: str, title: str, fields: Mapping[str, str]) -> DebugCase:
    return case_making.about(Version.V1, instance_id, activity, title, fields)


def _refreshes(instance: str, now_ms: int) -> Iterator[DebugCase]:
    """Since 2018-05-12: productId empty and filled, trialToFormal absent and 1."""
    expires = format_compact_time(now_ms + 365 * DAY_MS)
    renewal = {"orderId": "MOCKMONTYRENEW", "expireTime": expires, "periodType": "year"}
    formal = {**renewal, "orderId": "MOCKMONTYTRIALTOFORMAL", "trialToFormal": "1"}
    for title, fields in (("renewal", renewal), ("trialToFormal=1", formal)):
        yield _about(instance, "refreshInstance", f"{title}, without productId", fields)
        for product_id in ("", "MOCK-PERIOD"):
            shown = f"{title}, productId {'filled' if product_id else 'empty'}"
            more = {"productId": product_id, "periodNumber": "1"}
            yield _about(instance, "refreshInstance", shown, {**fields, **more})
    refund = {**renewal, "orderId": "MOCKMONTYUNSUBSCRIBE", "orderAmount": "-100.000"}
    refund["expireTime"] = format_compact_time(now_ms + 30 * DAY_MS)
    yield _about(instance, "refreshInstance", "refund of a renewal", refund)


def _extend() -> dict[str, str]:
    pairs = [{"name": "domain", "value": "买家.example"}, {"name": "size", "value": "1+1"}]
    return {"saasExtendParams": b64encode(json.dumps(pairs).encode()).decode()}
