"""Opening orders against a merchant over real sockets."""

from typing import Any

import anyio
import pytest
from starlette.responses import JSONResponse

from tests.tallygate.simulator.stage import info, staged

pytestmark = pytest.mark.anyio
PENDING = {"resultCode": "000004", "resultMsg": "in process"}
NOT_YET = {"resultCode": "000005", "resultMsg": "not yet"}


def checks(opened: Any) -> list[str]:
    return [finding["check"] for finding in opened["findings"]]


async def test_every_line_becomes_an_instance():
    """One signed newInstance per line, each with its own businessId, then one query."""
    async with staged() as stage:
        order = await stage.sell("chat", "speech")
        opened = await stage.open(order)
        assert checks(opened) == []
        line_ids = [line["order_line_id"] for line in order["lines"]]
        assert [each["order_line_id"] for each in opened["instances"]] == line_ids
        assert opened["instances"][0]["product_id"] == "chat"
        assert opened["instances"][0]["info"] == info("i-" + line_ids[0])
        created = [body for body in stage.merchant.bodies if body["activity"] == "newInstance"]
        assert len({body["businessId"] for body in created}) == 2
        assert set(created[0]) == {"activity", "orderId", "orderLineId", "businessId"}


async def test_instance_starts_with_the_first_call():
    """The start of the resource is the timestamp of the first newInstance."""
    async with staged() as stage:
        stage.merchant.script("newInstance", NOT_YET)
        await stage.open(await stage.sell("chat"))
        [known] = (await stage.sim("GET", "/instances"))["instances"]
        assert str(known["started_ms"]) == stage.merchant.heard[0]["timestamp"]


async def test_failed_creation_is_repeated():
    """The marketplace keeps calling; the failure is found."""
    async with staged() as stage:
        stage.merchant.script("newInstance", NOT_YET)
        opened = await stage.open(await stage.sell("chat"))
        assert (len(opened["instances"]), checks(opened)) == (1, ["result-code"])


async def test_creation_that_never_works():
    """After a bounded number of calls there is no instance."""
    async with staged(create_attempts=3) as stage:
        stage.merchant.script("newInstance", *[NOT_YET] * 9)
        opened = await stage.open(await stage.sell("chat"))
        assert (opened["instances"], checks(opened)) == ([], ["result-code"] * 3)
        assert len(stage.merchant.bodies) == 3


async def test_creation_in_process():
    """000004 is polled by queryInstance until it succeeds; nothing is found in the waiting."""
    async with staged() as stage:
        order = await stage.sell("chat")
        pending = {**PENDING, "instanceId": "i-" + order["lines"][0]["order_line_id"]}
        stage.merchant.script("newInstance", pending)
        stage.merchant.script("queryInstance", NOT_YET, NOT_YET)
        opened = await stage.open(order)
        assert (len(opened["instances"]), checks(opened)) == (1, [])


async def test_creation_in_process_names_one_instance():
    """A second call of the same line must give the same id."""
    async with staged() as stage:
        stage.merchant.script("newInstance", {**PENDING, "instanceId": "i-other"})
        assert "idempotency" in checks(await stage.open(await stage.sell("chat")))


async def test_creation_in_process_for_ever():
    """Waiting is bounded, and opening again goes on."""
    async with staged(poll_attempts=3) as stage:
        order = await stage.sell("chat")
        pending = {**PENDING, "instanceId": "i-" + order["lines"][0]["order_line_id"]}
        stage.merchant.script("newInstance", pending, pending, pending)
        stage.merchant.script("queryInstance", *[NOT_YET] * 3)
        opened = await stage.open(order)
        assert (opened["instances"], checks(opened)) == ([], ["creation"])
        assert len((await stage.open(order))["instances"]) == 1


async def test_hidden_buyer_revealed_meanwhile():
    """The buyer may become known to order query while creation is in process."""
    async with staged(poll_attempts=500) as stage:
        order = await stage.sell("chat", buyer=False)
        query = f"orderId={order['order_id']}"
        assert "buyerInfo" not in (await stage.query_order(query)).json()["orderInfo"]
        line_id = order["lines"][0]["order_line_id"]
        stage.merchant.script("newInstance", {**PENDING, "instanceId": f"i-{line_id}"})
        stage.merchant.script("queryInstance", *[NOT_YET] * 400)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stage.open, order)
            await stage.sim("POST", f"/orders/{order['order_id']}/reveal")
            assert (await stage.query_order(query)).json()["orderInfo"]["buyerInfo"]
            stage.merchant.scripted.clear()
        assert len((await stage.sim("GET", "/instances"))["instances"]) == 1


async def test_opening_twice_is_one_instance():
    """Repeated creation names the same instance and keeps its start."""
    async with staged() as stage:
        order = await stage.sell("chat")
        first, again = await stage.open(order), await stage.open(order)
        assert first == again
        assert len((await stage.sim("GET", "/instances"))["instances"]) == 1


async def test_one_id_for_two_lines():
    """An instance id that another line has already is refused and found."""
    async with staged() as stage:
        same = {"resultCode": "000000", "resultMsg": "success", "instanceId": "i-same"}
        stage.merchant.script("newInstance", same, same)
        opened = await stage.open(await stage.sell("chat", "speech"))
        assert (len(opened["instances"]), checks(opened)) == (1, ["instance-id"])


async def test_creation_without_an_instance_id():
    """Success without instanceId is no instance."""
    async with staged() as stage:
        stage.merchant.script("newInstance", {"resultCode": "000000", "resultMsg": "success"})
        opened = await stage.open(await stage.sell("chat"))
        assert (opened["instances"], checks(opened)) == ([], ["field"])


async def test_package_shows_its_related_instances():
    """usageInfo of a package must name the buyer's own pay-per-use instance."""
    async with staged() as stage:
        [chat] = (await stage.open(await stage.sell("chat")))["instances"]
        opened = await stage.open(await stage.sell("chat-pack"))
        assert checks(opened) == ["related-instance"]
        [pack] = opened["instances"]
        entry = info(pack["instance_id"], relatedInstanceId=chat["instance_id"])
        good = {"resultCode": "000000", "resultMsg": "success", "info": [entry]}
        stage.merchant.script("queryInstance", JSONResponse(good))
        answered = await stage.sim("POST", f"/instances/{pack['instance_id']}/query")
        assert answered["findings"] == []


async def test_findings_are_kept():
    """What an opening found is also in the list of all findings."""
    async with staged() as stage:
        stage.merchant.script("newInstance", NOT_YET)
        opened = await stage.open(await stage.sell("chat"))
        assert (await stage.sim("GET", "/findings"))["findings"] == opened["findings"]
