"""From the purchase of a package to the webhook, through a whole control plane."""

import json
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import Engine
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from billing_sync.alert_settings import AlertSettings
from tests.billing_sync.hooks import SECRET
from tests.billing_sync.test_app import HOME, plane_of, until

pytestmark = pytest.mark.anyio

SECTION = {"webhooks": [{"url": "http://ops.test/hook", "secrets": [SECRET]}]}


async def test_from_purchase_to_webhook(engine: Engine, redis: Redis) -> None:
    """Bought, used, drained, told; the same drain said once more tells nothing."""
    posts: list[dict[str, Any]] = []

    async def hook(request: Request) -> Response:
        body = await request.body()
        with pytest.raises(WebhookVerificationError, match="too new"):  # its clock is not ours
            Webhook(SECRET).verify(body, dict(request.headers))
        posts.append(json.loads(body) | {"id": request.headers["webhook-id"]})
        return Response(status_code=202)

    async with plane_of(engine, redis, alerts=AlertSettings.model_validate(SECTION)) as plane:
        plane.api.app.router.routes.append(Route("/hook", hook, methods=["POST"]))
        plane.api.products = ["TOKENS"]
        instance = await plane.call("newInstance", orderId="o", orderLineId="o-1", businessId="b")
        plane.api.products = ["PACK"]
        pack = await plane.call("newInstance", orderId="p", orderLineId="p-1", businessId="b2")
        await plane.lane.count(HOME, 8_500, instance_id=instance["instanceId"])

        async def told() -> bool:
            return bool(posts)

        await until(told)
        await plane.lane.count(HOME, 1, instance_id=instance["instanceId"])

        async def drained() -> bool:
            return plane.control.runner.drainer.drains == 2

        await until(drained)
        (message,) = posts
        assert message["type"] == "package.threshold_passed"
        data = message["data"]
        assert (data["package_id"], data["customer_id"]) == (pack["instanceId"], "cust-1")
        assert (data["threshold"], data["percent"], data["remaining"]) == (80, "85.0000", "1.5000")
        listed = (await plane.admin.get("/api/v1/alerts?state=sent")).json()["data"]
        assert [row["id"] for row in listed] == [message["id"]]
        metrics = (await plane.admin.get("/metrics")).text
        assert 'billing_sync_alerts{threshold="80"} 1.0' in metrics
        assert 'billing_sync_alert_deliveries{state="sent"} 1.0' in metrics
        for thing in (plane.parts, plane.control.runner):
            assert SECRET not in repr(thing)
            assert "ops.test/hook" not in repr(thing)
