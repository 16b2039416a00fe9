"""The operator's API for tenants of the joint-operation Kit, behind the admin token: who is there, and
no secret."""

from functools import partial

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from billing_sync.admin_api import guarded_routes
from billing_sync.asking import tenant_question
from billing_sync.store import kit_listing
from billing_sync.store.worker import SqlWorker


def routes(sql: SqlWorker, admin_token: str) -> list[Route]:
    """`GET /api/v1/tenants`; `next` is what to ask for as `after`, null at the end."""

    async def listed(request: Request) -> Response:
        page = tenant_question(request.query_params)
        rows = await sql.read(partial(kit_listing.listed, page=page))
        more = page.skip + len(rows) if len(rows) == page.limit else None
        return JSONResponse({"data": rows, "next": more})

    return guarded_routes([("GET", "/api/v1/tenants", listed)], admin_token)
