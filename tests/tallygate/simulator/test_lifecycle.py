"""Query, refresh, freeze, unfreeze, release over real sockets."""

from typing import Any

import pytest

from tests.tallygate.simulator.stage import Stage, record, staged

pytestmark = pytest.mark.anyio
UNKNOWN = {"resultCode": "000003", "resultMsg": "unknown"}


async def opened(stage: Stage) -> str:
    [instance] = (await stage.open(await stage.sell("chat")))["instances"]
    return str(instance["instance_id"])


async def act(stage: Stage, instance_id: str, action: str, body: object = None) -> Any:
    return await stage.sim("POST", f"/instances/{instance_id}/{action}", body)


async def known(stage: Stage) -> Any:
    [instance] = (await stage.sim("GET", "/instances"))["instances"]
    return instance


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("query", {"activity": "queryInstance"}),
        ("freeze", {"activity": "updateInstanceStatus", "status": "FREEZE"}),
        ("unfreeze", {"activity": "updateInstanceStatus", "status": "UNFREEZE"}),
        ("release", {"activity": "releaseInstance"}),
    ],
)
async def test_bodies(action, expected):
    """Exactly the documented fields."""
    async with staged() as stage:
        instance_id = await opened(stage)
        answered = await act(stage, instance_id, action)
        assert stage.merchant.bodies[-1] == {**expected, "instanceId": instance_id}
        assert (answered["http_status"], answered["findings"]) == (200, [])
        assert answered["reply"]["resultCode"] == "000000"
        assert answered["elapsed_ms"] >= 0


async def test_refresh_has_a_renewal_order():
    """The order of a renewal is one that order query knows."""
    async with staged() as stage:
        await act(stage, await opened(stage), "refresh")
        body = stage.merchant.bodies[-1]
        assert (body["scene"], body["expireTime"]) == ("RENEWAL", "20261021141320")
        query = f"orderId={body['orderId']}&orderLineId={body['orderLineId']}"
        reply = (await stage.query_order(query)).json()
        assert reply["orderInfo"]["orderType"] == "RENEW"


async def test_overrides():
    """Fields of the body may be given."""
    async with staged() as stage:
        instance_id = await opened(stage)
        mine = {"scene": "TRIAL_TO_FORMAL", "expireTime": "20270101000000"}
        await act(stage, instance_id, "refresh", mine)
        body = stage.merchant.bodies[-1]
        assert {name: body[name] for name in mine} == mine


async def test_unknown_override():
    """Only the documented ones."""
    async with staged() as stage:
        path = f"/_sim/instances/{await opened(stage)}/release"
        assert (await stage.http.post(path, json={"instanceId": "other"})).status_code == 400


async def test_freezing_is_remembered():
    """Freeze and unfreeze."""
    async with staged() as stage:
        instance_id = await opened(stage)
        await act(stage, instance_id, "freeze")
        assert (await known(stage))["frozen"]
        await act(stage, instance_id, "unfreeze")
        assert not (await known(stage))["frozen"]


async def test_close_time_is_the_timestamp_of_the_release():
    """Of the first release; a repeated one moves nothing."""
    async with staged() as stage:
        instance_id = await opened(stage)
        stage.clock.time_ms += 90_000
        await act(stage, instance_id, "release")
        first = stage.merchant.heard[-1]["timestamp"]
        stage.clock.time_ms += 10_000
        await act(stage, instance_id, "release")
        assert str((await known(stage))["closed_ms"]) == first


@pytest.mark.parametrize("reply", [UNKNOWN, {"resultCode": "000005", "resultMsg": "broken"}])
async def test_failed_release_closes_nothing(reply):
    """Only success counts."""
    async with staged() as stage:
        instance_id = await opened(stage)
        stage.merchant.script("releaseInstance", reply)
        answered = await act(stage, instance_id, "release")
        assert [finding["check"] for finding in answered["findings"]] == ["result-code"]
        assert (await known(stage))["closed_ms"] is None


async def test_debug_release_closes_nothing():
    """testFlag 1 has no business effect."""
    async with staged() as stage:
        await act(stage, await opened(stage), "release", {"testFlag": "1"})
        assert (await known(stage))["closed_ms"] is None


async def test_usage_after_release():
    """The last interval may end with the close, not after it."""
    async with staged() as stage:
        instance_id = await opened(stage)
        stage.clock.time_ms += 60_000
        await act(stage, instance_id, "release")
        stage.clock.time_ms += 60_000
        pushed = await stage.push(record(instance_id), record(instance_id, 30))
        assert pushed.json()["error_code"] == "MKT.0000"
        collected = await stage.sim("POST", "/collect")
        assert (collected["collected"], collected["refused"]) == (1, 1)


async def test_unknown_action_and_instance():
    """Both are 404 and say what there is."""
    async with staged() as stage:
        instance_id = await opened(stage)
        response = await stage.http.post(f"/_sim/instances/{instance_id}/explode")
        assert response.status_code == 404
        assert "unfreeze" in response.json()["error"]
        assert (await stage.http.post("/_sim/instances/i-9/query")).status_code == 404
