"""The usual exchange in two steps: a head seen before with all of its body, answered all at once.

It does what Crossing does, in the same order, without the calls in between. Whatever is unusual is
left to Crossing, before anything has been done.
"""

from typing import Final

from gateway.connections import Connection
from gateway.crossing import Crossing
from gateway.errors import Headers, NotCounted
from gateway.estimates import SAID
from gateway.injection import may_ask
from gateway.known_replies import KnownReply
from gateway.recording import keep
from gateway.telemetry import RouteFigures, looked_at

_PLAIN_END: Final = b"\r\n"
_CLOSE_END: Final = b"connection: close\r\n\r\n"


class Express(Crossing):
    """A Crossing that is quicker where nothing unusual happens."""

    def begin(  # noqa: C901, PLR0912, PLR0915 - calls are what it saves
        self, piece: bytes, *, over: bool, trailers: Headers | tuple[()] = ()
    ) -> None:
        """Let it in, with what came of its body. Raises NotCounted; then it never began."""
        known = self._known
        way = known.way
        if not over or trailers or way.reads is not None or (way.collects and may_ask(piece)):
            super().begin(piece, over=over, trailers=trailers)
            return
        shared, exchange = self._shared, self._exchange
        admitted = exchange.admitted
        shared.exchanges.add(self)
        telemetry = shared.telemetry
        telemetry.open_exchanges += 1
        try:
            self._slot = shared.recorder.enter(
                exchange.request_id, admitted.account, shared.clock.now_ms()
            )
        except NotCounted:
            self._leave()
            raise
        self.request_over = True
        self._collecting = False
        if piece:
            size = len(piece)
            exchange.bytes_in = size
            telemetry.bytes_in += size
        self._ahead = (piece,)
        brakes = admitted.brakes
        self._asked_s = now_s = shared.loop_time()
        if brakes is not None:
            batch = brakes.batch
            if batch and batch.left and now_s < batch.until_s and piece.find(SAID) < 0:
                batch.left -= 1
                self._hold = batch
            elif not self._let_by(brakes, piece, self._framing):
                self._begun_s = self._begun_s or now_s  # what it waits belongs to its time
                return
        self._pool = pool = self._balancer.pick()
        connection = pool.take(self)
        if connection is None:
            self._waiting = True
        elif len(known.asked) > 1 or known.idempotent or self._framing < 0:
            self.connected(connection)
        else:
            self._ahead = ()
            self._connection = connection
            before, passing, after, end = known.asked[0]
            if way.has_body:
                after += b"%d" % self._framing
            self.deadline_s = shared.now_s + way.route.timeouts.head
            own = exchange.request_id.encode()
            head = b"".join((before, own, passing, admitted.lines, after, end, piece))
            shared.writes.put(connection, head)

    def received(self, data: bytes) -> None:
        """Bytes of the reply."""
        if self._reply is None and not (self._held or self._gone):
            end = data.find(b"\r\n\r\n") + 4
            head = data[:end]
            replies = self._known.replies
            reply = replies.kept.get(head) or replies.get(head)
            if reply is not None and reply.plain and reply.framing == len(data) - end:
                connection = self._connection
                if connection is not None and self._answer(reply, connection, data[end:]):
                    return
        super().received(data)

    def _answer(  # noqa: C901, PLR0912, PLR0915 - calls are what it saves
        self, reply: KnownReply, connection: Connection, body: bytes
    ) -> bool:
        """Record the reply and hand it on; False where that takes more than one step."""
        shared, exchange = self._shared, self._exchange
        recorder = shared.recorder
        if recorder.waits:
            return False
        record = exchange.whole(reply.answer, body, shared.clock.now_ms())
        if record is None:
            return False
        self._reply = reply
        self._balancer.answered(self._pool, reply.status)
        telemetry = shared.telemetry
        figures = telemetry.of(record.route)
        now_s = shared.loop_time()
        self._connection = None
        if reply.reusable:
            connection.release()
        else:
            connection.close()
        slot, self._slot = self._slot, -1
        try:
            number = keep(recorder, telemetry, record, slot)
        except NotCounted as error:
            self.fail(error)
            return True
        if number >= shared.access.due:
            self._answered_s = now_s
            shared.access.add(record, number, self.asked_for())
        figures.answers[reply.status // 100] += 1
        telemetry.bytes_out += len(body)
        before, after, _, _ = reply.head
        end = _PLAIN_END if self.keep_alive else _CLOSE_END
        hold = self._hold
        if hold is not None:
            self._hold = None
            hold.settle(record.quantities, number)
            end = hold.brakes.lines(now_s) + end
            if shared.desk is not None:
                shared.desk.has_more()
        client = self._client
        whole = b"".join((before, exchange.request_id.encode(), after, end, body))
        shared.writes.put(client, whole)
        self._leave()
        if self._begun_s or figures.exemplars is not None:
            self._count_times(figures, now_s - self._asked_s)
        else:
            figures.usual(now_s - self._asked_s)
        client.finished(keep_alive=self.keep_alive)
        return True

    def _count_times(self, figures: RouteFigures, upstream_s: float) -> None:
        """All of them: of a call that waited, or is one of those that are looked at closely."""
        whole_s = self._shared.loop_time() - (self._begun_s or self._asked_s)
        request_id = self._exchange.request_id
        figures.upstream_seconds.observe(upstream_s)
        figures.first_byte_seconds.observe(whole_s)
        self._shared.telemetry.over(self._exchange.route.name, request_id, whole_s)
        if self._begun_s and looked_at(request_id):
            figures.own_seconds.observe(whole_s - upstream_s)
