"""Order query replies (spec §7.5), and the mock orders that debugging uses. Pure."""

from typing import Final

from .models import Kind, Order, OrderLine, Product
from .times import DAY_MS, format_compact_time

LINE_SUFFIX: Final = "-000001"
_CREATED_MS: Final = 1_704_067_200_000  # 2024-01-01; a mock order never changes


def order_reply(order: Order, order_line_id: str | None = None) -> dict[str, object] | None:
    """The reply body; None when the order has no such line."""
    lines = [line for line in order.lines if order_line_id in (None, line.order_line_id)]
    if not lines:
        return None
    info: dict[str, object] = {
        "orderId": order.order_id,
        "orderType": order.order_type,
        "createTime": format_compact_time(order.created_ms),
        "orderLine": [_line(line) for line in lines],
    }
    if order.buyer_shown:
        info["buyerInfo"] = {
            "customerId": order.customer_id,
            "customerName": order.customer_name,
        }
    return {"resultCode": "MKT.0000", "resultMsg": "success", "orderInfo": info}


def failure(code: str, message: str) -> dict[str, object]:
    """The reply body of anything but success."""
    return {"resultCode": code, "resultMsg": message}


def _line(line: OrderLine) -> dict[str, object]:
    product: dict[str, object] = {
        "productId": line.product.product_id,
        "skuCode": f"SKU-{line.product.product_id}"[:64],
        "productName": line.product.name,
    }
    if line.linear_value is not None:
        product["linearValue"] = line.linear_value
    shown: dict[str, object] = {
        "orderLineId": line.order_line_id,
        "chargingMode": line.product.kind.value,
        "productInfo": [product],
    }
    if line.expires_ms is not None:
        shown |= {"periodType": "year", "periodNumber": 1}
        shown["expireTime"] = format_compact_time(line.expires_ms)
    return shown


def _mock(order_id: str, kind: Kind, order_type: str = "NEW") -> Order:
    dated = kind in (Kind.PERIOD, Kind.ON_DEMAND_PKG)
    line = OrderLine(
        order_id + LINE_SUFFIX,
        Product(f"MOCK-{kind.value}", f"Mock {kind.value}", kind),
        _CREATED_MS + 365 * DAY_MS if dated else None,
    )
    return Order(order_id, order_type, _CREATED_MS, "mockcustomer", "Mock customer", [line])


MOCK_ORDERS: Final = {
    order.order_id: order
    for order in (
        _mock("MOCKPERIODYEARNEW", Kind.PERIOD),
        _mock("MOCKONETIMENEW", Kind.ONE_TIME),
        _mock("MOCKONDEMAND", Kind.ON_DEMAND),
        _mock("MOCKONDEMANDPKG", Kind.ON_DEMAND_PKG),
        _mock("MOCKPERIODDAYTRIAL", Kind.PERIOD, "TRIAL"),
        _mock("MOCKMONTYTRIALTOFORMAL", Kind.PERIOD, "TRIAL_TO_FORMAL"),
        _mock("MOCKMONTYUNSUBSCRIBE", Kind.PERIOD, "UNSUBSCRIBE"),
        _mock("MOCKMONTYRENEW", Kind.PERIOD, "RENEW"),
        _mock("MOCKMONTYCHANGE", Kind.PERIOD, "CHANGE"),
    )
}
