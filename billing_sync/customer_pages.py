"""Serves customers' pages: `/usage/{token}` to whoever holds a link, `/usage/me` to a signed-in person.

Nothing of anybody else can be reached: what is read is bounded by the customer, and the instances, that
the link or the session stands for, never by what the request says.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from sqlalchemy.exc import SQLAlchemyError
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from billing_sync.access import Access
from billing_sync.allowances import Allowances
from billing_sync.customer_view import CustomerPage, CustomerView
from billing_sync.errors import BadLink, BadQuestion, Forged, KeyRefused, UnknownKey
from billing_sync.form_tokens import FormTokens
from billing_sync.key_terms import rotation_asked
from billing_sync.link_tokens import DEBUG_TOKEN, PATH
from billing_sync.linking import Linker
from billing_sync.usage_csv import csv_of
from billing_sync.usage_series import By
from billing_sync.web.assets import static_route
from billing_sync.web.forms import form_of
from billing_sync.web.pages import Pages
from billing_sync.web.security import SecureHeaders

_log = logging.getLogger(__name__)

STATIC: Final = f"{PATH}/static"
ME: Final = "me"
_BURST: Final = 60  # of one customer
_EVERY_MS: Final = 1000
_STRANGERS: Final = 200  # of one address, which behind a proxy may be everybody's
_STRANGERS_EVERY_MS: Final = 200
_OVERLAP: Final = "24h"


class Entry(NamedTuple):
    """Somebody who may see a page. `csrf` is what his forms carry, `home` the page's address.

    `customers` are all he may choose from, `sign_out` where he leaves.
    """

    access: Access
    csrf: str
    home: str
    customers: tuple[str, ...] = ()
    sign_out: str = ""


# Who is signed in, or the answer to somebody who is not.
Door = Callable[[Request], Awaitable[Entry | Response]]


@dataclass
class CustomerPages:
    """`door` is for those who come without a link; `quota_path` is where customers ask gateways."""

    linker: Linker
    view: CustomerView
    pages: Pages
    forms: FormTokens
    quota_path: str | None
    door: Door

    def __post_init__(self) -> None:
        self._allowances: Allowances[str] = Allowances(_BURST, _EVERY_MS)
        self._strangers: Allowances[str] = Allowances(_STRANGERS, _STRANGERS_EVERY_MS)

    def routes(self) -> list[Route]:
        """Every route below /usage."""
        paths: list[tuple[str, str, Callable[[Request, Entry], Awaitable[Response]]]] = [
            ("GET", f"{PATH}/{{token}}", self._shown),
            ("GET", f"{PATH}/{{token}}/usage.csv", self._csv),
            ("POST", f"{PATH}/{{token}}/rotate", self._rotate),
            ("GET", f"{PATH}/{{token}}/rotate", self._back),
        ]
        secured = [Middleware(SecureHeaders)]
        served = static_route(STATIC)
        return [
            Route(served.path, served.endpoint, middleware=secured),
            *(
                Route(path, self._guarded(endpoint), methods=[method], middleware=secured)
                for method, path, endpoint in paths
            ),
        ]

    def _guarded(
        self, endpoint: Callable[[Request, Entry], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def guard(request: Request) -> Response:
            try:
                entry = await self._entered(request)
                if isinstance(entry, Response):
                    return self._to_stranger(request, entry)
                wait_ms = self._allowances.take(entry.access.customer_id, self._now_ms())
                return self._often(request, wait_ms) if wait_ms else await endpoint(request, entry)
            except BadLink:
                return self._closed(request)
            except BadQuestion:
                return self._notice(request, 400, "much")
            except Forged:
                return self._notice(request, 400, "stale")
            except SQLAlchemyError:
                return self._notice(request, 503, "away")

        return guard

    async def _entered(self, request: Request) -> Entry | Response:
        token = request.path_params["token"]
        if token == ME:
            return await self.door(request)
        if token == DEBUG_TOKEN:
            return self._notice(request, 200, "example")
        access = await self.linker.open(token)
        return Entry(access, self.forms.of(token), f"{PATH}/{token}")

    async def _shown(self, request: Request, entry: Entry, refused: str = "") -> Response:
        page = await self.view.page(entry.access, _by(request))
        meters = page.series.meters
        asked = request.query_params.get("meter", "")
        shown = asked if asked in meters else meters[0]
        access = entry.access
        return self.pages.page(
            request,
            "usage.html",
            409 if refused else 200,
            page=page,
            series=page.series,
            chart=self._chart(page, shown),
            shown_meter=shown,
            home=entry.home,
            asked=urlencode({"customer": access.customer_id}) if entry.customers[1:] else "",
            customers=entry.customers,
            person=access.person,
            sign_out=entry.sign_out,
            csrf=entry.csrf,
            may_rotate=access.may_rotate,
            shows_keys=access.instances is None or access.may_rotate,
            quota_path=self.quota_path,
            refused=refused,
        )

    def _chart(self, page: CustomerPage, meter: str) -> dict[str, Any]:
        series, times = page.series, self.pages.times
        at = series.meters.index(meter)
        rows = list(reversed(series.rows))
        label = times.minute if series.by == "hour" else times.day
        return {
            "kind": "bars",
            "times": [row.start // 1000 for row in rows],
            "labels": [label(row.start) for row in rows],
            "ticks": [
                label(row.start)[5:] if series.by == "day" else times.clock(row.start)
                for row in rows
            ],
            "series": [
                {"label": meter, "values": [row.quantities[at] for row in rows], "shown": []}
            ],
        }

    async def _csv(self, request: Request, entry: Entry) -> Response:
        by = _by(request)
        text = csv_of(await self.view.cells(entry.access, by), entry.access)
        headers = {"Content-Disposition": f'attachment; filename="usage-by-{by}.csv"'}
        return Response(text, media_type="text/csv; charset=utf-8", headers=headers)

    async def _rotate(self, request: Request, entry: Entry) -> Response:
        """Only his own keys, and only whoever may."""
        form = await form_of(request, entry.csrf)
        if not entry.access.may_rotate:
            raise Forged("not allowed")
        key_id = form.get("key_id", "")
        mine = {row["id"] for row in await self.view.keys(entry.access) if row.get("shown")}
        if key_id not in mine:
            return await self._shown(request, entry, "there is no such key")
        try:
            asked = rotation_asked(_OVERLAP, None, self._now_ms())
            made = await self.view.ring.rotate(key_id, asked)
        except (KeyRefused, UnknownKey) as reason:
            return await self._shown(request, entry, str(reason))
        _log.info("key %s was replaced from the page of %s", key_id, entry.access.customer_id)
        return self.pages.page(request, "usage_key.html", key=made.key, home=entry.home)

    async def _back(self, request: Request, entry: Entry) -> Response:
        """From the links of a page that answered a form, which has this address, to the page itself."""
        asked = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"{entry.home}{asked}", 303)

    def _closed(self, request: Request) -> Response:
        return self._to_stranger(request, self._notice(request, 404, "closed"))

    def _to_stranger(self, request: Request, answer: Response) -> Response:
        """Who tries many links, or comes often without a session, is answered in few words."""
        address = request.client.host if request.client else ""
        if self._strangers.take(address, self._now_ms()):
            return Response("too many requests\n", 429, media_type="text/plain")
        return answer

    def _often(self, request: Request, wait_ms: int) -> Response:
        response = self._notice(request, 429, "often")
        response.headers["Retry-After"] = str(-(-wait_ms // 1000))
        return response

    def _notice(self, request: Request, status: int, name: str) -> Response:
        texts = self.pages.texts(request)
        heading, note = texts(f"usage.{name}_title"), texts(f"usage.{name}_note")
        return self.pages.page(request, "usage_notice.html", status, heading=heading, note=note)

    def _now_ms(self) -> int:
        return self.view.clock.now_ms()


def _by(request: Request) -> By:
    return "day" if request.query_params.get("by") == "day" else "hour"
