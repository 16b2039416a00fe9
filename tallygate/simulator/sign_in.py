"""The authentication centre over HTTP (spec §5): authorize with a login page, token, userinfo, logout;
and the portal, which sends people to an app with a code and their tenant's id."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from .authority import Authority, Grant, Outcome
from .clock import Clock
from .directory import App, Directory, Tenant
from .errors import BadRequest
from .sign_in_pages import HEADERS, login_page, message_page, portal_page
from .wire import answer, read_body

AUTHORIZE_PATH: Final = "/api/v1/oauth2/authorize"
TOKEN_PATH: Final = "/api/v1/oauth2/token"  # noqa: S105  (an address)
USERINFO_PATH: Final = "/api/v1/oauth2/userinfo"
LOGOUT_PATH: Final = "/api/v1/logout"
PORTAL_PATH: Final = "/unified-login/"
TENANT_PARAMETER: Final = "tenant"  # [assumed]: the page names none; userinfo does so
_COOKIE: Final = "simulator_session"
_METHODS: Final = ("S256", "plain", "")


class SignIn:
    """One centre for all tenants: the client tells whose people sign in."""

    def __init__(self, directory: Directory, authority: Authority, clock: Clock) -> None:
        self._directory = directory
        self._authority = authority
        self._clock = clock

    def routes(self) -> list[Route]:
        return [
            Route(AUTHORIZE_PATH, self.authorize, methods=["GET", "POST"]),
            Route(TOKEN_PATH, self.token, methods=["POST"]),
            Route(USERINFO_PATH, self.userinfo),
            Route(LOGOUT_PATH, self.logout),
            Route(PORTAL_PATH, self.portal, methods=["GET", "POST"]),
        ]

    async def authorize(self, request: Request) -> Response:
        """The login page, or the way back to the app for whom is signed in already."""
        try:
            tenant, grant = self._asked(request.query_params)
            if request.method == "POST":
                user_name = (await _form(request)).get("user_name", "")
                return self._welcomed(request, tenant, user_name, grant)
        except BadRequest as wrong:
            return _page(message_page("This cannot be", str(wrong)), 400)
        now_ms = self._clock.now_ms()
        known = self._authority.signed_in(request.cookies.get(_COOKIE, ""), now_ms)
        if known is None or known[0] != tenant.tenant_id:
            return _page(login_page(tenant))
        return self._back(request, grant, known[1], {})

    async def token(self, request: Request) -> Response:
        """By `application/x-www-form-urlencoded`."""
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/x-www-form-urlencoded":
            message = "the body must be application/x-www-form-urlencoded"
            wrong = {"error": "invalid_request", "error_description": message}
            return _told(Outcome(400, wrong))
        try:
            form = await _form(request)
        except BadRequest as wrong:
            return _told(
                Outcome(400, {"error": "invalid_request", "error_description": str(wrong)})
            )
        return _told(self._authority.token(form, self._clock.now_ms()))

    async def userinfo(self, request: Request) -> Response:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        bearer = token.strip() if kind.lower() == "bearer" else ""
        return _told(self._authority.userinfo(bearer, self._clock.now_ms()))

    async def logout(self, request: Request) -> Response:
        """Ends the session, then goes to `redirect_url` if that belongs to an app."""
        self._authority.sign_out(request.cookies.get(_COOKIE, ""), self._clock.now_ms())
        target = request.query_params.get("redirect_url", "")
        if target and self._is_ours(target):
            response: Response = RedirectResponse(target, 302, HEADERS)
        else:
            response = _page(message_page("Signed out", "You are signed out."))
        response.delete_cookie(_COOKIE)
        return response

    async def portal(self, request: Request) -> Response:
        """From the company's workplace into an app, with a code nobody asked for."""
        if request.method == "GET":
            tenants = self._directory.tenants.values()
            apps = [(tenant, app) for tenant in tenants for app in tenant.apps.values()]
            return _page(portal_page(apps))
        try:
            form = await _form(request)
            tenant, app = self._app(form)
            grant = Grant(app.client_id, tenant.tenant_id, "", _first_of(app), "")
            return self._welcomed(request, tenant, form.get("user_name", ""), grant, portal=True)
        except BadRequest as wrong:
            return _page(message_page("This cannot be", str(wrong)), 400)

    def _asked(self, query: Mapping[str, str]) -> tuple[Tenant, Grant]:
        """Raises BadRequest: nobody is sent to an address that no app has."""
        found = self._directory.app_of(query.get("client_id", ""))
        if found is None:
            raise BadRequest("client_id is unknown")
        tenant, app = found
        redirect_uri, method = query.get("redirect_uri", ""), query.get("code_challenge_method", "")
        if not _is_of(app, redirect_uri):
            raise BadRequest("redirect_uri is none of the app")
        if query.get("response_type") != "code":
            raise BadRequest("response_type must be code")
        if method not in _METHODS:
            raise BadRequest("code_challenge_method must be S256 or plain")
        grant = Grant(
            client_id=app.client_id,
            tenant_id=tenant.tenant_id,
            user_name="",
            redirect_uri=redirect_uri,
            family="",
            challenge=query.get("code_challenge", "")[:128],
            plain=method != "S256",
        )
        return tenant, grant

    def _app(self, form: Mapping[str, str]) -> tuple[Tenant, App]:
        tenant = self._directory.tenants.get(form.get("tenant_id", ""))
        app = tenant.apps.get(form.get("app_id", "")) if tenant else None
        if tenant is None or app is None:
            raise BadRequest("there is no such app")
        return tenant, app

    def _welcomed(
        self, request: Request, tenant: Tenant, user_name: str, grant: Grant, portal: bool = False
    ) -> Response:
        session = self._authority.sign_in(tenant.tenant_id, user_name, self._clock.now_ms())
        if session is None:
            raise BadRequest("this person cannot sign in")
        more = {TENANT_PARAMETER: tenant.tenant_id} if portal else {}
        response = self._back(request, grant, user_name, more)
        response.set_cookie(_COOKIE, session, httponly=True, samesite="lax")
        return response

    def _back(
        self, request: Request, grant: Grant, user_name: str, more: Mapping[str, str]
    ) -> Response:
        whole = Grant(**{**vars(grant), "user_name": user_name})
        answered = {"code": self._authority.code(whole, self._clock.now_ms()), **more}
        if "state" in request.query_params:
            answered["state"] = request.query_params["state"]
        joint = "&" if urlsplit(grant.redirect_uri).query else "?"
        target = f"{grant.redirect_uri}{joint}{urlencode(answered)}"
        return RedirectResponse(target, 302, HEADERS)

    def _is_ours(self, target: str) -> bool:
        """Whether an app lives there."""
        origins = {
            urlsplit(uri)[:2]
            for tenant in self._directory.tenants.values()
            for app in tenant.apps.values()
            for uri in app.redirect_uris
        }
        return urlsplit(target)[:2] in origins


def _is_of(app: App, redirect_uri: str) -> bool:
    """One of the app's own addresses; any, where it has none."""
    if app.redirect_uris:
        return redirect_uri in app.redirect_uris
    parts = urlsplit(redirect_uri)
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _first_of(app: App) -> str:
    if not app.redirect_uris:
        raise BadRequest("the app has no redirect_uris; PUT them")
    return app.redirect_uris[0]


async def _form(request: Request) -> dict[str, str]:
    body = await read_body(request)
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=20))
    except ValueError:
        raise BadRequest("the form cannot be read") from None


def _page(html: str, status: int = 200) -> Response:
    return HTMLResponse(html, status, HEADERS)


def _told(outcome: Outcome) -> Response:
    response = answer(dict(outcome.body), outcome.status)
    response.headers.update({"Cache-Control": "no-store"})
    return response
