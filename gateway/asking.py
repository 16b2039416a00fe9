"""The way of one request to its upstream: collected if need be, sent, and sent again where allowed.

A request is sent again only where no byte of it was written, or where its method is idempotent and
no byte of a reply came (RFC 9110 §9.2.2). However often, it is one exchange with one record.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Final, Protocol

from gateway import injection
from gateway.admitted import Admitted
from gateway.chunked import encode_chunk, encode_end
from gateway.connections import Connection
from gateway.crossings import Crossings
from gateway.errors import (
    GatewayError,
    Headers,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gateway.exchange import Exchange
from gateway.framing import CHUNKED
from gateway.known_request import KnownRequest
from gateway.limited import Limited
from gateway.pool import Pool
from gateway.wire import CONTINUE

_AHEAD_BYTES: Final = 64 << 10  # of a body that has no connection yet
_KEPT_BYTES: Final = 64 << 10  # of a message that may be sent again
_ATTEMPTS: Final = 3


class Client(Protocol):
    """The client's connection, which reads no other request before this one's reply is over."""

    def write(self, data: bytes) -> None: ...

    def finished(self, *, keep_alive: bool) -> None:
        """The reply is complete."""

    def refuse(self, error: GatewayError, request_id: str, route: str) -> None:
        """No reply was begun: answer this."""

    def cut(self, *, hard: bool) -> None:
        """The reply broke off; `hard` where its plain end would look like a whole one."""

    def hold(self) -> None:
        """Read no more of the request."""

    def go_on(self) -> None:
        """Read on."""


class Asking(Limited):
    """The half of an exchange that faces the upstream with a request.

    What an exchange starts with stands on the class: the usual one changes little of it.
    """

    request_over = False
    _connection: Connection | None = None
    _waiting = False  # for a connection
    _ahead: Sequence[bytes] = ()  # what came of the body and is not sent yet
    _ahead_bytes = 0
    _trailers: Sequence[tuple[bytes, bytes]] = ()
    _tried: tuple[Pool, ...] = ()
    _again = False  # the message may be sent again; `_ahead` is its whole body
    _stuck = False  # the upstream takes nothing at the moment
    _on_client = False  # whose turn it is
    _latest_s = math.inf
    _pool: Pool
    _asked_s: float
    _begun_s = 0.0  # where the time is taken from, if not from when it was asked

    def __init__(
        self,
        shared: Crossings,
        client: Client,
        known: KnownRequest,
        admitted: Admitted,
        framing: int,
        request_id: str,
    ) -> None:
        way = known.way
        if request_id[-1:] == "0":  # looked_at
            self._begun_s = shared.loop_time()
        self._shared = shared
        self._client = client
        self._known = known
        self._framing = framing
        self._exchange = Exchange(way, admitted, request_id, known.recent)
        self._balancer = shared.pools.balancers[way.route.name]
        self._asked = known.asked
        self._collecting = way.collects
        self.keep_alive = known.keep_alive

    @abstractmethod
    def received(self, data: bytes) -> None:
        """Bytes of the reply."""

    @abstractmethod
    def lost(self, error: Exception | None) -> None:
        """The upstream's connection is gone."""

    # The request comes in...

    def ask(self, piece: bytes, *, over: bool, trailers: Headers | tuple[()] = ()) -> None:
        """Begin with what came of the body with the head."""
        self.request_over = over
        self._trailers = trailers
        if piece:
            self._count(piece)
        elif not over and self._known.expects:
            self._shared.writes.put(self._client, CONTINUE)
        if not self._collecting:
            self._ahead = (piece,)
            self._aim()
        elif over:
            self._offer(piece)
        else:
            self._collect(piece)

    def request_piece(self, piece: bytes, *, over: bool, trailers: Headers) -> None:
        """More of the body; `over` with its last piece, which may be empty."""
        if piece:
            self._count(piece)
        self.request_over = over
        self._trailers = trailers
        if self._collecting:
            self._collect(piece)
        elif self._connection is None:
            self._store(piece)
        else:
            self._shared.writes.put(self._connection, self._framed(piece))
            self._wait()

    def _count(self, piece: bytes) -> None:
        self._exchange.request_chunk(piece)
        self._shared.telemetry.bytes_in += len(piece)

    def _collect(self, piece: bytes) -> None:
        self._store(piece, bound=injection.MAX_BODY + 1)
        if self._ahead_bytes > injection.MAX_BODY:
            self._collecting = False
            self._aim()
        elif self.request_over:
            self._offer(b"".join(self._ahead))
        else:
            self._expect(self._exchange.route.timeouts.idle, on_client=True)

    def _offer(self, whole: bytes) -> None:
        """The body is here: it may have to ask for usage."""
        self._collecting = False
        changed = self._exchange.offer(whole)
        if changed is not None:
            self._asked, self._framing, whole = self._known.injected, len(changed), changed
        self._ahead = (whole,)
        self._aim()

    def _store(self, piece: bytes, bound: int = _AHEAD_BYTES) -> None:
        if piece:
            if not isinstance(self._ahead, list):  # nearly always there is one piece
                self._ahead = [*self._ahead]
            self._ahead.append(piece)
            self._ahead_bytes += len(piece)
            if self._ahead_bytes > bound:
                self._client.hold()

    # ...and goes out

    def _aim(self) -> None:
        brakes = self._exchange.admitted.brakes
        if brakes is not None and self._hold is None:
            ahead = self._ahead
            body = ahead[0] if len(ahead) == 1 else b"".join(ahead)
            if not self._let_by(brakes, body, self._framing):
                return
        self._pool = pool = self._balancer.pick(self._tried)
        self._asked_s = self._shared.loop_time()
        connection = pool.take(self)
        if connection is None:
            self._waiting = True
            self.deadline_s = self._latest_s
        else:
            self.connected(connection)

    def connected(self, connection: Connection) -> None:
        """Send what there is."""
        self._waiting = self._stuck = self._on_client = False
        self._connection = connection
        message = self._message()
        if self.request_over:
            self._again = self._known.idempotent and len(message) <= _KEPT_BYTES
            if not self._again:
                self._ahead = ()
            self.deadline_s = self._shared.now_s + self._exchange.route.timeouts.head
            self._shared.writes.put(connection, message)
        else:
            self._ahead = ()
            self._client.go_on()
            self._shared.writes.put(connection, message)  # which may be more than it takes
            self._wait()

    def not_connected(self, error: GatewayError) -> None:
        """Nothing was written: another upstream may have it."""
        self._waiting = False
        if isinstance(error, UpstreamUnavailable | UpstreamTimeout):
            self._balancer.failed(self._pool)
            self._tried += (self._pool,)
            if len(self._tried) < len(self._balancer.pools):
                self._aim()
                return
        self.fail(error)

    def _message(self) -> bytes:
        """The head and what came of the body so far."""
        asked, ahead = self._asked, self._ahead
        before, passing, after, end = asked[0] if len(asked) == 1 else asked[self._index()]
        body = ahead[0] if len(ahead) == 1 else b"".join(ahead)
        self._ahead_bytes = 0
        if self._framing > 0:
            after += b"%d" % self._framing
        elif self._framing == CHUNKED:
            body = self._framed(body)
        elif self._known.way.has_body:
            after += b"0"
        exchange = self._exchange
        own = exchange.request_id.encode()
        return b"".join((before, own, passing, exchange.admitted.lines, after, end, body))

    def _index(self) -> int:
        return self._balancer.pools.index(self._pool)

    def _framed(self, piece: bytes) -> bytes:
        if self._framing != CHUNKED:
            return piece
        framed = encode_chunk(piece) if piece else b""
        return framed + encode_end(list(self._trailers)) if self.request_over else framed

    def _wait(self) -> None:
        timeouts = self._exchange.route.timeouts
        if self.request_over or self._stuck:
            self._expect(timeouts.head, on_client=False)
        else:
            self._expect(timeouts.idle, on_client=True)

    def _expect(self, seconds: float, *, on_client: bool) -> None:
        self._on_client = on_client
        self.deadline_s = min(self._shared.now_s + seconds, self._latest_s)

    def upstream_full(self) -> None:
        """The upstream takes no more of the body."""
        self._stuck = True
        self._client.hold()
        self._expect(self._exchange.route.timeouts.head, on_client=False)

    def upstream_ready(self) -> None:
        """It does again."""
        self._stuck = False
        self._client.go_on()
        self._wait()

    def send_again(self, connection: Connection) -> bool:
        """The connection broke before any byte of a reply: try once more if that is allowed."""
        if not connection.reused:
            self._balancer.failed(self._pool)
        self._tried += (self._pool,)
        if not self._again or len(self._tried) >= _ATTEMPTS:
            return False
        self._aim()
        return True

    def leave_upstream(self, *, reusable: bool) -> None:
        """Give the connection back, or stop waiting for one."""
        connection = self._connection
        if connection is not None:
            self._connection = None
            if reusable and self.request_over:
                connection.release()
            else:
                connection.close()
        elif self._waiting:
            self._waiting = False
            self._pool.give_up(self)
