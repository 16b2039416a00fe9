"""One admitted request from head to usage record, without IO: what every shell drives. Pure.

gate.passage(head) -> Passage     (gate.py) identity, entitlement, path; Exchange(way, admitted, id)
opening(time)                     what the journal notes, so that a crash can name it
upstream_request(upstream, body)  what to ask the upstream
request_chunk(chunk)*             what the client sent
response_head(status, headers)    what to answer the client
response_chunk(chunk)*            what to hand to the client now
response_end(complete)            what is still owed to the client
end(outcome, time)                the record; once, whatever happened before
"""

from collections.abc import Callable, Mapping
from typing import Final

from gateway import injection
from gateway.admitted import Admitted
from gateway.errors import Headers
from gateway.passage import Answer, Passage, UpstreamRequest, Way
from gateway.recent_ids import RecentIds
from gateway.request_usage import RequestUsage
from gateway.routing import Upstream
from gateway.tap import Tap, read_usual
from metering.board import Open
from metering.quantities import Quantities, compact, kind_of
from metering.usage import Grade, Outcome, Quantity, UsageRecord

_CLIENT_LEFT_UNANSWERED: Final = 499  # nobody was answered; the number nginx logs for it
_COUNTED: Final = kind_of(("requests", "bytes_in", "bytes_out"), (Grade.EXACT,) * 3)


class Exchange:
    """One admitted request. Never awaits, never reads a clock."""

    reply_has_body = True  # known once the reply's head is
    _injected = False
    _status = 0
    _asked: RequestUsage | None = None  # what is counted in the request's body
    _tap: Tap | None = None
    _read: Callable[[bytes], bytes] | None = None  # the tap's
    _owed: int | None = None  # bytes of the reply's Content-Length still to come
    content_type = b""  # of a reply in which usage may stand
    bytes_in = 0  # of the body, from the client
    _bytes_out = 0
    _client_left = False
    _reply_over = False
    _ended = False

    def __init__(
        self, way: Way, admitted: Admitted, request_id: str, recent: RecentIds | None = None
    ) -> None:
        """`recent` tells whether the id, which is the caller's then, came before."""
        self.request_id = request_id
        self.way = way
        self.admitted = admitted
        self.route = way.route
        self._recent = recent
        if way.reads is not None:
            self._asked = RequestUsage(way.route.plan.asked, way.reads)

    @property
    def passage(self) -> Passage:
        """The verdict that let it in."""
        return Passage(self.way, self.admitted, None, self._recent)

    def opening(self, time_ms: int) -> Open:
        """What the journal notes before anything goes upstream."""
        return Open(self.request_id, self.admitted.customer_id, self.route.name, time_ms)

    # Towards the upstream

    @property
    def has_body(self) -> bool:
        """Whether the client announced a body."""
        return self.way.has_body

    @property
    def wants_buffering(self) -> bool:
        """Whether the body should be collected, up to `injection.MAX_BODY`, before it is sent."""
        return self.way.collects

    @property
    def injected(self) -> bool:
        """Whether the upstream is asked for usage in the client's place."""
        return self._injected

    def request_chunk(self, chunk: bytes) -> None:
        """Count a piece of the body as it came from the client."""
        self.bytes_in += len(chunk)
        if self._asked is not None:
            self._asked.feed(chunk)

    def offer(self, collected: bytes) -> bytes | None:
        """The collected body as it must be sent, if it is not to go as it came."""
        body = injection.inject(collected)
        self._injected = body is not None
        return body

    def upstream_request(
        self, upstream: Upstream, collected: bytes | None = None
    ) -> UpstreamRequest:
        """What to ask the upstream. `collected` is the whole body where it was buffered."""
        body = None if collected is None else self.offer(collected)
        outgoing = self.way.outgoing
        return UpstreamRequest(
            outgoing.head.method,
            upstream.origin,
            outgoing.target(upstream),
            outgoing.headers(
                upstream,
                self.request_id,
                injected=self._injected,
                length=None if body is None else len(body),
            ),
            collected if body is None else body,
        )

    # Towards the client

    @property
    def answered(self) -> bool:
        """Whether a reply head came from the upstream."""
        return self._status != 0

    @property
    def status(self) -> int:
        """Of the upstream's reply, 0 before its head came."""
        return self._status

    @property
    def bytes_out(self) -> int:
        """Of the reply's body, as far as the client was given it."""
        return self._bytes_out

    @property
    def reply_is_whole(self) -> bool:
        """Whether every byte the reply's Content-Length announced has come."""
        return self._owed == 0

    def response_head(self, status: int, headers: Headers) -> Headers:
        """The headers the client gets. Raises UpstreamProtocol for a head nobody may pass on."""
        answer = self.way.answer(status, headers, injected=self._injected)
        self.begin_reply(answer)
        return [*answer.headers, (b"x-request-id", self.request_id.encode())]

    def begin_reply(self, answer: Answer) -> None:
        """The head of the reply, as `passage.answer` made it, is what the client gets."""
        self._status = answer.status
        self._owed = answer.length
        self.reply_has_body = answer.has_body
        if answer.readable:
            self.content_type = answer.content_type
            self._tap = tap = Tap(
                self.route.plan,
                path=self.way.path,
                content_type=answer.content_type,
                content_encoding=answer.content_encoding,
                injected=self._injected,
            )
            self._read = tap.reader()

    def response_chunk(self, chunk: bytes) -> bytes:
        """What to hand to the client now for a piece of the reply; may be empty.

        The very same object comes back where all of it goes on, as the events of a stream do.
        """
        if self._owed is not None:
            self._owed -= len(chunk)
        if self._read is not None:
            chunk = self._read(chunk)
        if not self._client_left:
            self._bytes_out += len(chunk)
        return chunk

    def response_whole(self, answer: Answer, body: bytes) -> bytes:
        """What to hand to the client for a reply that came all at once, head and body."""
        self.begin_reply(answer)
        content = self.response_chunk(body) if body else body
        rest = self.response_end(complete=True)
        return content + rest if rest else content

    def whole(self, answer: Answer, body: bytes, time_ms: int) -> UsageRecord | None:
        """The record of a reply that came all at once and goes on as it is, in one step.

        None where it takes more than that; then nothing has happened.
        """
        if not answer.readable or answer.status >= 400 or self._injected:
            return None
        quantities = read_usual(
            self.route.plan,
            answer.content_type,
            answer.content_encoding,
            body,
            self.bytes_in,
        )
        if quantities is None:
            return None
        self._ended = self._reply_over = True
        self._status = answer.status
        self._bytes_out = len(body)
        recent = self._recent
        return UsageRecord(
            self.request_id,
            time_ms,
            self.admitted.account,
            answer.status,
            Outcome.COMPLETE,
            quantities,
            recent is not None and recent.comes_again(self.request_id, time_ms),
        )

    def so_far(self) -> Mapping[str, Quantity]:
        """What was used until now, as far as the reply has said."""
        counted = Quantities(_COUNTED, (1, self.bytes_in, self._bytes_out))
        asked = {} if self._asked is None else self._asked.quantities()
        if self._tap is not None:
            return {**asked, **self._tap.so_far(), **counted}
        return {**asked, **counted} if asked else counted

    def response_end(self, *, complete: bool) -> bytes:
        """The upstream's reply is over, whole or broken off; the rest the client gets."""
        if self._reply_over:
            return b""
        self._reply_over = True
        if self._tap is None:
            return b""
        self._read = None
        rest = self._tap.finish(complete=complete)
        if not self._client_left:
            self._bytes_out += len(rest)
        return rest

    def client_left(self) -> None:
        """From here on nothing reaches the client any more."""
        self._client_left = True

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
        account = self.admitted.account
        recent = self._recent if used else None  # what used nothing may well come again
        return UsageRecord(
            request_id=self.request_id,
            time_ms=time_ms,
            account=account if used else account.uncharged(),
            status=status,
            outcome=outcome,
            quantities=self._quantities() if used else {},
            repeat=recent is not None and recent.comes_again(self.request_id, time_ms),
        )

    def _quantities(self) -> Quantities:
        counted = (1, self.bytes_in, self._bytes_out)
        asked = {} if self._asked is None else self._asked.quantities()
        if self._tap is not None:
            return self._tap.quantities(asked).behind(_COUNTED, counted)
        return compact(asked).behind(_COUNTED, counted) if asked else Quantities(_COUNTED, counted)
