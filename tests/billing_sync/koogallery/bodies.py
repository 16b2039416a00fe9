"""The least that each call of the marketplace holds (V2.0)."""

from typing import Any, Final

NEW: Final = {"activity": "newInstance", "businessId": "b", "orderId": "o", "orderLineId": "l"}
REFRESH: Final = {
    "activity": "refreshInstance",
    "scene": "RENEWAL",
    "orderId": "o",
    "orderLineId": "l",
    "instanceId": "i",
    "expireTime": "20270101000000",
}
STATUS: Final = {"activity": "updateInstanceStatus", "instanceId": "i", "status": "FREEZE"}
RELEASE: Final = {"activity": "releaseInstance", "instanceId": "i"}
QUERY: Final = {"activity": "queryInstance", "instanceId": "i"}
UPGRADE: Final = {
    "activity": "upgradeInstance",
    "instanceId": "i",
    "orderId": "o",
    "orderLineId": "l",
}
CHECK: Final[dict[str, Any]] = {
    "activity": "changeInstanceCheck",
    "instanceId": "i",
    "productInfo": {"productId": "TOKENS", "linearValue": 2},
}
NOTIFY: Final = {"activity": "orderNotify", "orderId": "o", "orderLineId": "l"}
EACH: Final[list[dict[str, Any]]] = [
    NEW,
    QUERY,
    STATUS,
    RELEASE,
    UPGRADE,
    REFRESH,
    CHECK,
    NOTIFY,
]
