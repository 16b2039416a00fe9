"""The operator's API for links to customers' pages, behind the admin token."""

from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from billing_sync.admin_api import guarded_routes
from billing_sync.api_bodies import body_of
from billing_sync.errors import UnknownCustomer
from billing_sync.linking import Linker

MAX_BODY: Final = 8192
_PATH: Final = "/api/v1/links"


class LinkBody(msgspec.Struct, forbid_unknown_fields=True):
    """What `POST /api/v1/links` takes; `expires` is `7d`, an ISO 8601 time, or left out."""

    customer_id: str
    instance_id: str = ""
    expires: str | None = None


class RevocationBody(msgspec.Struct, forbid_unknown_fields=True):
    """What `POST /api/v1/links/revoke` takes."""

    customer_id: str


def routes(linker: Linker, admin_token: str) -> list[Route]:
    """Every route of it."""

    async def create(request: Request) -> Response:
        body = await body_of(request, LinkBody, MAX_BODY)
        made = await linker.create(body.customer_id, body.instance_id, body.expires)
        return _once(made._asdict(), 201)

    async def revoke(request: Request) -> Response:
        body = await body_of(request, RevocationBody, MAX_BODY)
        revision = await linker.revoke(body.customer_id)
        return _once({"customer_id": body.customer_id, "revision": revision}, 200)

    endpoints = [("POST", _PATH, create), ("POST", f"{_PATH}/revoke", revoke)]
    return guarded_routes(endpoints, admin_token, {UnknownCustomer: (404, "unknown_customer")})


def _once(content: dict[str, Any], status: int) -> Response:
    return JSONResponse(content, status_code=status, headers={"Cache-Control": "no-store"})
