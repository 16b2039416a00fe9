"""The operator's API for alerts: which there are, what became of them, and sending them again."""

from collections.abc import Collection
from typing import Final

from anyio import to_thread
from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from billing_sync.admin_api import Told, guarded_routes
from billing_sync.alert_retrying import retry
from billing_sync.alerts import DeliveryState
from billing_sync.api_answers import page_of
from billing_sync.asking import Page, page_question
from billing_sync.errors import BadQuestion, UnknownAlert, WrongState
from billing_sync.store import alert_listing as store
from billing_sync.store.engine import reading
from metering.clock import Clock

_TOLD: Final[Told] = {
    UnknownAlert: (404, "unknown_alert"),
    WrongState: (409, "wrong_state"),
}


class AlertApi:
    """Routes that list alerts and send them again. `webhooks` are the names of those configured."""

    def __init__(self, engine: Engine, clock: Clock, webhooks: Collection[str]) -> None:
        self._engine = engine
        self._webhooks = webhooks
        self._clock = clock

    def routes(self, admin_token: str) -> list[Route]:
        """`GET /api/v1/alerts`, and `POST /api/v1/alerts/{id}/retry` without a body."""
        endpoints = [
            ("GET", "/api/v1/alerts", self._list),
            ("POST", "/api/v1/alerts/{id}/retry", self._again),
        ]
        return guarded_routes(endpoints, admin_token, _TOLD)

    async def _list(self, request: Request) -> Response:
        page = page_question(request.query_params, by_state=True)
        if page.state is not None and page.state not in [state.value for state in DeliveryState]:
            raise BadQuestion(f"state must be one of {', '.join(DeliveryState)}")
        return await to_thread.run_sync(self._listed, page)

    def _listed(self, page: Page) -> Response:
        with reading(self._engine) as session:
            rows = store.listed(session, page)
        return page_of(rows, page.limit, "id")

    async def _again(self, request: Request) -> Response:
        return await to_thread.run_sync(self._retried, request.path_params["id"])

    def _retried(self, alert_id: str) -> Response:
        deliveries = retry(self._engine, alert_id, self._webhooks, self._clock.now_ms())
        return JSONResponse({"id": alert_id, "deliveries": deliveries})
