"""A tenant's authentication centre, as far as sign-ins meet it: RFC 6749, PKCE, a login page.

Written from the protocol, not from our client. One per test, served over a real socket.
"""

import base64
import hashlib
import html
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.tallygate.serving import serving

_SSO = "centre_session"


@dataclass
class Grant:
    """What a code or a token stands for."""

    client_id: str
    user: str
    redirect_uri: str = ""
    challenge: str = ""


@dataclass
class AuthCentre:
    """`people` are user names and passwords, `clients` ids and secrets; the flags are its vices."""

    people: dict[str, str] = field(default_factory=lambda: {"ann": "pw-ann", "bob": "pw-bob"})
    clients: dict[str, str] = field(default_factory=lambda: {"client-1": "secret-1"})
    forgets_state: bool = False
    knows_pkce: bool = True
    down: bool = False
    expires_in: object = 7200
    redirects_calls: bool = False
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.url = ""
        self.sessions: dict[str, str] = {}
        self.codes: dict[str, Grant] = {}
        self.access: dict[str, Grant] = {}
        self.refresh: dict[str, Grant] = {}
        self.app = Starlette(
            routes=[
                Route("/api/v1/oauth2/authorize", self.authorize),
                Route("/login", self.login, methods=["GET", "POST"]),
                Route("/api/v1/oauth2/token", self.token, methods=["POST"]),
                Route("/api/v1/oauth2/userinfo", self.userinfo),
                Route("/api/v1/logout", self.logout),
            ]
        )

    def code(self, user: str, client_id: str = "client-1", **given: str) -> str:
        """A code for somebody who is signed in here."""
        code = secrets.token_hex(8)
        self.codes[code] = Grant(client_id, user, **given)
        return code

    def sign_everybody_out(self) -> None:
        """Refresh tokens are good no more."""
        self.refresh.clear()
        self.access.clear()

    async def authorize(self, request: Request) -> Response:
        asked = request.query_params
        if asked.get("response_type") != "code" or asked["client_id"] not in self.clients:
            return JSONResponse({"error": "invalid_request"}, 400)
        assert asked.get("state", "a").isalnum(), "the state may hold letters and digits only"
        user = self.sessions.get(request.cookies.get(_SSO, ""))
        if user is None:
            return RedirectResponse(f"/login?{urlencode({'next': str(request.url.query)})}", 302)
        grant = {"redirect_uri": asked["redirect_uri"]}
        if self.knows_pkce and "code_challenge" in asked:
            assert asked["code_challenge_method"] == "S256"
            grant["challenge"] = asked["code_challenge"]
        back = {"code": self.code(user, asked["client_id"], **grant)}
        if "state" in asked and not self.forgets_state:
            back["state"] = asked["state"]
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(back)}", 302)

    async def login(self, request: Request) -> Response:
        onward = request.query_params["next"]
        if request.method == "POST":
            form = {k: v[0] for k, v in parse_qs((await request.body()).decode()).items()}
            if self.people.get(form["user"]) == form["password"]:
                session = secrets.token_hex(8)
                self.sessions[session] = form["user"]
                response = RedirectResponse(f"/api/v1/oauth2/authorize?{onward}", 303)
                response.set_cookie(_SSO, session, httponly=True)
                return response
        return HTMLResponse(
            '<!doctype html><html lang="en"><title>Centre</title><link rel="icon" href="data:,"><main><h1>Centre</h1>'
            f'<form method="post" action="/login?{html.escape(urlencode({"next": onward}))}">'
            '<label>User <input name="user"></label>'
            '<label>Password <input name="password" type="password"></label>'
            "<button>Sign in</button></form></main></html>"
        )

    async def token(self, request: Request) -> Response:
        form = {k: v[0] for k, v in parse_qs((await request.body()).decode()).items()}
        self.asked.append(form["grant_type"])
        if self.down:
            return Response("no", 503)
        if self.redirects_calls:
            return RedirectResponse(f"{self.url}/stolen", 307)
        if self.clients.get(form["client_id"]) != form["client_secret"]:
            return JSONResponse({"error": "invalid_client"}, 401)
        if form["grant_type"] == "refresh_token":
            grant = self.refresh.pop(form["refresh_token"], None)
        else:
            grant = self.codes.pop(form["code"], None)
            if grant and grant.redirect_uri not in ("", form.get("redirect_uri")):
                grant = None
            if (
                grant
                and grant.challenge
                and grant.challenge != _s256(form.get("code_verifier", ""))
            ):
                grant = None
        if grant is None or grant.client_id != form["client_id"]:
            error = {"error": "invalid_grant", "error_description": "Invalid authorization code"}
            return JSONResponse(error, 400)
        access, refresh = secrets.token_hex(16), secrets.token_hex(16)
        self.access[access] = self.refresh[refresh] = grant
        body = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": self.expires_in,
            "scope": "get_user_info",
            "refresh_token": refresh,
        }
        return JSONResponse(body)

    async def userinfo(self, request: Request) -> Response:
        grant = self.access.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        if grant is None:
            return JSONResponse({"error": "unauthorized"}, 401)
        return JSONResponse({"id": "1", "userName": grant.user, "name": grant.user.title()})

    async def logout(self, request: Request) -> Response:
        self.sessions.pop(request.cookies.get(_SSO, ""), None)
        return RedirectResponse(request.query_params.get("redirect_url", "/login"), 302)


@contextmanager
def centre(**given: object) -> Iterator[AuthCentre]:
    """One that answers until the block ends."""
    found = AuthCentre(**given)  # type: ignore[arg-type]  # the caller knows its fields
    with serving(found.app) as url:
        found.url = url
        yield found


def _s256(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
