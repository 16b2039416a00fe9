"""Order query replies and the mock orders."""

from typing import Any

import pytest

from tallygate.simulator.models import Kind, Order, OrderLine, Product
from tallygate.simulator.orders import LINE_SUFFIX, MOCK_ORDERS, order_reply
from tests.tallygate.simulator.stage import NOW_MS

CHAT = Product("chat", "Chat", Kind.ON_DEMAND)


def order(**changes: Any) -> Order:
    lines = [OrderLine("CS1-000001", CHAT), OrderLine("CS1-000002", CHAT, NOW_MS)]
    return Order("CS1", "NEW", NOW_MS, "cust-1", "Customer", lines, **changes)


def order_info(reply: dict[str, Any] | None) -> dict[str, Any]:
    assert reply is not None
    return dict(reply["orderInfo"])


def test_whole_order():
    """All fields of §7.5 that are documented."""
    reply = order_reply(order())
    assert reply is not None
    assert reply["resultCode"] == "MKT.0000"
    shown = order_info(reply)
    assert shown["createTime"] == "20260921141320"
    assert shown["buyerInfo"] == {"customerId": "cust-1", "customerName": "Customer"}
    assert shown["orderLine"][0] == {
        "orderLineId": "CS1-000001",
        "chargingMode": "ON_DEMAND",
        "productInfo": [{"productId": "chat", "skuCode": "SKU-chat", "productName": "Chat"}],
    }
    assert shown["orderLine"][1]["expireTime"] == "20260921141320"


def test_one_line():
    """Only the line that was asked for; None when there is no such line."""
    shown = order_info(order_reply(order(), "CS1-000002"))
    assert [line["orderLineId"] for line in shown["orderLine"]] == ["CS1-000002"]
    assert order_reply(order(), "CS1-000003") is None


def test_hidden_buyer():
    """buyerInfo is optional in the reply."""
    assert "buyerInfo" not in order_info(order_reply(order(buyer_shown=False)))


@pytest.mark.parametrize(
    ("order_id", "order_type", "mode"),
    [
        ("MOCKPERIODYEARNEW", "NEW", "PERIOD"),
        ("MOCKONETIMENEW", "NEW", "ONE_TIME"),
        ("MOCKONDEMAND", "NEW", "ON_DEMAND"),
        ("MOCKONDEMANDPKG", "NEW", "ON_DEMAND_PKG"),
        ("MOCKPERIODDAYTRIAL", "TRIAL", "PERIOD"),
        ("MOCKMONTYTRIALTOFORMAL", "TRIAL_TO_FORMAL", "PERIOD"),
        ("MOCKMONTYUNSUBSCRIBE", "UNSUBSCRIBE", "PERIOD"),
        ("MOCKMONTYRENEW", "RENEW", "PERIOD"),
        ("MOCKMONTYCHANGE", "CHANGE", "PERIOD"),
    ],
)
def test_mock_orders(order_id, order_type, mode):
    """Nine mock orders, each with its line, type and charging mode."""
    shown = order_info(order_reply(MOCK_ORDERS[order_id], order_id + LINE_SUFFIX))
    assert (shown["orderType"], shown["orderLine"][0]["chargingMode"]) == (order_type, mode)


def test_there_are_nine():
    """No more than the specification lists."""
    assert len(MOCK_ORDERS) == 9
