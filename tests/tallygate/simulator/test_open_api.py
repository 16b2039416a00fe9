"""What the merchant calls, over real sockets: usage push, order query, and their faults."""

import httpx
import pytest

from tests.tallygate.simulator.stage import Stage, record, staged

pytestmark = pytest.mark.anyio


async def opened(stage: Stage) -> str:
    [instance] = (await stage.open(await stage.sell("chat")))["instances"]
    stage.clock.time_ms += 3_600_000
    return str(instance["instance_id"])


async def pushed(stage: Stage) -> int:
    return len((await stage.sim("GET", "/sdrs"))["sdrs"])


async def test_push_and_collect():
    """From a signed push to a collected charge."""
    async with staged() as stage:
        instance_id = await opened(stage)
        first = await stage.push(record(instance_id), record(instance_id, 60, usage_value="0.0001"))
        assert (first.status_code, first.json()) == (
            200,
            {"error_code": "MKT.0000", "error_msg": "success"},
        )
        await stage.push(record(instance_id))
        summary = await stage.sim("POST", "/collect")
        assert summary == {
            "collected": 2,
            "refused": 0,
            "duplicate": 0,
            "repeat": 1,
            "findings": 0,
        }
        sdrs = (await stage.sim("GET", f"/sdrs?instance_id={instance_id}"))["sdrs"]
        assert [each["state"] for each in sdrs] == ["collected", "collected", "repeat"]
        assert sdrs[0].items() >= record(instance_id).items()
        assert await stage.sim("GET", "/totals") == {
            instance_id: {"pushed": "1.5001", "collected": "1.5001", "refused": "0"},
        }
        assert (await stage.sim("GET", "/sdrs?instance_id=other"))["sdrs"] == []


async def test_package_is_named_or_refused():
    """The buyer of a stop-before-excess package is charged to it."""
    async with staged() as stage:
        [pack] = (await stage.open(await stage.sell("chat-pack")))["instances"]
        instance_id = await opened(stage)
        await stage.push(
            record(instance_id),
            record(instance_id, 60, relate_pkg_instance=pack["instance_id"]),
        )
        await stage.sim("POST", "/collect")
        sdrs = (await stage.sim("GET", "/sdrs"))["sdrs"]
        assert [each["state"] for each in sdrs] == ["refused", "collected"]
        assert "stop-before-excess" in sdrs[0]["reason"]


@pytest.mark.parametrize("header", ["signature", "authorization"])
async def test_spoilt_push(header):
    """Both kinds of authentication are needed."""
    async with staged() as stage:
        instance_id = await opened(stage)
        refused = await stage.push(record(instance_id), **{header: "wrong"})
        assert refused.status_code == (400 if header == "signature" else 401)
        assert await pushed(stage) == 0


async def test_push_auth_can_be_changed():
    """A setting of the running simulator."""
    async with staged() as stage:
        instance_id = await opened(stage)
        await stage.sim("PUT", "/settings", {"push_auth": "signature"})
        assert (await stage.push(record(instance_id), authorization="none")).is_success


async def test_huge_push():
    """A body beyond any batch is not read to its end."""
    async with staged() as stage:
        assert (await stage.push_body(b"x" * 2_097_153)).status_code == 413


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [("http_500", 500, None), ("throttle", 429, "APIGW.0308"), ("mkt_0999", 500, "MKT.0999")],
)
async def test_push_faults(kind, status, code):
    """Each fault loses the push once; the next one is taken."""
    async with staged() as stage:
        instance_id = await opened(stage)
        await stage.sim("POST", "/faults", {"push": [{"kind": kind, "times": 1}]})
        failed = await stage.push(record(instance_id))
        assert failed.status_code == status
        assert code is None or failed.json()["error_code"] == code
        assert await pushed(stage) == 0
        assert (await stage.push(record(instance_id))).is_success


async def test_timeout_after_accept():
    """The push is taken though no answer comes."""
    async with staged() as stage:
        instance_id = await opened(stage)
        fault = {"kind": "timeout_after_accept", "times": 2, "seconds": 0.3}
        await stage.sim("POST", "/faults", {"push": [fault]})
        stage.http.timeout = httpx.Timeout(0.1)
        with pytest.raises(httpx.ReadTimeout):
            await stage.push(record(instance_id))
        stage.http.timeout = httpx.Timeout(5)
        assert (await stage.push(record(instance_id))).status_code == 504
        assert await pushed(stage) == 2


async def test_order_query():
    """Orders and mock orders, signed with AK/SK."""
    async with staged() as stage:
        order = await stage.sell("chat")
        reply = await stage.query_order(f"orderId={order['order_id']}")
        assert reply.json()["orderInfo"]["buyerInfo"]["customerId"] == "cust-1"
        mock = await stage.query_order("orderId=MOCKONDEMAND&orderLineId=MOCKONDEMAND-000001")
        assert mock.json()["resultCode"] == "MKT.0000"


async def test_order_query_refusals():
    """Each with its code."""
    expected = {
        "orderId=CS9": (500, "CBC.9001"),
        "orderId=MOCKONDEMAND&orderLineId=MOCKONDEMAND-000002": (500, "CBC.9001"),
        "orderId=": (400, "CBC.0101"),
        "orderLineId=CS9-000001": (400, "CBC.0101"),
        f"orderId={'x' * 65}": (400, "CBC.0101"),
    }
    async with staged() as stage:
        for query, refusal in expected.items():
            reply = await stage.query_order(query)
            assert (query, (reply.status_code, reply.json()["resultCode"])) == (query, refusal)


async def test_order_query_needs_aksk():
    """A request of nobody is refused and found."""
    async with staged() as stage:
        reply = await stage.query_order("orderId=MOCKONDEMAND", authorization="none")
        assert (reply.status_code, reply.json()["resultCode"]) == (401, "CBC.0154")
        [finding] = (await stage.sim("GET", "/findings"))["findings"]
        assert finding["check"] == "order-query-refused"


async def test_order_query_faults():
    """Slow, broken, throttled, then well."""
    async with staged() as stage:
        kinds = [{"kind": "http_500"}, {"kind": "throttle"}, {"kind": "slow", "seconds": 0.05}]
        await stage.sim("POST", "/faults", {"order_query": kinds})
        replies = [await stage.query_order("orderId=MOCKONDEMAND") for _ in range(4)]
        assert [reply.status_code for reply in replies] == [500, 406, 200, 200]
