"""Requests that two servers could read differently, as data: the bytes, and what must come of them.

Behind each the tests send `NEXT`. A case that is `refused` names the status: the connection is then
closed, nothing of it and nothing of NEXT is served. Any other case is forwarded exactly once, as
`forwarded` says, and NEXT after it, unless `last`.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

KEY_FIELD: Final = b"X-Api-Key: sk-test\r\n"
HOST: Final = b"Host: gw\r\n"
NEXT: Final = b"GET /v1/next HTTP/1.1\r\n" + HOST + KEY_FIELD + b"Connection: close\r\n\r\n"
CL: Final = b"Content-Length: 5\r\n"
TE: Final = b"Transfer-Encoding: chunked\r\n"
HELLO: Final = b"5\r\nhello\r\n0\r\n\r\n"
INNER: Final = b"GET /v1/smuggled HTTP/1.1\r\n" + HOST + KEY_FIELD + b"\r\n"


@dataclass(frozen=True)
class Forwarded:
    """What the upstream sees of a request."""

    method: str
    target: bytes
    body: bytes


@dataclass(frozen=True)
class Case:
    """`raw` is what a client writes.

    A shell behind a server's own parser sees less. `portable` says what it does instead: `lenient`
    may serve what that parser made of it, as long as that is one request; `refuses` may answer 400;
    `waits` for the rest of a body of absurd length.
    """

    name: str
    raw: bytes
    refused: int = 0
    forwarded: Forwarded | None = None
    last: bool = False
    portable: Literal["same", "lenient", "refuses", "waits"] = "same"


def head(fields: bytes, line: bytes = b"POST /v1/x HTTP/1.1\r\n", host: bytes = HOST) -> bytes:
    """A head with these fields behind Host and key."""
    return line + host + KEY_FIELD + fields + b"\r\n"


def refused(status: int, **cases: bytes) -> list[Case]:
    """Cases that are refused with this status; `_` in their names stands for a space."""
    return [Case(name.replace("_", " "), raw, refused=status) for name, raw in cases.items()]


def chunks(status: int, **bodies: bytes) -> list[Case]:
    """Refused bodies behind a head that announces chunks."""
    return refused(status, **{f"chunks_{name}": head(TE) + raw for name, raw in bodies.items()})


def passed(name: str, raw: bytes, body: bytes = b"", **rest: Any) -> Case:
    """A case that is forwarded as its request line says, with this body."""
    method, target, _ = raw.lstrip(b"\r\n").split(b"\r\n")[0].split(b" ")
    path = target.removeprefix(b"http://gw") or b"/"
    return Case(name, raw, forwarded=Forwarded(method.decode(), path, body), **rest)
