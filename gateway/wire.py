"""Heads as the bytes that go over the wire, prepared up to what differs from call to call. Pure."""

import re
from email.utils import formatdate
from typing import Final, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from gateway.admitted import Admitted
from gateway.decisive import REPLY, REQUEST
from gateway.errors import Headers
from gateway.headers import HOP_BY_HOP, passed_on
from gateway.headers import identity as fields_of_identity
from gateway.passage import Answer, Outgoing
from gateway.raw_heads import RawReply
from gateway.routing import Upstream

CLOSE: Final = b"connection: close\r\n"
CHUNKED: Final = b"transfer-encoding: chunked\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_MARK: Final = "\0"  # in no header value: where the request's id goes
_MARKED: Final = b"\0\r\n"
_CRLF: Final = b"\r\n"
_ID: Final = b"x-request-id: "
_SIZED: Final = b"content-length: "
_SIZED_END: Final = b"\r\n\r\n"
_CODINGS: Final = re.compile(rb"(?<=\r\naccept-encoding: )[^\r]*")
_PLAINLY: Final = b"identity"
_FRAMING: Final = frozenset({b"content-length"})
_BODYLESS: Final = frozenset({204, 304})


class AskedHead(NamedTuple):
    """A request's head for one upstream, cut where what is its own goes.

    Before, the request's id, fields that only pass, those about the customer, after, the length if
    there is one, and the end of the head.
    """

    before: bytes
    passing: bytes
    after: bytes
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


def asked_head(outgoing: Outgoing, upstream: Upstream, *, sized: bool) -> AskedHead:
    """Prepare a request's head. `sized`: its length is given with each request."""
    fields = outgoing.headers(upstream, _MARK, injected=False, length=0 if sized else None)
    line = b"%b %b HTTP/1.1\r\n" % (outgoing.head.method.encode(), outgoing.target(upstream))
    passing = [each for each in fields if REQUEST.passes(each[0])]
    ours = [each for each in fields if not REQUEST.passes(each[0])]
    end = b"\r\n"
    if sized:  # the framing is the last field
        ours[-1:] = []
        end = _SIZED_END
    before, _, after = serialised(line, ours).partition(_MARKED)
    after = after.removeprefix(about_customer(outgoing.admitted)) + (_SIZED if sized else b"")
    return AskedHead(before, serialised(_CRLF, passing), after, end)


def about_customer(admitted: Admitted) -> bytes:
    """The lines by which the upstream is told of a customer."""
    about = fields_of_identity("", admitted.customer_id, admitted.customer_name)
    return serialised(b"", about)


def injected_head(asked: AskedHead) -> AskedHead:
    """The same for a body that was collected, and asks for usage in the client's place.

    Its reply must be legible, since an event is taken out of it.
    """
    before, passing, after, end = asked
    if end != _SIZED_END:
        after = after.removesuffix(CHUNKED) + _SIZED
    return AskedHead(_CODINGS.sub(_PLAINLY, before), passing, after, _SIZED_END)


def answer_head(answer: Answer, *, head_only: bool) -> AnswerHead:
    """Prepare a reply's head, all but its date where it has none, and how its connection goes on.

    Fields that only pass stand together, the length and the request's id behind them.
    """
    ours: Headers = []
    passing: Headers = []
    length: Headers = []
    for each in answer.headers:
        if REPLY.passes(each[0]):
            passing.append(each)
        else:
            (length if each[0] == b"content-length" else ours).append(each)
    before = serialised(STATUS_LINE[answer.status], [*ours, *passing, *length]) + _ID
    unsized = answer.length is None and not head_only and answer.status not in _BODYLESS
    undated = not any(name == b"date" for name, _ in passing)
    return AnswerHead(before, _CRLF, unsized, undated)


def with_passing(asked: AskedHead, passing: bytes) -> AskedHead:
    """The head with these lines of fields that only pass."""
    before, _, after, end = asked
    return AskedHead(before, _CRLF + passing, after, end)


def reply_end(passing: bytes, length: int) -> bytes:
    """What ends `before` in a reply's head, behind the fields that decide."""
    return passing + b"content-length: %d\r\n" % length + _ID if length > 0 else passing + _ID


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
