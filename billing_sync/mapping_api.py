"""The operator's API for mappings of product ids, behind the admin token."""

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from billing_sync.admin_api import Endpoint, guarded
from billing_sync.api_answers import error
from billing_sync.bounded_bodies import bounded_body
from billing_sync.errors import BadQuestion, MappingRefused, UnknownMapping
from billing_sync.mapping import Mapper

_MAX_BODY = 4096
_BODY_BUDGET_S = 5.0
_PATH = "/api/v1/mappings"


class MappingBody(msgspec.Struct, forbid_unknown_fields=True):
    """What `PUT /api/v1/mappings/{product_id}` takes."""

    mapped_to: str
    author: str


def routes(mapper: Mapper, admin_token: str) -> list[Route]:
    """Every route of it. `GET` shows all mappings, and in `unmapped` what was sold and lacks one."""

    async def listed(_: Request) -> Response:
        rows, unmapped = await mapper.listed()
        return JSONResponse(
            {
                "data": [row.model_dump() for row in rows],
                "unmapped": [each._asdict() for each in unmapped],
            }
        )

    async def put(request: Request) -> Response:
        body = await _body(request)
        product_id = request.path_params["product_id"]
        return JSONResponse(await mapper.put(product_id, body.mapped_to, body.author))

    async def remove(request: Request) -> Response:
        return JSONResponse(await mapper.remove(request.path_params["product_id"]))

    one = f"{_PATH}/{{product_id:path}}"  # a product id may hold a slash
    paths: list[tuple[str, str, Endpoint]] = [
        ("GET", _PATH, listed),
        ("PUT", one, put),
        ("DELETE", one, remove),
    ]
    return [
        Route(path, guarded(_told(endpoint), admin_token), methods=[method])
        for method, path, endpoint in paths
    ]


def _told(endpoint: Endpoint) -> Endpoint:
    async def tell(request: Request) -> Response:
        try:
            return await endpoint(request)
        except UnknownMapping as problem:
            return error(404, "unknown_mapping", str(problem))
        except MappingRefused as refusal:
            return error(409, "refused", str(refusal))

    return tell


async def _body(request: Request) -> MappingBody:
    """Raises BadQuestion for a body that is too long, too slow or none of ours."""
    body = await bounded_body(request, _MAX_BODY, _BODY_BUDGET_S)
    if len(body) > _MAX_BODY:
        raise BadQuestion(f"the body is larger than {_MAX_BODY} bytes")
    try:
        return msgspec.json.decode(body, type=MappingBody)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise BadQuestion(f"the body cannot be read: {problem}") from None
