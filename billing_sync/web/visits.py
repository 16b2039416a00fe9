"""The token that forms of people who are not signed in carry: bound to a cookie, so that no other site
can make it."""

import hashlib
import hmac
from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

COOKIE: Final = "tallygate_visit"
_BYTES: Final = 16
_LONGEST: Final = 64


class Visits:
    """`secret` may be random and new at every start."""

    def __init__(self, secret: bytes, randomness: Callable[[int], bytes], path: str) -> None:
        self._secret = secret
        self._randomness = randomness
        self._path = path

    def visit(self, request: Request) -> str:
        """The visit of this browser, a new one if it has none."""
        found = request.cookies.get(COOKIE, "")
        known = 0 < len(found) <= _LONGEST and found.isascii() and found.isalnum()
        return found if known else self._randomness(_BYTES).hex()

    def csrf(self, visit: str) -> str:
        """What the visit's forms carry."""
        return hmac.new(self._secret, visit.encode(), hashlib.sha256).hexdigest()

    def csrf_of(self, request: Request) -> str:
        """What a form of this browser must carry; empty, which nothing matches, without a visit."""
        return self.csrf(self.visit(request)) if COOKIE in request.cookies else ""

    def remember(self, request: Request, response: Response, visit: str) -> None:
        """Set the cookie."""
        set_cookie(response, request, COOKIE, visit, path=self._path)


def set_cookie(  # noqa: PLR0913  (an argument of a cookie each)
    response: Response,
    request: Request,
    name: str,
    value: str,
    *,
    path: str,
    max_age: int | None = None,
    samesite: str = "strict",
) -> None:
    """A cookie that no script reads, no other site's link carries and no open line either."""
    response.set_cookie(
        name,
        value,
        max_age=max_age,
        path=path,
        secure=is_https(request),
        httponly=True,
        samesite="lax" if samesite == "lax" else "strict",
    )


def is_https(request: Request) -> bool:
    """Whether the browser speaks TLS, with us or with the proxy in front. Who lies about it keeps
    but his own cookies from open lines."""
    said = request.headers.get("x-forwarded-proto", request.url.scheme)
    return said.split(",")[0].strip().lower() == "https"
