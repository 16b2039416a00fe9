"""The operator's API on the admin listener: usage as it stands now, lists of what there is, health.

No answer holds a key or a token. Whatever may take long runs in a thread: callbacks are answered
by the same event loop.
"""

import hmac
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from anyio import to_thread
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from billing_sync.api_answers import error, listed, page_of
from billing_sync.asking import Page, finding_question, page_question, usage_question
from billing_sync.errors import BadQuestion, BillingSyncError
from billing_sync.package_report import shown
from billing_sync.questions import Usage, UsageFilter
from billing_sync.store import findings, listing, package_listing
from billing_sync.store.engine import reading
from billing_sync.store.stops import Stop
from billing_sync.usage_report import report
from billing_sync.usage_view import UsageView
from metering.exposing import encoded

Endpoint = Callable[[Request], Awaitable[Response]]
Told = Mapping[type[BillingSyncError], tuple[int, str]]

_NOTHING: Final[Told] = MappingProxyType({})


def guarded(endpoint: Endpoint, admin_token: str) -> Endpoint:
    """Only callers with the admin token as Bearer; compared in constant time.

    Raises ValueError for an empty token, which would let everybody in.
    """
    if not admin_token:
        raise ValueError("control.admin_token is empty")
    expected = admin_token.encode()

    async def guard(request: Request) -> Response:
        scheme, _, presented = request.headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(presented.strip().encode("latin-1"), expected)
        if not right or scheme.lower() != "bearer":
            return _unauthorized()
        try:
            return await endpoint(request)
        except BadQuestion as problem:
            return error(400, "bad_request", str(problem))
        except SQLAlchemyError:
            return error(503, "ledger_unavailable", "the ledger does not answer; try again")

    return guard


def guarded_routes(
    endpoints: Iterable[tuple[str, str, Endpoint]], admin_token: str, told: Told = _NOTHING
) -> list[Route]:
    """Routes for (method, path, endpoint), each guarded; `told` has the (status, code) of every error
    that an endpoint may raise to be told as it is."""
    return [
        Route(path, guarded(_telling(endpoint, told), admin_token), methods=[method])
        for method, path, endpoint in endpoints
    ]


def _telling(endpoint: Endpoint, told: Told) -> Endpoint:
    async def tell(request: Request) -> Response:
        try:
            return await endpoint(request)
        except tuple(told) as problem:
            status, code = told[type(problem)]
            return error(status, code, str(problem))

    return tell


def routes(
    view: UsageView,
    engine: Engine,
    registry: CollectorRegistry,
    admin_token: str,
    stop: Callable[[], Stop | None] = lambda: None,
) -> list[Route]:
    """Every route of the admin listener. `stop` says why billing is stopped, None while it is not."""

    async def usage(request: Request) -> Response:
        wanted = usage_question(request.query_params)
        answer = await view.usage(wanted)
        return await to_thread.run_sync(_usage_answer, answer, wanted)

    async def instances(request: Request) -> Response:
        page = page_question(request.query_params, by_state=False)
        return await to_thread.run_sync(listed, engine, listing.instances, page, "id")

    async def packages(request: Request) -> Response:
        page = page_question(request.query_params, by_state=False)
        return await to_thread.run_sync(_packages, engine, view, page)

    async def records(request: Request) -> Response:
        page = page_question(request.query_params, by_state=True)
        return await to_thread.run_sync(listed, engine, listing.records, page, "metering_sn")

    async def found(request: Request) -> Response:
        page = finding_question(request.query_params)
        return await to_thread.run_sync(listed, engine, findings.listed, page, "id")

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok", **_billing(stop())})

    async def metrics(request: Request) -> Response:
        accept = request.headers.get("accept", "")
        text, content_type = await to_thread.run_sync(encoded, registry, accept)
        return Response(text, headers={"content-type": content_type})

    endpoints = [
        ("GET", "/api/v1/usage", usage),
        ("GET", "/api/v1/instances", instances),
        ("GET", "/api/v1/packages", packages),
        ("GET", "/api/v1/records", records),
        ("GET", "/api/v1/findings", found),
    ]
    return [
        *guarded_routes(endpoints, admin_token),
        Route("/healthz", healthz),
        Route("/metrics", metrics),
    ]


def _usage_answer(usage: Usage, wanted: UsageFilter) -> Response:
    return JSONResponse(report(usage, wanted))


def _billing(stop: Stop | None) -> dict[str, str]:
    """What else health says: the process is well also while a person has to look after billing."""
    if stop is None:
        return {}
    return {"billing": f"stopped: {stop.reason}; run `tallygate recover`"}


def _packages(engine: Engine, view: UsageView, page: Page) -> Response:
    now_ms = view.clock.now_ms()
    with reading(engine) as session:
        found = package_listing.listed(session, page, view.catalogue)
    return page_of([shown(figures, now_ms) for figures in found], page.limit, "id")


def _unauthorized() -> Response:
    answer = error(401, "unauthorized", "send the admin token as Authorization: Bearer …")
    answer.headers["WWW-Authenticate"] = "Bearer"
    return answer
