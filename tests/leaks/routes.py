"""Every route that the listeners serve, and to whom: who adds one says here whom it is for."""

from collections.abc import Iterable
from typing import Final

from starlette.applications import Starlette
from starlette.routing import Route

# The marketplace's alone: each call is signed.
MARKET: Final = """
    GET /koogallery
    POST /koogallery
    GET /koogallery/
    POST /koogallery/
    GET /
    POST /
    """ + "\n".join(
    f"POST {prefix}/produceAPI{version}/{sync}"
    for prefix in ("", "/", "/koogallery", "/koogallery/")
    for version in ("", "/v2")
    for sync in ("tenantSync", "applicationSync", "authSync", "singleOrgSync", "allOrgSync")
)
# Whoever holds a link, or is signed in.
CUSTOMER: Final = """
    GET /usage/{token}
    GET /usage/{token}/usage.csv
    GET /usage/{token}/rotate
    POST /usage/{token}/rotate
"""
# Everybody's; nothing of anybody stands there.
PUBLIC_OPEN: Final = """
    GET /usage/static/{name:path}
    GET /koogallery/oauth/login
    GET /koogallery/oauth/callback
    GET /koogallery/oauth/logout
    POST /koogallery/oauth/logout
"""
# The admin token as Bearer.
API: Final = """
    GET /api/v1/usage
    GET /api/v1/instances
    GET /api/v1/packages
    GET /api/v1/records
    GET /api/v1/findings
    GET /api/v1/records/{sn}
    POST /api/v1/records/{sn}/retry
    POST /api/v1/records/{sn}/release
    POST /api/v1/records/{sn}/hold
    POST /api/v1/records/{sn}/reject
    GET /api/v1/adjustments
    POST /api/v1/adjustments
    GET /api/v1/suspense
    GET /api/v1/suspense/assignments
    POST /api/v1/suspense/assign
    GET /api/v1/keys
    POST /api/v1/keys
    POST /api/v1/keys/{key_id}/rotate
    POST /api/v1/keys/{key_id}/revoke
    DELETE /api/v1/keys/{key_id}
    POST /api/v1/links
    POST /api/v1/links/revoke
    GET /api/v1/mappings
    PUT /api/v1/mappings/{product_id:path}
    DELETE /api/v1/mappings/{product_id:path}
    GET /api/v1/alerts
    POST /api/v1/alerts/{id}/retry
    GET /api/v1/tenants
    GET /api/v1/licences
    GET /api/v1/licence-codes
    POST /api/v1/licences/{id}/retry
    GET /api/v1/openapi.json
"""
# A session of the console; each form carries its token.
CONSOLE: Final = """
    POST /console/sign-out
    GET /console
    GET /console/overview
    GET /console/customers
    GET /console/customers/{customer_id:path}
    GET /console/instances/{instance_id:path}
    GET /console/packages
    GET /console/keys
    POST /console/keys
    POST /console/keys/{key_id}/rotate
    POST /console/keys/{key_id}/revoke
    GET /console/products
    POST /console/products/map
    POST /console/products/forget
    GET /console/records
    GET /console/records/{sn}
    POST /console/records/{sn}/retry
    POST /console/records/{sn}/release
    POST /console/records/{sn}/hold
    POST /console/records/{sn}/reject
    GET /console/suspense
    POST /console/suspense/assign
    GET /console/adjustments
    POST /console/adjustments
    GET /console/alerts
    POST /console/alerts/{id}/retry
    GET /console/reconcile
    POST /console/reconcile
    GET /console/explain
    POST /console/explain
    GET /console/history
    GET /console/health
"""
ADMIN_OPEN: Final = """
    GET /console/static/{name:path}
    GET /console/sign-in
    POST /console/sign-in
    GET /console/
    GET /healthz
"""
# Scraped without a token: names customers and packages by their ids, and says nothing else of them.
METRICS: Final = "GET /metrics"
GATEWAY_ADMIN: Final = """
    GET /-/healthz
    GET /-/readyz
    GET /-/metrics
    GET /-/journal
"""

Call = tuple[str, str]


def calls(*tables: str) -> list[Call]:
    """The (method, path) of tables as they are written here."""
    lines = (line.strip() for table in tables for line in table.splitlines())
    return [(method, path) for method, _, path in (line.partition(" ") for line in lines if line)]


def served(app: Starlette) -> list[Call]:
    """Those of an application; GET answers HEAD as well. Mounts and the like would hide routes."""
    return [call for route in app.routes for call in _of(route)]


def _of(route: object) -> Iterable[Call]:
    assert isinstance(route, Route), f"{route} is no plain route"
    methods = set(route.methods or ())
    assert methods, f"{route.path} takes every method"
    return [(method, route.path) for method in sorted(methods - {"HEAD"})]
