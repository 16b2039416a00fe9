"""The operator's API on the admin listener: usage as it stands now, instances, records, health."""

import hmac
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

from anyio import to_thread
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from sqlalchemy import Engine
from sqlmodel import Session, col, select
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from billing_sync.errors import BadQuestion
from billing_sync.models import Instance, UsageRecord
from billing_sync.store.engine import reading
from billing_sync.store.usage import UsageFilter
from billing_sync.usage_report import DIMENSIONS, EVERY_ROW, report
from billing_sync.usage_view import UsageView
from metering.windows import window_of

_MOST_ROWS: Final = 10_000
Endpoint = Callable[[Request], Awaitable[Response]]


def guarded(endpoint: Endpoint, admin_token: str) -> Endpoint:
    """Only callers with the admin token as Bearer; compared in constant time."""
    expected = f"Bearer {admin_token}".encode()

    async def guard(request: Request) -> Response:
        presented = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(presented, expected):
            return _error(401, "unauthorized", "send the admin token as Authorization: Bearer …")
        try:
            return await endpoint(request)
        except BadQuestion as problem:
            return _error(400, "bad_request", str(problem))

    return guard


def routes(
    view: UsageView, engine: Engine, registry: CollectorRegistry, admin_token: str
) -> list[Route]:
    """Every route of the admin listener."""

    async def usage(request: Request) -> Response:
        wanted = _filter(request)
        answer = await view.usage(wanted)
        return JSONResponse(report(answer, wanted, _by(request)))

    async def instances(request: Request) -> Response:
        return JSONResponse(
            {"data": await to_thread.run_sync(_list, engine, Instance, request.query_params)}
        )

    async def records(request: Request) -> Response:
        return JSONResponse(
            {"data": await to_thread.run_sync(_list, engine, UsageRecord, request.query_params)}
        )

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def metrics(_: Request) -> Response:
        text = await to_thread.run_sync(generate_latest, registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    return [
        Route("/api/v1/usage", guarded(usage, admin_token)),
        Route("/api/v1/instances", guarded(instances, admin_token)),
        Route("/api/v1/records", guarded(records, admin_token)),
        Route("/healthz", healthz),
        Route("/metrics", metrics),
    ]


def _filter(request: Request) -> UsageFilter:
    asked = request.query_params
    known = {"customer", "instance", "meter", "from", "to", "by"}
    if unknown := sorted(set(asked) - known):
        raise BadQuestion(f"unknown parameter {unknown[0]!r}; known are {', '.join(sorted(known))}")
    return UsageFilter(
        customer_id=asked.get("customer"),
        instance_id=asked.get("instance"),
        meter=asked.get("meter"),
        from_window=_window(asked.get("from"), "from"),
        to_window=_window(asked.get("to"), "to"),
    )


def _by(request: Request) -> frozenset[str]:
    asked = request.query_params.get("by")
    if asked is None:
        return EVERY_ROW
    by = frozenset(asked.split(","))
    if unknown := sorted(by - set(DIMENSIONS)):
        raise BadQuestion(f"by={unknown[0]!r} is unknown; known are {', '.join(DIMENSIONS)}")
    return by


def _window(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise BadQuestion(
            f"{name}={text!r} is not a time; write one as 2026-01-31T13:00:00Z"
        ) from None
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    return window_of(int(aware.timestamp() * 1000))


def _list(engine: Engine, table: type[Any], asked: Any) -> list[dict[str, Any]]:
    with reading(engine) as session:
        return [row.model_dump() for row in _rows(session, table, asked)]


def _rows(session: Session, table: type[Any], asked: Any) -> list[Any]:
    query = select(table).limit(_MOST_ROWS)
    instance = table.id if table is Instance else table.instance_id
    for name, column in (("customer", table.customer_id), ("instance", instance)):
        if name in asked:
            query = query.where(col(column) == asked[name])
    return list(session.exec(query))


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status)
