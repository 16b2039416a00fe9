"""One admitted request from head to usage record, without IO: what every shell drives. Pure.

gate.open(head) -> Exchange       (gate.py) identity, entitlement, path
opening(time)                     what the journal notes, so that a crash can name it
upstream_request(body)            what to ask the upstream
request_chunk(chunk)*             what the client sent
response_head(status, headers)    what to answer the client
response_chunk(chunk)*            what to hand to the client now
response_end(complete)            what is still owed to the client
end(outcome, time)                the record; once, whatever happened before
"""

from dataclasses import dataclass, field
from typing import Final

from gateway import headers as fields
from gateway import injection
from gateway.admission import Admitted
from gateway.credentials import CREDENTIAL_HEADERS
from gateway.errors import Headers
from gateway.routing import ServedRoute, Upstream
from gateway.tap import Tap
from metering.board import Open
from metering.usage import Outcome, Quantity, UsageRecord

_CLIENT_LEFT_UNANSWERED: Final = 499  # nobody was answered; the number nginx logs for it
_BODYLESS: Final = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request head as it came: target in origin form, names in lower case, peer an IP address."""

    method: str
    target: bytes
    headers: Headers = field(repr=False)  # they hold the customer's key
    peer: str
    scheme: str
    http_version: str = "1.1"


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """What to send: to `origin` (`http://host:port`), with `body` or with the client's own body."""

    method: str
    origin: str
    target: bytes
    headers: Headers = field(repr=False)
    body: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Aim:
    """Where a request goes: `path` is the client's, decoded; `target` the upstream's, raw."""

    route: ServedRoute
    upstream: Upstream
    target: bytes
    path: str
    about_caller: Headers


class Exchange:
    """One admitted request. Never awaits, never reads a clock."""

    def __init__(self, head: RequestHead, aim: Aim, admitted: Admitted, request_id: str) -> None:
        self.request_id = request_id
        self.route = aim.route
        self._head = head
        self._aim = aim
        self._admitted = admitted
        self._injected = False
        self._status = 0
        self._tap: Tap | None = None
        self._owed: int | None = None  # bytes of the reply's Content-Length still to come
        self.reply_has_body = True  # known once the reply's head is
        self._bytes_in = 0
        self._bytes_out = 0
        self._client_left = False
        self._reply_over = False
        self._ended = False

    def opening(self, time_ms: int) -> Open:
        """What the journal notes before anything goes upstream."""
        return Open(self.request_id, self._admitted.customer_id, self.route.name, time_ms)

    # Towards the upstream

    @property
    def has_body(self) -> bool:
        """Whether the client announced a body."""
        return bool(fields.request_framing(self._head.headers))

    @property
    def wants_buffering(self) -> bool:
        """Whether the body should be collected, up to `injection.MAX_BODY`, before it is sent."""
        return self.has_body and injection.wants_buffering(
            self.route.plan,
            method=self._head.method,
            path=self._aim.path,
            content_type=fields.first(self._head.headers, b"content-type"),
        )

    def request_chunk(self, chunk: bytes) -> None:
        """Count a piece of the body as it came from the client."""
        self._bytes_in += len(chunk)

    def upstream_request(self, collected: bytes | None = None) -> UpstreamRequest:
        """What to ask the upstream. `collected` is the whole body where it was buffered."""
        body = None if collected is None else injection.inject(collected)
        self._injected = body is not None
        return UpstreamRequest(
            self._head.method,
            self._aim.upstream.origin,
            self._aim.target,
            self._upstream_headers(body),
            collected if body is None else body,
        )

    def _upstream_headers(self, changed: bytes | None) -> Headers:
        sent = self._head.headers
        without = fields.REWRITTEN
        if not self.route.forward_authorization:
            without |= CREDENTIAL_HEADERS
        framing = fields.request_framing(sent)
        if changed is not None:
            framing = [(b"content-length", b"%d" % len(changed))]
        who = self._admitted
        return [
            (b"host", self._aim.upstream.host),
            *(self._legible(field) for field in fields.passed_on(sent, without)),
            *self._aim.about_caller,
            *fields.identity(self.request_id, who.customer_id, who.customer_name),
            *framing,
        ]

    def _legible(self, field: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
        """Ask only for replies whose usage can be read; plain ones where an event is taken out."""
        if field[0] != b"accept-encoding":
            return field
        if self._injected:
            return (field[0], b"identity")
        if self.route.plan.dialect == "none":
            return field
        return (field[0], fields.readable_codings(field[1]))

    # Towards the client

    @property
    def answered(self) -> bool:
        """Whether a reply head came from the upstream."""
        return self._status != 0

    @property
    def reply_is_whole(self) -> bool:
        """Whether every byte the reply's Content-Length announced has come."""
        return self._owed == 0

    def response_head(self, status: int, headers: Headers) -> Headers:
        """The headers the client gets. Raises UpstreamProtocol for a head nobody may pass on."""
        fields.check_reply(status, headers)
        self._status = status
        self._owed = fields.declared_length(headers)
        bodyless = self._head.method == "HEAD" or status in _BODYLESS  # RFC 9112 §6.3
        self.reply_has_body = not bodyless and self._owed != 0
        content_type = fields.first(headers, b"content-type")
        if status < 400 and self.reply_has_body:
            self._tap = Tap(
                self.route.plan,
                path=self._aim.path,
                content_type=content_type,
                content_encoding=fields.first(headers, b"content-encoding"),
                injected=self._injected,
            )
        if self._tap is not None and self._injected and _is_stream(content_type):
            self._owed = None  # an event will be taken out
        without = fields.HOP_BY_HOP | {b"x-request-id"}
        # A 304 announces the length of what it does not send; ASGI servers take it literally.
        if self._owed is None or status in _BODYLESS:
            without |= {b"content-length"}
        request_id = (b"x-request-id", self.request_id.encode())
        return [*fields.passed_on(headers, without), request_id]

    def response_chunk(self, chunk: bytes) -> bytes:
        """What to hand to the client now for a piece of the reply; may be empty."""
        if self._owed is not None:
            self._owed -= len(chunk)
        return self._handed(chunk if self._tap is None else self._tap.feed(chunk))

    def response_end(self, *, complete: bool) -> bytes:
        """The upstream's reply is over, whole or broken off; the rest the client gets."""
        if self._reply_over:
            return b""
        self._reply_over = True
        return b"" if self._tap is None else self._handed(self._tap.finish(complete=complete))

    def client_left(self) -> None:
        """From here on nothing reaches the client any more."""
        self._client_left = True

    def _handed(self, chunk: bytes) -> bytes:
        if not self._client_left:
            self._bytes_out += len(chunk)
        return chunk

    # The end

    def end(self, outcome: Outcome, time_ms: int) -> UsageRecord | None:
        """The usage record, once; None when called again.

        A reply with status 400 or above is recorded for the audit trail and uses nothing, and so is
        a call whose client left unanswered (status 499). Without a reply there is no record.
        """
        if self._ended:
            return None
        self._ended = True
        self.response_end(complete=False)
        status = self._status
        if not status and outcome is Outcome.CLIENT_LEFT:
            status = _CLIENT_LEFT_UNANSWERED
        if not status:
            return None
        used = status < 400
        return UsageRecord(
            request_id=self.request_id,
            time_ms=time_ms,
            route=self.route.name,
            customer_id=self._admitted.customer_id,
            status=status,
            outcome=outcome,
            quantities=self._quantities() if used else {},
            charges=self._admitted.charges if used else (),
        )

    def _quantities(self) -> dict[str, Quantity]:
        return {
            "requests": Quantity(1),
            "bytes_in": Quantity(self._bytes_in),
            "bytes_out": Quantity(self._bytes_out),
            **(self._tap.quantities() if self._tap is not None else {}),
        }


def _is_stream(content_type: bytes) -> bool:
    return content_type.partition(b";")[0].strip().lower() == b"text/event-stream"
