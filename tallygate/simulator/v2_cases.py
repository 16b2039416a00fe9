"""The cases of V2.0's interface debugging that must succeed (spec §2, §9), as a table. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final

from . import case_making
from .case_making import ON_DEMAND, PACKAGE, PERIOD
from .debug_case import DebugCase, Ids, Version, id_of
from .orders import LINE_SUFFIX
from .times import DAY_MS, format_compact_time

# The orders that buy something new; those of the others go to refreshInstance and upgradeInstance.
NEW_ORDERS: Final = (
    "MOCKPERIODYEARNEW",
    "MOCKONETIMENEW",
    "MOCKONDEMAND",
    "MOCKONDEMANDPKG",
    "MOCKPERIODDAYTRIAL",
)
SCENES: Final = (
    ("TRIAL_TO_FORMAL", "MOCKMONTYTRIALTOFORMAL", 365),
    ("RENEWAL", "MOCKMONTYRENEW", 365),
    ("UNSUBSCRIBE_RENEWAL_PERIOD", "MOCKMONTYUNSUBSCRIBE", 30),
    ("RENEWAL_CHANGE", "MOCKMONTYCHANGE", 365),
)
_PRODUCT: Final = {
    "linearValue": 2,
    "productId": "MOCK-PERIOD",
    "productName": "Mock PERIOD,标准版",
    "skuCode": "SKU-MOCK-PERIOD",
}


def creations() -> Iterator[DebugCase]:
    """newInstance with each mock order that buys something new."""
    return (_creation(order_id) for order_id in NEW_ORDERS)


def others(ids: Ids, now_ms: int) -> Iterator[DebugCase]:
    """Everything that may be done to what `creations` made."""
    yield from case_making.queries(Version.V2, ids)
    yield _several(ids)
    yield from _refreshes(id_of(ids, PERIOD), now_ms)
    instance = id_of(ids, ON_DEMAND)
    for status in ("FREEZE", "UNFREEZE"):
        yield _about(instance, "updateInstanceStatus", status, {"status": status})
    yield _about(instance, "upgradeInstance", "MOCKMONTYCHANGE", order("MOCKMONTYCHANGE"))
    yield from _checks(id_of(ids, PERIOD))
    yield _about(instance, "releaseInstance", "without orderId", {})
    refund = order("MOCKMONTYUNSUBSCRIBE")
    yield _about(instance, "releaseInstance", "with orderId", refund)
    notified = {**order("MOCKONETIMENEW"), "testFlag": "1"}
    yield DebugCase(Version.V2, "orderNotify", "MOCKONETIMENEW", notified)
    extra = {"zzzNewField": "新字段/new", "extendParams": [{"name": "a", "value": "b"}]}
    yield _about(instance, "updateInstanceStatus", "unknown fields", {"status": "FREEZE", **extra})


def order(order_id: str) -> dict[str, object]:
    """Both ids of an order with one line."""
    return {"orderId": order_id, "orderLineId": order_id + LINE_SUFFIX}


def _creation(order_id: str) -> DebugCase:
    fields = {**order(order_id), "businessId": "", "testFlag": "1"}
    return DebugCase(Version.V2, "newInstance", order_id, fields, line=order_id)


def _about(instance_id: str, activity: str, title: str, fields: Mapping[str, object]) -> DebugCase:
    return case_making.about(Version.V2, instance_id, activity, title, fields)


def _several(ids: Ids) -> DebugCase:
    three = tuple(dict.fromkeys(id_of(ids, line) for line in (PERIOD, ON_DEMAND, PACKAGE)))
    return case_making.query(Version.V2, "several ids", three, metered=False)


def _refreshes(instance: str, now_ms: int) -> Iterator[DebugCase]:
    for scene, order_id, days in SCENES:
        expires = format_compact_time(now_ms + days * DAY_MS)
        fields = {**order(order_id), "scene": scene, "expireTime": expires}
        yield _about(instance, "refreshInstance", scene, fields)
        if scene == "RENEWAL":
            for title, more in (
                ("productId empty", {"productId": ""}),
                ("productId filled", {"productId": "MOCK-PERIOD"}),
                ("expireTime with milliseconds", {"expireTime": f"{expires}256"}),
            ):
                yield _about(instance, "refreshInstance", f"{scene}, {title}", {**fields, **more})


def _checks(instance: str) -> Iterator[DebugCase]:
    """Implementers met productInfo both as an object and as a text (§2.12)."""
    text = '{"productId":"MOCK-PERIOD","skuCode":"SKU-MOCK-PERIOD"}'
    for title, given in (("productInfo object", _PRODUCT), ("productInfo text", text)):
        yield _about(instance, "changeInstanceCheck", title, {"productInfo": given})
