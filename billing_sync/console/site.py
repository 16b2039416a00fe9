"""Puts the console together: its pages, behind the headers that keep browsers honest."""

from collections.abc import Iterable
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from billing_sync.console.alerting import Alerts
from billing_sync.console.corrections import Corrections
from billing_sync.console.customers import Customers
from billing_sync.console.keys import Keys
from billing_sync.console.menu import MENU
from billing_sync.console.overview import Overview
from billing_sync.console.packages import Packages
from billing_sync.console.ports import Ports
from billing_sync.console.products import Products
from billing_sync.console.proving import Proving
from billing_sync.console.records import Records
from billing_sync.console.running import Running
from billing_sync.console.shell import HOME, Shell
from billing_sync.console.signing_in import SignIn
from billing_sync.web.assets import static_route
from billing_sync.web.pages import Pages
from billing_sync.web.security import SecureHeaders

STATIC: Final = f"{HOME}/static"


def console_routes(ports: Ports) -> list[Route]:
    """What the admin listener serves besides the API."""
    shell = Shell(ports, Pages(STATIC, ports.zone, {"MENU": MENU}))
    routes = [static_route(STATIC), *pages(shell), Route(f"{HOME}/", _slash)]
    for route in routes:
        route.app = SecureHeaders(route.app)
    return routes


def pages(shell: Shell) -> Iterable[Route]:
    """Every page that is shown, and every form."""
    yield from SignIn(shell).routes()
    parts = (
        Overview,
        Customers,
        Packages,
        Keys,
        Products,
        Records,
        Corrections,
        Alerts,
        Proving,
        Running,
    )
    for part in parts:
        yield from part(shell).routes()


async def _slash(_: Request) -> Response:
    return RedirectResponse(HOME, 308)
