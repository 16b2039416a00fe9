"""The way of one reply to its client: read, checked, tapped for its usage, framed anew."""

import logging
import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Final

from gateway import parsing
from gateway.asking import Asking
from gateway.chunked import Chunked, encode_chunk, encode_end
from gateway.errors import BadFraming, GatewayError, Headers, Unexpected, UpstreamProtocol
from gateway.framing import Body, opened
from gateway.holds import Hold
from gateway.known_replies import KnownReply
from gateway.mid_stream import MidStream
from gateway.raw_heads import RawReply
from gateway.telemetry import looked_at
from gateway.wire import CHUNKED, CLOSE, interim_head

logger = logging.getLogger("tallygate.gateway")

MAX_REPLY_HEAD: Final = 64 << 10
_MAX_INTERIM: Final = 16  # replies (1xx) before the final one
_CRLF: Final = b"\r\n"


class Answering(Asking):
    """The half of an exchange that has a reply for its client."""

    _reply: KnownReply | None = None
    _body: Body | None = None
    _plain: Callable[[bytes], bytes | None] | None = None  # cuts chunks that may go on as they are
    _idle_s = math.inf
    _answered_s = 0.0
    _at_once = True  # the request came with all of its body
    _held = b""  # of a head
    _interim = 0
    _reply_trailers: Headers | tuple[()] = ()
    _pending = b""  # for the client, not written yet
    _last_size = 0  # of the content in it, at the end
    _chunked = False
    _cut_hard = False
    _started = False  # the client has got some of it
    _full = False  # the client takes nothing at the moment
    _gone = False  # the client
    _mid_stream: MidStream | None = None

    @abstractmethod
    def complete(self, content: bytes) -> None:
        """The reply is whole, `content` the last of it, and may follow its record."""

    @abstractmethod
    def break_off(self, last: bytes, refusal: GatewayError) -> None:
        """The stream ends here, with these words."""

    @abstractmethod
    def spend(self, size: int) -> None:
        """A piece of the reply came for nobody."""

    # The reply comes in...

    def received(self, data: bytes) -> None:
        """Bytes of the reply."""
        try:
            body = self._body
            if body is not None:
                if self._plain is None or not self._pass_on(self._plain, data):
                    self._take(body, data)
            elif self._reply is None:
                self._take_head(data)
        except GatewayError as error:
            self.fail(error)
        except Exception:
            request_id = self._exchange.request_id
            logger.exception("exchange %s failed", request_id, extra={"request_id": request_id})
            self.fail(Unexpected())

    def _take_head(self, data: bytes) -> None:
        self._again = False
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
        known = self._known
        replies = known.replies_injected if self._exchange.injected else known.replies
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
        exchange = self._exchange
        self._reply = reply
        self._balancer.answered(self._pool, reply.status)
        shared = self._shared
        self._answered_s = shared.loop_time()
        shared.telemetry.upstream_answered(exchange.route.name, self._answered_s - self._asked_s)
        self._pending = self._head(reply)
        if reply.framing == len(rest):  # all of it at once
            self.leave_upstream(reusable=reply.reusable)
            self.complete(exchange.response_whole(reply.answer, rest))
            return
        exchange.begin_reply(reply.answer)
        self._body = opened(reply.framing)
        shared.telemetry.streams += 1
        if self._full and self._connection is not None:
            self._connection.pause_reading()
        self._take(self._body, rest)
        if self._chunked and isinstance(self._body, Chunked):
            self._plain = self._body.plain
            self._idle_s = exchange.route.timeouts.idle

    def _pass_interim(self, said: RawReply) -> None:
        """Early hints and the like go on; 100 was answered on this hop, 101 was not asked for."""
        self._interim += 1
        if said.status == 101 or self._interim > _MAX_INTERIM:
            raise UpstreamProtocol
        if said.status != 100 and self._known.modern and not self._gone:
            self._shared.writes.put(self._client, interim_head(said))

    def _pass_on(self, plain: Callable[[bytes], bytes | None], data: bytes) -> bool:
        """Hand over chunks in the upstream's framing where nothing is unusual: `_take` at less cost.

        False where something is; then nothing has happened.
        """
        content = None if self._gone or self._full else plain(data)
        if content is None:
            return False
        handed = self._exchange.response_chunk(content)
        shared = self._shared
        if handed:
            shared.telemetry.bytes_out += len(handed)
            piece = data if handed is content else encode_chunk(handed)
            self._shared.writes.put(self._client, piece)
        self._on_client = self._full
        self.deadline_s = shared.now_s + self._idle_s
        if isinstance(self._hold, Hold) and self._hold.brakes.stops:
            self._look_whether_it_lasts(self._hold, handed)
        return True

    def _take(self, body: Body, data: bytes) -> None:
        exchange = self._exchange
        try:
            content, behind = body.feed(data)
        except BadFraming as error:
            self._hand(exchange.response_chunk(error.content))
            raise UpstreamProtocol from None
        if self._gone:
            self.spend(len(content))
        handed = exchange.response_chunk(content) if content else b""
        if body.over:
            self._end_body(body.trailers, reusable=not behind, content=handed)
        else:
            self._hand(handed)
            if isinstance(self._hold, Hold) and self._hold.brakes.stops:
                self._look_whether_it_lasts(self._hold, handed)

    def _look_whether_it_lasts(self, hold: Hold, handed: bytes) -> None:
        shared = self._shared
        if self._mid_stream is None and shared.desk is not None:
            self._mid_stream = MidStream(shared.desk, hold, self._exchange)
        if self._mid_stream is not None and not self._gone:
            last = self._mid_stream.last_words(handed, shared.loop_time())
            if last is not None:
                self.break_off(*last)

    def _end_body(self, trailers: Headers, *, reusable: bool, content: bytes) -> None:
        reply = self._reply
        self.leave_upstream(reusable=reusable and reply is not None and reply.reusable)
        content += self._exchange.response_end(complete=True)
        if self._known.wants_trailers:
            self._reply_trailers = trailers
        self.complete(content)

    def lost(self, error: Exception | None) -> None:
        """The upstream's connection is gone."""
        connection, self._connection = self._connection, None
        body = self._body
        if body is not None:
            if error is None and body.closed():
                self._end_body([], reusable=False, content=b"")
                return
        elif connection is not None and not (self._held or self._interim or self._gone):
            if not self.send_again(connection):
                self.fail(UpstreamProtocol())
            return
        self.fail(UpstreamProtocol())

    # ...and goes out

    def _head(self, reply: KnownReply) -> bytes:
        head = reply.head
        ends = _CRLF
        if head.unsized:
            if self._known.modern:
                self._chunked = True
                ends = CHUNKED + ends
            else:
                self._cut_hard = True
                self.keep_alive = False
        if not self.keep_alive:
            ends = CLOSE + ends
        if head.undated:
            shared = self._shared
            ends = shared.dates(shared.clock.now_ms()) + ends
        brakes = self._exchange.admitted.brakes
        if brakes is not None and self._shared.desk is not None:
            ends = brakes.lines(self._shared.loop_time()) + ends
        return b"".join((head.before, self._exchange.request_id.encode(), head.after, ends))

    def _hand(self, content: bytes) -> None:
        """Bytes of the body that need not wait for the record; the head goes with the first."""
        if self._gone:
            return
        pending = self._pending
        if content:
            pending += encode_chunk(content) if self._chunked else content
        if pending:
            self._write(pending, len(content))
        self._expect(self._exchange.route.timeouts.idle, on_client=self._full)

    def _write(self, pending: bytes, size: int) -> None:
        """Write what is pending, `size` bytes of it content."""
        telemetry, reply = self._shared.telemetry, self._reply
        if not self._started and reply is not None:
            self._started = True
            telemetry.answered(self._exchange.route.name, reply.status)
            self._first_byte()
        telemetry.bytes_out += size
        self._pending = b""
        self._shared.writes.put(self._client, pending)

    def _first_byte(self) -> None:
        """The reply begins to go out. Own time is known where no body was waited for."""
        shared, now_s = self._shared, self._shared.loop_time()
        figures = shared.telemetry.of(self._exchange.route.name)
        waited_s = now_s - (self._begun_s or self._asked_s)
        figures.first_byte_seconds.observe(waited_s)
        if self._at_once and self._begun_s and looked_at(self._exchange.request_id):
            figures.own_seconds.observe(waited_s - (self._answered_s - self._asked_s))

    def _add_last(self, content: bytes) -> None:
        """The last of the reply: it waits for the record."""
        self.deadline_s = math.inf
        self._last_size = len(content)
        if self._chunked:
            chunk = encode_chunk(content) if content else b""
            self._pending += chunk + encode_end(list(self._reply_trailers))
        else:
            self._pending += content
