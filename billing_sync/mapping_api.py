"""The operator's API for mappings of product ids, behind the admin token."""

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from billing_sync.admin_api import Told, guarded_routes
from billing_sync.api_bodies import body_of
from billing_sync.errors import MappingRefused, UnknownMapping
from billing_sync.mapping import Mapper, shown

_MAX_BODY: Final = 4096
_PATH: Final = "/api/v1/mappings"
_TOLD: Final[Told] = {
    UnknownMapping: (404, "unknown_mapping"),
    MappingRefused: (409, "refused"),
}


class MappingBody(msgspec.Struct, forbid_unknown_fields=True):
    """What `PUT /api/v1/mappings/{product_id}` takes."""

    mapped_to: str
    author: str


def routes(mapper: Mapper, admin_token: str) -> list[Route]:
    """Every route of it. `GET` shows all mappings, and in `unmapped` what was sold and lacks one."""

    async def listed(_: Request) -> Response:
        return JSONResponse(shown(*await mapper.listed()))

    async def put(request: Request) -> Response:
        body = await body_of(request, MappingBody, _MAX_BODY)
        product_id = request.path_params["product_id"]
        return JSONResponse(await mapper.put(product_id, body.mapped_to, body.author))

    async def remove(request: Request) -> Response:
        return JSONResponse(await mapper.remove(request.path_params["product_id"]))

    one = f"{_PATH}/{{product_id:path}}"  # a product id may hold a slash
    endpoints = [
        ("GET", _PATH, listed),
        ("PUT", one, put),
        ("DELETE", one, remove),
    ]
    return guarded_routes(endpoints, admin_token, _TOLD)
