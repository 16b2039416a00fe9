"""The way of one request to its upstream: collected if need be, sent, and sent again where allowed.

A request is sent again only where no byte of it was written, or where its method is idempotent and
no byte of a reply came (RFC 9110 §9.2.2). However often, it is one exchange with one record.
"""

import math
from abc import ABC, abstractmethod
from typing import Final, Protocol

from gateway import injection
from gateway.chunked import encode_chunk, encode_end
from gateway.connections import Connection
from gateway.crossings import Crossings
from gateway.errors import (
    GatewayError,
    Headers,
    UpstreamUnavailable,
)
from gateway.exchange import Exchange
from gateway.framing import CHUNKED
from gateway.known_heads import KnownRequest
from gateway.pool import Pool
from gateway.wire import CONTINUE, AskedHead

_AHEAD_BYTES: Final = 64 << 10  # of a body that has no connection yet
_KEPT_BYTES: Final = 64 << 10  # of a message that may be sent again
_ATTEMPTS: Final = 3
_IDEMPOTENT: Final = (b"GET ", b"HEAD ", b"OPTIONS ", b"PUT ", b"DELETE ", b"TRACE ")


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


class Asking(ABC):
    """The half of an exchange that faces the upstream with a request."""

    __slots__ = (
        "_again",
        "_ahead",
        "_ahead_bytes",
        "_asked",
        "_asked_s",
        "_balancer",
        "_client",
        "_collecting",
        "_connection",
        "_exchange",
        "_framing",
        "_known",
        "_latest_s",
        "_on_client",
        "_pool",
        "_shared",
        "_trailers",
        "_tried",
        "_waiting",
        "deadline_s",
        "request_over",
    )

    def __init__(
        self,
        shared: Crossings,
        client: Client,
        known: KnownRequest,
        framing: int,
        request_id: str,
    ) -> None:
        passage = known.passage
        self._shared = shared
        self._client = client
        self._known = known
        self._framing = framing
        self._exchange = Exchange(passage, request_id)
        self._balancer = shared.pools.balancers[passage.route.name]
        self._asked = known.asked
        self._connection: Connection | None = None
        self._pool: Pool | None = None
        self._tried: list[Pool] = []
        self._waiting = False
        self._collecting = passage.collects
        self._ahead: list[bytes] = []  # what came of the body and is not sent yet
        self._ahead_bytes = 0
        self._trailers: Headers = []
        self._again = b""  # the whole message, while it may be sent again
        self._asked_s = 0.0
        self._on_client = False  # whose turn it is
        self._latest_s = math.inf
        self.deadline_s = math.inf
        self.request_over = False

    @abstractmethod
    def fail(self, error: GatewayError) -> None:
        """End the exchange; nothing of it is left in the pool."""

    @abstractmethod
    def received(self, data: bytes) -> None:
        """Bytes of the reply."""

    @abstractmethod
    def lost(self, error: Exception | None) -> None:
        """The upstream's connection is gone."""

    # The request comes in...

    def ask(self, piece: bytes, *, over: bool) -> None:
        """Begin with what came of the body with the head."""
        if piece:
            self._count(piece)
        self.request_over = over
        if self._known.expects and not piece and not over:
            self._client.write(CONTINUE)
        if self._collecting:
            self._collect(piece)
            return
        if piece:
            self._ahead.append(piece)
        self._aim()

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
            self._connection.write(self._framed(piece))
            self._wait()

    def _count(self, piece: bytes) -> None:
        self._exchange.request_chunk(piece)
        self._shared.telemetry.bytes["in",] += len(piece)

    def _collect(self, piece: bytes) -> None:
        self._store(piece, bound=injection.MAX_BODY + 1)
        if self._ahead_bytes > injection.MAX_BODY:
            self._collecting = False
            self._aim()
        elif self.request_over:
            self._collecting = False
            whole = b"".join(self._ahead)
            changed = self._exchange.offer(whole)
            if changed is not None:
                self._asked, self._framing, whole = self._known.injected, len(changed), changed
            self._ahead = [whole]
            self._aim()
        else:
            self._expect(self._exchange.route.timeouts.idle, on_client=True)

    def _store(self, piece: bytes, bound: int = _AHEAD_BYTES) -> None:
        if piece:
            self._ahead.append(piece)
            self._ahead_bytes += len(piece)
            if self._ahead_bytes > bound:
                self._client.hold()

    # ...and goes out

    def _aim(self) -> None:
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
        self._waiting = False
        self._connection = connection
        message = self._again or self._message()
        if self.request_over and len(message) <= _KEPT_BYTES and message.startswith(_IDEMPOTENT):
            self._again = message
        connection.write(message)
        if not self.request_over:
            self._client.go_on()
        self._wait()

    def not_connected(self, error: GatewayError) -> None:
        """Nothing was written: another upstream may have it."""
        self._waiting = False
        pool, self._pool = self._pool, None
        if pool is not None and isinstance(error, UpstreamUnavailable):
            self._balancer.failed(pool)
            self._tried.append(pool)
            if len(self._tried) < len(self._balancer.pools):
                self._aim()
                return
        self.fail(error)

    def _message(self) -> bytes:
        """The head and what came of the body so far."""
        body = b"".join(self._ahead) if self._ahead else b""
        self._ahead.clear()
        self._ahead_bytes = 0
        head = self._asked_head()
        request_id = self._exchange.request_id.encode()
        if self._framing > 0:
            length = b"%d" % self._framing
        elif self._framing == CHUNKED:
            length, body = b"", self._framed(body)
        else:
            length = b"0" if self._known.passage.has_body else b""
        return b"".join((head.before, request_id, head.between, length, head.end, body))

    def _asked_head(self) -> AskedHead:
        asked = self._asked
        if len(asked) == 1 or self._pool is None:
            return asked[0]
        return asked[self._balancer.pools.index(self._pool)]

    def _framed(self, piece: bytes) -> bytes:
        if self._framing != CHUNKED:
            return piece
        framed = encode_chunk(piece) if piece else b""
        return framed + encode_end(self._trailers) if self.request_over else framed

    def _wait(self) -> None:
        timeouts = self._exchange.route.timeouts
        if self.request_over:
            self._expect(timeouts.head, on_client=False)
        else:
            self._expect(timeouts.idle, on_client=True)

    def _expect(self, seconds: float, *, on_client: bool) -> None:
        self._on_client = on_client
        self.deadline_s = min(self._shared.now_s + seconds, self._latest_s)

    def upstream_full(self) -> None:
        """The upstream takes no more of the body."""
        self._client.hold()
        self._expect(self._exchange.route.timeouts.head, on_client=False)

    def upstream_ready(self) -> None:
        """It does again."""
        self._client.go_on()

    def send_again(self, connection: Connection) -> bool:
        """The connection broke before any byte of a reply: try once more if that is allowed."""
        pool = self._pool
        if pool is None:
            return False
        if not connection.reused:
            self._balancer.failed(pool)
        self._tried.append(pool)
        if not self._again or len(self._tried) >= _ATTEMPTS:
            return False
        self._aim()
        return True

    def leave_upstream(self, *, reusable: bool) -> None:
        """Give the connection back, or stop waiting for one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if reusable and self.request_over:
                connection.release()
            else:
                connection.close()
        elif self._waiting and self._pool is not None:
            self._waiting = False
            self._pool.give_up(self)
