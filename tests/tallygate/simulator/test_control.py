"""Setting the scene."""

import pytest

from tests.tallygate.simulator.stage import NOW_MS, staged, unserved

pytestmark = pytest.mark.anyio


async def test_health():
    """Alive, and what time it is there."""
    async with staged() as stage:
        assert await stage.sim("GET", "/health") == {"status": "ok", "now_ms": NOW_MS}


async def test_order():
    """Ids, products and charging modes of the lines."""
    async with staged() as stage:
        response = await stage.http.post(
            "/_sim/orders",
            json={
                "customer_id": "c",
                "lines": [{"product_id": "chat"}, {"product_id": "chat-pack"}],
            },
        )
        order = response.json()
        assert response.status_code == 201
        assert order["lines"] == [
            {
                "order_line_id": order["order_id"] + "-000001",
                "product_id": "chat",
                "charging_mode": "ON_DEMAND",
            },
            {
                "order_line_id": order["order_id"] + "-000002",
                "product_id": "chat-pack",
                "charging_mode": "ON_DEMAND_PKG",
            },
        ]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("orders", {"lines": [{"product_id": "chat"}]}),
        ("orders", {"customer_id": "c", "lines": []}),
        ("orders", {"customer_id": "c", "lines": [{"product_id": "other"}]}),
        ("orders", {"customer_id": "c", "lines": [{"product_id": "chat", "expire_time": "x"}]}),
        ("orders", {"customer_id": "c", "lines": [{"product_id": "chat-pack"}] * 31}),
        ("orders", {"customer_id": "c", "lines": [{"product_id": "chat"}] * 101}),
        ("orders", {"customer_id": "c", "buyer": "no", "lines": [{"product_id": "chat"}]}),
        ("products", {"products": [{"name": "no id"}]}),
        ("products", {"products": [{"product_id": "x" * 65}]}),
        ("products", {"products": [{"product_id": "x", "kind": "RENT"}]}),
        ("products", {"products": [{"product_id": "x", "covers": "chat"}]}),
        ("products", {"product": []}),
        ("settings", {"production_url": "nowhere"}),
        ("settings", {"push_auth": "none"}),
        ("settings", {"clock_offset_ms": "later"}),
        ("settings", {"sk": "other"}),
        ("settings", {"validation_delay": -1}),
        ("products", {"products": [{"product_id": "x", "price": {}}]}),
        ("orders", {"customer_id": "c", "lines": [{"product_id": "chat", "linear_value": 0}]}),
    ],
    ids=str,
)
async def test_bad_requests(path, body):
    """Refused with one line that says what is wrong."""
    async with unserved() as http:
        method = "POST" if path == "orders" else "PUT"
        response = await http.request(method, f"/_sim/{path}", json=body)
        assert response.status_code == 400
        assert response.json()["error"]


async def test_no_json():
    """Neither is what cannot be read."""
    async with unserved() as http:
        assert (await http.post("/_sim/orders", content=b"{")).status_code == 400


@pytest.mark.parametrize("action", ["open", "reveal"])
async def test_unknown_order(action):
    """404."""
    async with unserved() as http:
        assert (await http.post(f"/_sim/orders/CS9/{action}")).status_code == 404


async def test_time_travel():
    """The marketplace's clock may run ahead; callbacks are signed in its time."""
    async with staged() as stage:
        changed = await stage.sim("PUT", "/settings", {"clock_offset_ms": 3_600_000})
        assert changed["clock_offset_ms"] == 3_600_000
        assert (await stage.sim("GET", "/health"))["now_ms"] == NOW_MS + 3_600_000
        await stage.sim("POST", "/callback", {"body": {"activity": "releaseInstance"}})
        assert int(stage.merchant.heard[-1]["timestamp"]) == NOW_MS + 3_600_000


async def test_settings_keep_what_is_not_named():
    """Only what is in the body changes."""
    async with staged() as stage:
        before = await stage.sim("PUT", "/settings", {})
        await stage.sim("PUT", "/settings", {"push_auth": "aksk"})
        after = await stage.sim("PUT", "/settings", {})
        assert after == {**before, "push_auth": "aksk"}
