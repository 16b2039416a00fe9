"""`/koogallery/oauth/{login,callback,logout}`: signing tenants' users in to the customer page.

Targets are fixed: a browser is only ever sent to the centre of a tenant that KooGallery told of, and
back to our own page. A code that comes from KooGallery's portal, without a `state` of ours, is not spent:
somebody else might have made that link to sign the reader in as himself. It begins a sign-in of this
browser instead, which the centre, where the reader is signed in already, ends without asking.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from billing_sync import pending_sign_in
from billing_sync.access import Access
from billing_sync.allowances import Allowances
from billing_sync.customer_pages import ME, Entry
from billing_sync.errors import BadQuestion, Forged, SignInAway, SignInRefused
from billing_sync.form_tokens import FormTokens
from billing_sync.link_tokens import PATH
from billing_sync.signing_in import SignIn
from billing_sync.store.person_sessions import Present
from billing_sync.web.forms import form_of
from billing_sync.web.pages import Pages
from billing_sync.web.security import SecureHeaders
from billing_sync.web.visits import is_https

_log = logging.getLogger(__name__)

OAUTH: Final = "/koogallery/oauth"
CALLBACK: Final = f"{OAUTH}/callback"
LOGOUT: Final = f"{OAUTH}/logout"
HOME: Final = f"{PATH}/{ME}"
SESSION: Final = "tallygate_person"
_BEGUN: Final = "tallygate_sign_in"
_TENANT: Final = ("tenant", "tenantId", "tenant_id")  # the portal's own name is the first
# A company's people share an address, and behind a proxy everybody does; a sign-in takes two.
_BURST: Final = 120
_EVERY_MS: Final = 500
_LONGEST: Final = 64

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass
class SignInPages:
    """`base_url` is where browsers reach us; `portal_url` where people without a tenant sign in."""

    sign_in: SignIn
    pages: Pages
    forms: FormTokens
    base_url: str
    portal_url: str | None

    def __post_init__(self) -> None:
        self._allowances: Allowances[str] = Allowances(_BURST, _EVERY_MS)

    def routes(self) -> list[Route]:
        """Every route of it."""
        paths: list[tuple[str, str, Endpoint]] = [
            ("GET", f"{OAUTH}/login", self._login),
            ("GET", CALLBACK, self._callback),
            ("GET", LOGOUT, self._signed_out),
            ("POST", LOGOUT, self._logout),
        ]
        return [
            Route(
                path,
                self._guarded(endpoint),
                methods=[method],
                middleware=[Middleware(SecureHeaders)],
            )
            for method, path, endpoint in paths
        ]

    async def door(self, request: Request) -> Entry | Response:
        """Who is signed in; everybody else is told how to."""
        token = request.cookies.get(self._cookie(request, SESSION), "")
        present = await self.sign_in.present(token)
        if present is None:
            return self._without(request, self._notice(request, 401, "in"), SESSION)
        customers = tuple(present.instances)
        if not customers:
            return self._notice(request, 403, "nothing", csrf=self.forms.of(token))
        access = self._access(present, request.query_params.get("customer", ""))
        return Entry(access, self.forms.of(token), HOME, customers, LOGOUT)

    def _access(self, present: Present, asked: str) -> Access:
        customers = tuple(present.instances)
        customer = asked if asked in customers else customers[0]
        may_rotate = present.is_admin and self.sign_in.settings.rotate_keys
        return Access(customer, present.instances[customer], may_rotate, present.name)

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        async def guard(request: Request) -> Response:
            address = request.client.host if request.client else ""
            wait_ms = self._allowances.take(address, self.sign_in.clock.now_ms())
            if wait_ms:
                seconds = str(-(-wait_ms // 1000))
                return Response("too many requests\n", 429, {"Retry-After": seconds}, "text/plain")
            try:
                return await endpoint(request)
            except SignInAway as reason:
                return self._failed(request, 502, "away", reason)
            except SignInRefused as reason:
                return self._failed(request, 403, "refused", reason)
            except (BadQuestion, Forged) as reason:
                return self._failed(request, 400, "refused", reason)
            except SQLAlchemyError:
                return self._notice(request, 503, "away")

        return guard

    def _failed(self, request: Request, status: int, name: str, reason: Exception) -> Response:
        _log.info("a sign-in failed: %s", reason)
        bare = Request({**request.scope, "query_string": b""})  # a code stands in no page
        return self._without(request, self._notice(bare, status, name), _BEGUN)

    async def _login(self, request: Request) -> Response:
        tenant_id = _tenant_of(request.query_params)
        if not tenant_id:
            return self._notice(request, 200, "in")
        return await self._begin(request, tenant_id, 0)

    async def _callback(self, request: Request) -> Response:
        asked = request.query_params
        if "error" in asked:
            raise SignInRefused("the centre or the person refused")
        if "state" not in asked:
            tenant_id = _tenant_of(asked)
            return await self._begin(request, tenant_id, self._restarts(request, tenant_id) + 1)
        cookie = request.cookies.get(self._cookie(request, _BEGUN), "")
        token = await self.sign_in.finish(cookie, asked["state"], asked.get("code", ""))
        before = request.cookies.get(self._cookie(request, SESSION), "")
        if before:
            await self.sign_in.leave(before, "")
        response = self._without(request, RedirectResponse(HOME, 303), _BEGUN)
        self._set(request, response, SESSION, token)
        return response

    async def _begin(self, request: Request, tenant_id: str, restarts: int) -> Response:
        begun = await self.sign_in.begin(tenant_id, restarts=restarts)
        response = RedirectResponse(begun.url, 303)
        self._set(request, response, _BEGUN, begun.cookie, pending_sign_in.LIFE_MS // 1000)
        return response

    def _restarts(self, request: Request, tenant_id: str) -> int:
        """So that a centre that forgets the state does not send a browser round for ever."""
        cookie = request.cookies.get(self._cookie(request, _BEGUN), "")
        now_ms = self.sign_in.clock.now_ms()
        try:
            pending = pending_sign_in.opened(self.sign_in.secret, cookie, now_ms)
        except SignInRefused:
            return 0
        return pending.restarts if pending.tenant_id == tenant_id else 0

    async def _logout(self, request: Request) -> Response:
        """Sign out here, then at the centre: by a page, because forms lead to no other site."""
        token = request.cookies.get(self._cookie(request, SESSION), "")
        await form_of(request, self.forms.of(token) if token else "")
        onward = await self.sign_in.leave(token, f"{self.base_url}{LOGOUT}")
        page = self._notice(request, 200, "out", onward=onward)
        return self._without(request, page, SESSION)

    async def _signed_out(self, request: Request) -> Response:
        """Where the centre sends back to; whoever is still signed in may leave from here."""
        token = request.cookies.get(self._cookie(request, SESSION), "")
        if token and await self.sign_in.present(token) is not None:
            return self._notice(request, 200, "still", csrf=self.forms.of(token))
        return self._without(request, self._notice(request, 200, "out"), SESSION)

    def _notice(
        self,
        request: Request,
        status: int,
        name: str,
        *,
        csrf: str = "",
        onward: str | None = None,
    ) -> Response:
        texts = self.pages.texts(request)
        return self.pages.page(
            request,
            "sign_in.html",
            status,
            heading=texts(f"sign_in.{name}_title"),
            note=texts(f"sign_in.{name}_note"),
            portal=self.portal_url,
            csrf=csrf,
            sign_out=LOGOUT,
            onward=onward,
        )

    def _without(self, request: Request, response: Response, name: str) -> Response:
        """The same, and the browser forgets the cookie."""
        if self._cookie(request, name) in request.cookies:
            self._set(request, response, name, "", 0)
        return response

    def _set(
        self,
        request: Request,
        response: Response,
        name: str,
        value: str,
        max_age: int | None = None,
    ) -> None:
        response.set_cookie(
            self._cookie(request, name),
            value,
            max_age=max_age,
            path="/",
            secure=self._tls(request),
            httponly=True,
            samesite="lax",  # the centre sends the browser back from another site
        )

    def _cookie(self, request: Request, name: str) -> str:
        """With TLS nobody but this very host can set it (`__Host-`, RFC 6265bis)."""
        return f"__Host-{name}" if self._tls(request) else name

    def _tls(self, request: Request) -> bool:
        """Where browsers reach us by TLS, a proxy in front need not say so."""
        return self.base_url.startswith("https:") or is_https(request)


def _tenant_of(asked: Mapping[str, str]) -> str:
    found = next((asked[name] for name in _TENANT if asked.get(name)), "")
    if len(found) > _LONGEST or not found.isprintable():
        raise SignInRefused("the tenant id is none")
    return found
