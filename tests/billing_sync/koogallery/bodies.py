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
LICENCE: Final = {
    "activity": "getLicenseAsync",
    "instanceId": "i",
    "eventId": "e",
    "effectiveTime": "2027-01-01 00:00:00 z",
    "deviceFingerprint": "mac",
}
CODE_REFRESH: Final = {
    "activity": "refreshLicenseCode",
    "scene": "RENEWAL",
    "license": "PL1",
    "orderId": "o",
    "orderLineId": "l",
    "expireTime": "20270101000000",
}
CODE_STATUS: Final = {"activity": "updateLicenseCodeStatus", "license": "PL1", "status": "FREEZE"}
CODE_RELEASE: Final = {"activity": "releaseLicenseCode", "license": "PL1"}
EACH: Final[list[dict[str, Any]]] = [
    NEW,
    QUERY,
    STATUS,
    RELEASE,
    UPGRADE,
    REFRESH,
    CHECK,
    NOTIFY,
    LICENCE,
    CODE_REFRESH,
    CODE_STATUS,
    CODE_RELEASE,
]
