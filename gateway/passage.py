"""What a request's head alone decides: where it goes, who pays, what the upstream is sent. Pure.

A way is the same for every request with the same head, whoever sends it; so it can be kept and used
again, and holds nothing of a customer.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gateway import headers as fields
from gateway import injection
from gateway.admitted import Admitted
from gateway.credentials import CREDENTIAL_HEADERS
from gateway.decoding import is_event_stream, is_json, is_plain
from gateway.errors import Headers
from gateway.recent_ids import RecentIds
from gateway.routing import ServedRoute, Upstream
from gateway.strictness import check_reply

_BODYLESS: Final = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request head as it came: target in origin form, names in lower case, peer an IP address.

    `checked`: its fields obey the rules of strictness.py, as raw_heads.py reads them.
    """

    method: str
    target: bytes
    headers: Headers = field(repr=False)  # they hold the customer's key
    peer: str
    scheme: str
    http_version: str = "1.1"
    checked: bool = False


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """What to send: to `origin` (`http://host:port`), with `body` or with the client's own body."""

    method: str
    origin: str
    target: bytes
    headers: Headers = field(repr=False)
    body: bytes | None = field(repr=False)


class Answer(NamedTuple):
    """What the client gets for a reply's head.

    `headers` lack the request's id. `length`: bytes of body announced to the client, None when that
    is not known; `readable`: whether usage may stand in it.
    """

    status: int
    headers: Headers
    length: int | None
    has_body: bool
    readable: bool
    content_type: bytes
    content_encoding: bytes


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What an upstream is sent for a head; `rest` is the target below the upstream's own path."""

    head: RequestHead
    rest: bytes
    route: ServedRoute
    admitted: Admitted
    about_caller: Headers
    credentials: frozenset[bytes] = field(default=CREDENTIAL_HEADERS, repr=False)

    def target(self, upstream: Upstream) -> bytes:
        """The target there, raw."""
        return upstream.path + self.rest

    def headers(
        self, upstream: Upstream, request_id: str, *, injected: bool, length: int | None = None
    ) -> Headers:
        """The header fields there, in order. `length` of the body where it was changed.

        `injected`: usage was asked for in the client's place.
        """
        sent = self.head.headers
        without = fields.REWRITTEN
        if not self.route.forward_authorization:
            without |= self.credentials
        framing = fields.request_framing(sent)
        if length is not None:
            framing = [(b"content-length", b"%d" % length)]
        who = self.admitted
        return [
            (b"host", upstream.host),
            *(self._legible(each, injected=injected) for each in fields.passed_on(sent, without)),
            *self.about_caller,
            *fields.identity(request_id, who.customer_id, who.customer_name),
            *framing,
        ]

    def _legible(self, each: tuple[bytes, bytes], *, injected: bool) -> tuple[bytes, bytes]:
        """Ask only for replies whose usage can be read; plain ones where they are changed."""
        if each[0] != b"accept-encoding":
            return each
        if injected or self.route.plan.normalize:
            return (each[0], b"identity")
        if self.route.plan.dialect == "none":
            return each
        return (each[0], fields.readable_codings(each[1]))


class Way(NamedTuple):
    """Where a request goes, and what becomes of it there.

    `path` is the client's, decoded, and `head_only` says that the reply has no body (HEAD).
    `collects`: the body is wanted whole before it is sent.
    `reads`: the request's Content-Encoding where something is counted in its body.
    """

    route: ServedRoute
    path: str
    head_only: bool
    has_body: bool
    collects: bool
    outgoing: Outgoing
    reads: bytes | None = None

    @property
    def announced(self) -> int:
        """The length of the body, below 0 where it is not told."""
        length = fields.declared_length(self.outgoing.head.headers) if self.has_body else 0
        return -1 if length is None else length

    def answer(self, status: int, headers: Headers, *, injected: bool) -> Answer:
        """What the client gets. Raises UpstreamProtocol for a head nobody may pass on."""
        normalize = self.route.plan.normalize
        return answer_of(
            status, headers, head_only=self.head_only, injected=injected, normalize=normalize
        )


class Passage(NamedTuple):
    """The verdict on a head that may pass: its way, and who goes it.

    `request_id` is the caller's own, of one who is believed, and `recent` tells whether it came
    before.
    """

    way: Way
    admitted: Admitted
    request_id: str | None = None
    recent: RecentIds | None = None

    @property
    def route(self) -> ServedRoute:
        """Where it goes."""
        return self.way.route


def answer_of(
    status: int, headers: Headers, *, head_only: bool, injected: bool, normalize: bool = False
) -> Answer:
    """What a client gets for a reply's head. Raises UpstreamProtocol if nobody may pass it on."""
    check_reply(status, headers)
    length = fields.declared_length(headers)
    bodyless = head_only or status in _BODYLESS  # RFC 9112 §6.3
    has_body = not bodyless and length != 0
    content_type = fields.first(headers, b"content-type")
    content_encoding = fields.first(headers, b"content-encoding")
    readable = status < 400 and has_body
    if readable and (injected or normalize):
        events = is_event_stream(content_type)
        normal = normalize and is_plain(content_encoding) and (events or is_json(content_type))
        if normal or (injected and events):
            length = None  # an event will be taken out, or usage put in
    without = fields.HOP_BY_HOP | {b"x-request-id"}
    # A 304 announces the length of what it does not send; ASGI servers take it literally.
    if length is None or status in _BODYLESS:
        without |= {b"content-length"}
    return Answer(
        status,
        fields.passed_on(headers, without),
        length,
        has_body,
        readable,
        content_type,
        content_encoding,
    )


def passage_of(
    head: RequestHead,
    route: ServedRoute,
    path: str,
    admitted: Admitted,
    *,
    about_caller: Headers,
    credentials: frozenset[bytes] = CREDENTIAL_HEADERS,
) -> Passage:
    """The passage of a head that was let in; its request's id is to be made. Raises BadPath."""
    has_body = bool(fields.request_framing(head.headers))
    content_type = fields.first(head.headers, b"content-type")
    reads = has_body and bool(route.plan.asked) and is_json(content_type)
    collects = has_body and injection.wants_buffering(
        route.plan,
        method=head.method,
        path=path,
        content_type=content_type,
    )
    rest = route.rest_of(head.target)
    outgoing = Outgoing(head, rest, route, admitted, about_caller, credentials)
    way = Way(
        route,
        path,
        head.method == "HEAD",
        has_body,
        collects,
        outgoing,
        fields.first(head.headers, b"content-encoding") if reads else None,
    )
    return Passage(way, admitted)
