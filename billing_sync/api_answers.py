"""How the operator's API answers: an error with a code and a sentence, or a page of a list."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy import Engine
from sqlmodel import Session
from starlette.responses import JSONResponse, Response

from billing_sync.store.engine import reading


class _Limited(Protocol):
    @property
    def limit(self) -> int: ...


P = TypeVar("P", bound=_Limited)


def error(status: int, code: str, message: str) -> Response:
    """What went wrong, for scripts and for people."""
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status)


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
