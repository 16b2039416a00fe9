"""The operator's API for links to customers' pages, behind the admin token."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from billing_sync.admin_api import Endpoint, guarded
from billing_sync.api_answers import error
from billing_sync.bounded_bodies import bounded_body
from billing_sync.errors import BadQuestion, UnknownCustomer
from billing_sync.linking import Linker

MAX_BODY: Final = 8192
_BODY_BUDGET_S: Final = 5.0
_PATH: Final = "/api/v1/links"


class LinkBody(msgspec.Struct, forbid_unknown_fields=True):
    """What `POST /api/v1/links` takes; `expires` is `7d`, an ISO 8601 time, or left out."""

    customer_id: str
    instance_id: str = ""
    expires: str | None = None


class RevocationBody(msgspec.Struct, forbid_unknown_fields=True):
    """What `POST /api/v1/links/revoke` takes."""

    customer_id: str


Body = TypeVar("Body", LinkBody, RevocationBody)


def routes(linker: Linker, admin_token: str) -> list[Route]:
    """Every route of it."""

    async def create(request: Request) -> Response:
        body = await _body(request, LinkBody)
        made = await linker.create(body.customer_id, body.instance_id, body.expires)
        return _once(made._asdict(), 201)

    async def revoke(request: Request) -> Response:
        body = await _body(request, RevocationBody)
        revision = await linker.revoke(body.customer_id)
        return _once({"customer_id": body.customer_id, "revision": revision}, 200)

    paths: list[tuple[str, Callable[[Request], Awaitable[Response]]]] = [
        (_PATH, create),
        (f"{_PATH}/revoke", revoke),
    ]
    return [
        Route(path, guarded(_told(endpoint), admin_token), methods=["POST"])
        for path, endpoint in paths
    ]


def _told(endpoint: Endpoint) -> Endpoint:
    async def tell(request: Request) -> Response:
        try:
            return await endpoint(request)
        except UnknownCustomer as problem:
            return error(404, "unknown_customer", str(problem))

    return tell


def _once(content: dict[str, Any], status: int) -> Response:
    return JSONResponse(content, status_code=status, headers={"Cache-Control": "no-store"})


async def _body(request: Request, shape: type[Body]) -> Body:
    """Raises BadQuestion for a body that is too long, too slow or none of ours."""
    body = await bounded_body(request, MAX_BODY, _BODY_BUDGET_S)
    if len(body) > MAX_BODY:
        raise BadQuestion(f"the body is larger than {MAX_BODY} bytes")
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise BadQuestion(f"the body cannot be read: {problem}") from None
