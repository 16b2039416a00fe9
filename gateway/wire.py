"""Heads as the bytes that go over the wire, prepared up to what differs from call to call. Pure."""

from email.utils import formatdate
from typing import Final, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from gateway.errors import Headers
from gateway.headers import HOP_BY_HOP, passed_on
from gateway.passage import Answer, Outgoing
from gateway.raw_heads import RawReply
from gateway.routing import Upstream

CLOSE: Final = b"connection: close\r\n"
CHUNKED: Final = b"transfer-encoding: chunked\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_MARK: Final = "\0"  # in no header value: where the request's id goes
_FRAMING: Final = frozenset({b"content-length"})
_BODYLESS: Final = frozenset({204, 304})


class AskedHead(NamedTuple):
    """A request's head for one upstream, cut where its id and its length go.

    Before, the request's id, between, the length if there is one, and the end of the head.
    """

    before: bytes
    between: bytes
    end: bytes


class AnswerHead(NamedTuple):
    """A reply's head for the client, cut where the request's id goes.

    `unsized`: the client's connection must frame the body, or end with it. `undated`: a Date is
    missing.
    """

    before: bytes
    after: bytes
    unsized: bool
    undated: bool


def asked_head(outgoing: Outgoing, upstream: Upstream, *, injected: bool, sized: bool) -> AskedHead:
    """Prepare a request's head. `sized`: its length is given with each request."""
    fields = outgoing.headers(upstream, _MARK, injected=injected, length=0 if sized else None)
    line = b"%b %b HTTP/1.1\r\n" % (outgoing.head.method.encode(), outgoing.target(upstream))
    end = b"\r\n"
    if sized:  # the framing is the last field
        fields[-1:] = []
        end = b"\r\n\r\n"
    before, _, between = serialised(line, fields).partition(_MARK.encode())
    return AskedHead(before, between + b"content-length: " if sized else between, end)


def answer_head(answer: Answer, *, head_only: bool) -> AnswerHead:
    """Prepare a reply's head, all but its date where it has none, and how its connection goes on."""
    fields = [*answer.headers, (b"x-request-id", _MARK.encode())]
    before, _, after = serialised(STATUS_LINE[answer.status], fields).partition(_MARK.encode())
    unsized = answer.length is None and not head_only and answer.status not in _BODYLESS
    undated = not any(name == b"date" for name, _ in answer.headers)
    return AnswerHead(before, after, unsized, undated)


def interim_head(said: RawReply) -> bytes:
    """An interim reply (RFC 9110 §15.2) for the client, whole."""
    fields = passed_on(said.headers, HOP_BY_HOP | _FRAMING)
    return serialised(STATUS_LINE[said.status], fields) + b"\r\n"


def serialised(line: bytes, fields: Headers) -> bytes:
    """The start line and the fields, without the empty line."""
    return b"".join([line, *[b"%b: %b\r\n" % each for each in fields]])


class Dates:
    """The Date field of this second."""

    def __init__(self) -> None:
        self._second = -1
        self._line = b""

    def __call__(self, now_ms: int) -> bytes:
        """The line for a time in ms."""
        second = now_ms // 1000
        if second != self._second:
            self._second = second
            self._line = b"date: %b\r\n" % formatdate(second, usegmt=True).encode()
        return self._line
