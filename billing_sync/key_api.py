"""The operator's API for API keys, behind the admin token. A key stands in one answer only, which
nobody may keep: that to the request that made it."""

from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from billing_sync.admin_api import Told, guarded_routes
from billing_sync.api_bodies import body_of
from billing_sync.asking import key_question
from billing_sync.errors import KeyRefused, UnknownCustomer, UnknownKey
from billing_sync.key_ring import KeyRing, NewKey
from billing_sync.key_terms import key_asked, rotation_asked

MAX_BODY: Final = 8192
_PATH: Final = "/api/v1/keys"
_TOLD: Final[Told] = {
    UnknownCustomer: (404, "unknown_customer"),
    UnknownKey: (404, "unknown_key"),
    KeyRefused: (409, "refused"),
}


class KeyBody(msgspec.Struct, forbid_unknown_fields=True):
    """What `POST /api/v1/keys` takes; `expires` is `90d`, an ISO 8601 time, or left out."""

    customer_id: str
    name: str = ""
    expires: str | None = None
    routes: list[str] = []
    deliver: bool = False


class RotationBody(msgspec.Struct, forbid_unknown_fields=True):
    """What `POST /api/v1/keys/{id}/rotate` takes, or nothing; `overlap` is such as `24h`."""

    overlap: str | None = None
    expires: str | None = None


def routes(ring: KeyRing, admin_token: str) -> list[Route]:
    """Every route of it."""

    async def listed(request: Request) -> Response:
        page = key_question(request.query_params)
        rows = await ring.page(page)
        configured = await ring.configured(page.customer_id) if page.after is None else []
        more = rows[-1]["id"] if len(rows) == page.limit else None
        return JSONResponse({"data": rows, "next": more, "configured": configured})

    async def create(request: Request) -> Response:
        body = await body_of(request, KeyBody, MAX_BODY, empty=b"{}")
        asked = key_asked(
            body.customer_id,
            body.name,
            body.expires,
            body.routes,
            ring.clock.now_ms(),
            deliver=body.deliver,
        )
        return _new(await ring.create(asked))

    async def rotate(request: Request) -> Response:
        body = await body_of(request, RotationBody, MAX_BODY, empty=b"{}")
        asked = rotation_asked(body.overlap, body.expires, ring.clock.now_ms())
        return _new(await ring.rotate(request.path_params["key_id"], asked))

    async def revoke(request: Request) -> Response:
        return JSONResponse(await ring.revoke(request.path_params["key_id"]))

    endpoints = [
        ("GET", _PATH, listed),
        ("POST", _PATH, create),
        ("POST", f"{_PATH}/{{key_id}}/rotate", rotate),
        ("POST", f"{_PATH}/{{key_id}}/revoke", revoke),
        ("DELETE", f"{_PATH}/{{key_id}}", revoke),
    ]
    return guarded_routes(endpoints, admin_token, _TOLD)


def _new(made: NewKey) -> Response:
    content: dict[str, Any] = {"key": made.key, **made.row}
    return JSONResponse(content, status_code=201, headers={"Cache-Control": "no-store"})
