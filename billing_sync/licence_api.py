"""The operator's API for licences: which were asked for, what became of them, and trying again.

No answer holds a licence, a fingerprint or an authorization code.
"""

from collections.abc import Callable
from typing import Any

from anyio import to_thread
from sqlalchemy import Engine
from sqlmodel import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from billing_sync.admin_api import guarded
from billing_sync.api_answers import error, page_of
from billing_sync.asking import Page, page_question
from billing_sync.errors import BadQuestion, UnknownLicence, WrongState
from billing_sync.licence_retrying import retry
from billing_sync.licences import LicenceState
from billing_sync.store import licence_listing as store
from billing_sync.store.engine import reading
from metering.clock import Clock

Lister = Callable[[Session, Page], list[dict[str, Any]]]


class LicenceApi:
    """Routes that list and try again; `on_change` wakes who works on licences."""

    def __init__(self, engine: Engine, clock: Clock, on_change: Callable[[], None]) -> None:
        self._engine = engine
        self._clock = clock
        self._on_change = on_change

    def routes(self, admin_token: str) -> list[Route]:
        """`GET /api/v1/licences`, `/api/v1/licence-codes`, `POST /api/v1/licences/{id}/retry`."""
        again = guarded(self._again, admin_token)
        return [
            Route("/api/v1/licences", guarded(self._licences, admin_token)),
            Route("/api/v1/licence-codes", guarded(self._codes, admin_token)),
            Route("/api/v1/licences/{id}/retry", again, methods=["POST"]),
        ]

    async def _licences(self, request: Request) -> Response:
        page = page_question(request.query_params, by_state=True)
        if page.state is not None and page.state not in [state.value for state in LicenceState]:
            raise BadQuestion(f"state must be one of {', '.join(LicenceState)}")
        return await to_thread.run_sync(self._listed, store.listed, page)

    async def _codes(self, request: Request) -> Response:
        page = page_question(request.query_params, by_state=True)
        return await to_thread.run_sync(self._listed, store.codes, page)

    def _listed(self, lister: Lister, page: Page) -> Response:
        with reading(self._engine) as session:
            rows = lister(session, page)
        return page_of(rows, page.limit, "id")

    async def _again(self, request: Request) -> Response:
        answer = await to_thread.run_sync(self._retried, request.path_params["id"])
        self._on_change()
        return answer

    def _retried(self, licence_id: str) -> Response:
        try:
            state = retry(self._engine, licence_id, self._clock.now_ms())
        except UnknownLicence as problem:
            return error(404, "unknown_licence", str(problem))
        except WrongState as problem:
            return error(409, "wrong_state", str(problem))
        return JSONResponse({"id": licence_id, "state": state})
