"""Signing in with the admin token, and out. The token is compared in constant time and kept nowhere."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from billing_sync.console.shell import COOKIE, HOME, SIGN_IN, Shell, Visit
from billing_sync.errors import BadQuestion, Forged
from billing_sync.web.attempts import Attempts
from billing_sync.web.forms import form_of
from billing_sync.web.languages import Texts
from billing_sync.web.sessions import LIFE_MS
from billing_sync.web.visits import Visits, set_cookie

_LONGEST_NAME: Final = 64


class SignIn:
    """The routes of signing in and out."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        ports = shell.ports
        if not ports.admin_token:
            raise ValueError("control.admin_token is empty")
        self._expected = _digest(ports.admin_token)
        self._visits = Visits(ports.randomness(32), ports.randomness, HOME)
        self._attempts = Attempts()

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route(SIGN_IN, self._ask, methods=["GET"]),
            Route(SIGN_IN, self._try, methods=["POST"]),
            self._shell.post("/sign-out", self._out),
        ]

    async def _ask(self, request: Request) -> Response:
        if self._shell.session_of(request) is not None:
            return RedirectResponse(HOME, 303)
        return self._form(request, 200)

    def _form(self, request: Request, status: int, failure: str = "", name: str = "") -> Response:
        visit = self._visits.visit(request)
        response = self._shell.pages.page(
            request,
            "console/sign_in.html",
            status,
            csrf=self._visits.csrf(visit),
            failure=failure,
            name=name,
        )
        self._visits.remember(request, response, visit)
        return response

    async def _try(self, request: Request) -> Response:
        texts = self._shell.pages.texts(request)
        if wait_ms := self._wait_ms(request):
            return self._too_often(request, wait_ms)
        try:
            fields = await form_of(request, self._visits.csrf_of(request))
        except Forged:
            return self._form(request, 403, texts("console.failed.forged"))
        except BadQuestion as problem:
            return self._form(request, 400, str(problem))
        # Once more: many forms may have come at once, each slowly.
        if wait_ms := self._wait_ms(request):
            return self._too_often(request, wait_ms)
        return self._judged(request, fields, texts)

    def _judged(self, request: Request, fields: Mapping[str, str], texts: Texts) -> Response:
        name, now_ms = fields.get("name", ""), self._shell.ports.clock.now_ms()
        if not hmac.compare_digest(_digest(fields.get("token", "")), self._expected):
            self._attempts.failed(_address(request), now_ms)
            return self._form(request, 403, texts("console.sign_in.wrong"), name[:_LONGEST_NAME])
        if not name or len(name) > _LONGEST_NAME or not name.isprintable():
            return self._form(request, 400, texts("console.sign_in.no_name"))
        return self._in(request, name, now_ms)

    def _wait_ms(self, request: Request) -> int:
        return self._attempts.wait_ms(_address(request), self._shell.ports.clock.now_ms())

    def _too_often(self, request: Request, wait_ms: int) -> Response:
        texts, seconds = self._shell.pages.texts(request), -(-wait_ms // 1000)
        failure = texts("console.sign_in.too_often", count=seconds)
        response = self._form(request, 429, failure)
        response.headers["Retry-After"] = str(seconds)
        return response

    def _in(self, request: Request, name: str, now_ms: int) -> Response:
        response = RedirectResponse(_inside(request.query_params.get("next", "")), 303)
        self._shell.sessions.close(request.cookies.get(COOKIE, ""))
        token = self._shell.sessions.open(name, now_ms)
        set_cookie(response, request, COOKIE, token, path=HOME, max_age=LIFE_MS // 1000)
        return response

    async def _out(self, visit: Visit) -> Response:
        self._shell.sessions.close(visit.request.cookies.get(COOKIE, ""))
        response = RedirectResponse(SIGN_IN, 303)
        response.delete_cookie(COOKIE, path=HOME, httponly=True, samesite="strict")
        return response


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _digest(token: str) -> bytes:
    """Equal lengths, so that not even that is told."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _inside(path: str) -> str:
    """A page of the console, the first one for any other address."""
    parts = urlsplit(path)
    ours = parts.path == HOME or parts.path.startswith(f"{HOME}/")
    plain = path.isascii() and path.isprintable() and "\\" not in path and ".." not in path
    return path if ours and plain and not parts.scheme and not parts.netloc else HOME
