"""How the operator's API answers: an error with a code and a sentence, or a page of a list."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy import Engine
from sqlmodel import Session
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from billing_sync.store.engine import reading


class _Limited(Protocol):
    @property
    def limit(self) -> int: ...


P = TypeVar("P", bound=_Limited)


def error(status: int, code: str, message: str) -> Response:
    """What went wrong, for scripts and for people."""
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status)


async def not_served(request: Request, problem: Exception) -> Response:
    """Whatever no route takes; below `/api/` as any other error of the API."""
    if not isinstance(problem, HTTPException):
        raise problem
    status, headers = problem.status_code, problem.headers
    if not request.url.path.startswith("/api/"):
        return PlainTextResponse(problem.detail, status_code=status, headers=headers)
    answer = error(status, problem.detail.lower().replace(" ", "_"), "see /api/v1/openapi.json")
    answer.headers.update(headers or {})
    return answer


def listed(
    engine: Engine, lister: Callable[[Session, P], Sequence[Any]], page: P, key: str
) -> Response:
    """One page of rows; `next` is what to ask for as `after`, null at the end."""
    with reading(engine) as session:
        rows = [row.model_dump() for row in lister(session, page)]
    return page_of(rows, page.limit, key)


def page_of(rows: Sequence[dict[str, Any]], limit: int, key: str) -> Response:
    """As `listed`, of rows that are ready to be shown."""
    return JSONResponse({"data": rows, "next": rows[-1][key] if len(rows) == limit else None})
