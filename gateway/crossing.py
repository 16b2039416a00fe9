"""One request on its way through the line-rate shell, from its head to its record.

It obeys the order of relay.py, without a task: whoever has news calls it.

1. the journal notes the request; if that fails it is refused, and nothing was sent;
2. the request goes upstream, and every byte of the reply but the last to the client as it comes;
3. the upstream's reply ends;
4. the record is handed to the recorder; if that fails the client's connection is cut;
5. the record is made durable, as far as the policy wants it;
6. the last bytes, or the end of the body, are handed to the client.

However it ends, `_leave` is reached once: with a record, or with its slot emptied where no reply came.
"""

import logging
import math
from contextlib import suppress
from typing import Final

from gateway import parsing
from gateway.asking import Asking, Client
from gateway.chunked import encode_chunk, encode_end
from gateway.crossings import Crossings
from gateway.errors import (
    BadFraming,
    GatewayError,
    Headers,
    NotCounted,
    RequestTimeout,
    Unexpected,
    UpstreamProtocol,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gateway.framing import Body, opened
from gateway.known_heads import KnownReply, KnownRequest
from gateway.raw_heads import RawReply
from gateway.wire import CHUNKED, CLOSE, interim_head
from metering.usage import Outcome

logger = logging.getLogger(__name__)

MAX_REPLY_HEAD: Final = 64 << 10
_MAX_INTERIM: Final = 16  # replies (1xx) before the final one
_CRLF: Final = b"\r\n"


class Crossing(Asking):
    """One exchange, once it is let in."""

    __slots__ = (
        "_body",
        "_chunked",
        "_cut_hard",
        "_drained",
        "_draining",
        "_full",
        "_gone",
        "_held",
        "_interim",
        "_last_size",
        "_over",
        "_pending",
        "_reply",
        "_slot",
        "_started",
        "keep_alive",
    )

    def __init__(
        self, shared: Crossings, client: Client, known: KnownRequest, framing: int, request_id: str
    ) -> None:
        super().__init__(shared, client, known, framing, request_id)
        self.keep_alive = known.keep_alive
        self._slot = -1
        self._reply: KnownReply | None = None
        self._body: Body | None = None
        self._held = b""  # of a reply's head
        self._interim = 0
        self._pending = b""  # for the client, not written yet
        self._last_size = 0  # of the content in it, at the end
        self._full = False  # the client takes nothing at the moment
        self._chunked = False
        self._cut_hard = False
        self._started = False
        self._gone = False
        self._draining = False
        self._drained = 0
        self._over = False

    def begin(self, piece: bytes, *, over: bool) -> None:
        """Let it in, with what came of its body. Raises NotCounted; then it never began."""
        shared = self._shared
        self._slot = shared.recorder.begin(self._exchange.opening(shared.clock.now_ms()))
        shared.exchanges.add(self)
        shared.telemetry.open_exchanges += 1
        self.ask(piece, over=over)

    # The reply comes in...

    def received(self, data: bytes) -> None:
        """Bytes of the reply."""
        try:
            if self._reply is None:
                self._take_head(data)
            else:
                self._take(self._reply, data)
        except GatewayError as error:
            self.fail(error)
        except Exception:
            logger.exception("exchange %s failed", self._exchange.request_id)
            self.fail(Unexpected())

    def _take_head(self, data: bytes) -> None:
        self._again = b""
        if self._held:
            data = self._held + data
            self._held = b""
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            self._held = data
            if len(data) > MAX_REPLY_HEAD:
                raise UpstreamProtocol
            return
        raw, rest = data[:end], data[end:]
        known, exchange = self._known, self._exchange
        replies = known.replies_injected if exchange.injected else known.replies
        reply = replies.get(raw)
        if reply is None:
            said = parsing.read_reply(raw)
            if said.status < 200:
                self._pass_interim(said)
                if rest:
                    self._take_head(rest)
                return
            reply = replies.read(raw, said)
        self._begin_reply(reply, rest)

    def _begin_reply(self, reply: KnownReply, rest: bytes) -> None:
        shared, exchange = self._shared, self._exchange
        self._reply = reply
        if self._pool is not None:
            self._balancer.answered(self._pool, reply.status)
        seconds = shared.loop_time() - self._asked_s
        shared.telemetry.upstream_answered(exchange.route.name, seconds)
        exchange.begin_reply(reply.answer)
        self._pending = self._head(reply)
        if reply.framing == len(rest):  # all of it at once: the usual case
            content = exchange.response_chunk(rest) if rest else b""
            self._complete(reply, content + exchange.response_end(complete=True), b"", [])
            return
        self._body = opened(reply.framing)
        if self._full and self._connection is not None:
            self._connection.pause_reading()
        self._take(reply, rest)

    def _pass_interim(self, said: RawReply) -> None:
        """Early hints and the like go on; 100 was answered on this hop, 101 was not asked for."""
        self._interim += 1
        if said.status == 101 or self._interim > _MAX_INTERIM:
            raise UpstreamProtocol
        if said.status != 100 and self._known.modern and not self._gone:
            self._client.write(interim_head(said))

    def _take(self, reply: KnownReply, data: bytes) -> None:
        exchange, body = self._exchange, self._body
        if body is None:
            return  # the connection was given back; nothing more is expected
        try:
            content, behind = body.feed(data)
        except BadFraming as error:
            self._hand(exchange.response_chunk(error.content))
            raise UpstreamProtocol from None
        handed = exchange.response_chunk(content) if content else b""
        if body.over:
            handed += exchange.response_end(complete=True)
            self._complete(reply, handed, behind, body.trailers)
        elif self._draining:
            self._spend(len(content))
        else:
            self._hand(handed)

    def lost(self, error: Exception | None) -> None:
        """The upstream's connection is gone."""
        connection, self._connection = self._connection, None
        body, reply = self._body, self._reply
        if reply is not None and body is not None:
            if error is None and body.closed():
                self._complete(reply, self._exchange.response_end(complete=True), b"", [])
                return
        elif connection is not None and not (self._held or self._interim or self._gone):
            if not self.send_again(connection):
                self.fail(UpstreamProtocol())
            return
        self.fail(UpstreamProtocol())

    # ...and goes out

    def _head(self, reply: KnownReply) -> bytes:
        shared, head = self._shared, reply.head
        parts = [head.before, self._exchange.request_id.encode(), head.after]
        if head.undated:
            parts.append(shared.dates(shared.clock.now_ms()))
        if head.unsized:
            self._chunked = self._known.modern
            self._cut_hard = not self._chunked
            self.keep_alive = self.keep_alive and self._chunked
        if not self.keep_alive:
            parts.append(CLOSE)
        if self._chunked:
            parts.append(CHUNKED)
        parts.append(_CRLF)
        return b"".join(parts)

    def _hand(self, content: bytes) -> None:
        """Bytes of the body that need not wait for the record; the head goes with the first."""
        if content:
            self._pending += encode_chunk(content) if self._chunked else content
        if self._gone:
            self._pending = b""
            return
        if self._pending:
            self._write(len(content))
        self._expect(self._exchange.route.timeouts.idle, on_client=self._full)

    def _write(self, size: int) -> None:
        """Write what is pending, `size` bytes of it content."""
        telemetry, reply = self._shared.telemetry, self._reply
        if not self._started and reply is not None:
            self._started = True
            telemetry.answered(self._exchange.route.name, reply.status)
        telemetry.bytes["out",] += size
        pending, self._pending = self._pending, b""
        self._client.write(pending)

    def _complete(
        self, reply: KnownReply, content: bytes, behind: bytes, trailers: Headers
    ) -> None:
        """The reply is whole: record it, then hand over the rest."""
        self.leave_upstream(reusable=reply.reusable and not behind)
        self.deadline_s = math.inf
        self._last_size = len(content)
        if content:
            self._pending += encode_chunk(content) if self._chunked else content
        if self._chunked:
            self._pending += encode_end(trailers if self._known.wants_trailers else [])
        try:
            self._record(Outcome.CLIENT_LEFT if self._gone else Outcome.COMPLETE)
        except NotCounted as error:
            self.fail(error)
            return
        if not self._shared.recorder.when_durable(self._finish):
            self._finish()

    def _finish(self) -> None:
        """The record is safe: the last bytes go out."""
        if self._over:
            return
        if not self._gone and self._pending:
            self._write(self._last_size)
        self._leave()
        self._client.finished(keep_alive=self.keep_alive and self.request_over)

    # The client's side...

    def client_full(self) -> None:
        """The client takes nothing at the moment, so the upstream has to wait."""
        self._full = True
        if self._connection is not None and self._reply is not None:
            self._connection.pause_reading()
            self._expect(self._exchange.route.timeouts.idle, on_client=True)

    def client_ready(self) -> None:
        """It goes on."""
        self._full = False
        if self._connection is not None and self._reply is not None:
            self._connection.resume_reading()
            self._expect(self._exchange.route.timeouts.idle, on_client=False)

    def client_left(self) -> None:
        """The client is gone; whether the reply is read on for its usage is the route's policy."""
        if self._gone or self._over:
            return
        shared, route = self._shared, self._exchange.route
        self._gone = True
        self._exchange.client_left()
        shared.telemetry.disconnects[route.name,] += 1
        # Half a request would be served as something else, and one not sent costs nobody anything.
        drain = route.on_disconnect == "drain" and self.request_over
        if drain and self._connection is not None and shared.drains.enter():
            self._draining = True
            self._latest_s = shared.loop_time() + shared.drains.seconds
            self.deadline_s = min(self.deadline_s, self._latest_s)
            self._connection.resume_reading()
        else:
            shared.telemetry.drains_capped += drain and self._connection is not None
            self._end(Outcome.CLIENT_LEFT)

    def _spend(self, size: int) -> None:
        """A piece of the reply came for nobody."""
        shared = self._shared
        self._drained += size
        if self._drained > shared.drains.max_bytes:
            shared.telemetry.drains_capped += 1
            self._end(Outcome.CLIENT_LEFT)

    # However it ends...

    def timed_out(self) -> None:
        """Whoever's turn it was took too long."""
        if self._gone:
            self._shared.telemetry.drains_capped += self._draining
            self._end(Outcome.CLIENT_LEFT)
        elif not self._on_client:
            if self._pool is not None and self._reply is None:
                self._balancer.failed(self._pool)
            self.fail(UpstreamTimeout())
        elif not self._started:
            self.fail(RequestTimeout())
        else:
            self._client.cut(hard=True)  # it takes nothing any more
            self.client_left()

    def cut_off(self) -> None:
        """The worker ends: what was reported so far is recorded, and the client cut off."""
        if not self._over:
            gone = self._gone
            self._end(Outcome.CLIENT_LEFT)
            if not gone:
                self._client.cut(hard=self._cut_hard)

    def fail(self, error: GatewayError) -> None:
        """End without the upstream: answer the error, or cut what was begun."""
        if self._over:
            return
        if isinstance(error, UpstreamUnavailable | UpstreamTimeout):
            kind = "cut" if self._exchange.answered else error.code
            self._shared.telemetry.upstream_failed(self._exchange.route.name, kind)
        gone, client = self._gone, self._client
        self._end(Outcome.CLIENT_LEFT if gone else Outcome.UPSTREAM_CUT)
        if gone:
            return
        if self._started:
            client.cut(hard=self._cut_hard)
        else:
            client.refuse(error, self._exchange.request_id, self._exchange.route.name)

    def _end(self, outcome: Outcome) -> None:
        if self._over:
            return
        self.leave_upstream(reusable=False)
        with suppress(NotCounted):
            self._record(outcome)
        self._leave()
        if self._gone:
            self._client.finished(keep_alive=False)

    def _record(self, outcome: Outcome) -> None:
        """Once: the second time there is neither a record nor a slot. Raises NotCounted."""
        slot, self._slot = self._slot, -1
        if slot < 0:
            return
        shared = self._shared
        record = self._exchange.end(outcome, shared.clock.now_ms())
        if record is None:
            shared.recorder.forget(slot)
            return
        try:  # if it fails the slot stays, and the request is named uncertain
            shared.recorder.record(record, slot)
        except Exception as error:
            shared.telemetry.uncounted += 1
            logger.exception("exchange %s could not be recorded", record.request_id)
            raise NotCounted from error
        shared.telemetry.recorded(record)

    def _leave(self) -> None:
        shared = self._shared
        self._over = True
        self.deadline_s = math.inf
        shared.exchanges.discard(self)
        shared.telemetry.open_exchanges -= 1
        if self._draining:
            shared.drains.leave()
