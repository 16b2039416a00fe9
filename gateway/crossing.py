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

import math
from contextlib import suppress

from gateway.access_log import Asked
from gateway.answering import Answering
from gateway.errors import (
    GatewayError,
    Headers,
    NotCounted,
    RequestTimeout,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gateway.passage import Passage
from gateway.recording import keep
from gateway.trace_context import in_lines
from metering.usage import Outcome


class Crossing(Answering):
    """One exchange, once it is let in. The event loop's callbacks are all it is told by."""

    _slot = -1
    _draining = False
    _drained = 0
    _over = False

    def begin(self, piece: bytes, *, over: bool, trailers: Headers | tuple[()] = ()) -> None:
        """Let it in, with what came of its body. Raises NotCounted; then it never began."""
        shared = self._shared
        shared.exchanges.add(self)
        shared.telemetry.open_exchanges += 1
        try:
            self._slot = shared.recorder.begin(self._exchange.opening(shared.clock.now_ms()))
        except NotCounted:
            self._leave()
            raise
        self._at_once = over
        self._begun_s = self._begun_s or shared.loop_time()
        self.ask(piece, over=over, trailers=trailers)

    def complete(self, content: bytes, outcome: Outcome = Outcome.COMPLETE) -> None:
        """The reply is whole: record it, then hand over the rest."""
        if self._over:
            return
        self._add_last(content)
        try:
            self._record(Outcome.CLIENT_LEFT if self._gone else outcome)
        except NotCounted as error:
            self.fail(error)
            return
        recorder = self._shared.recorder
        if not recorder.waits or not recorder.when_durable(self._finish):
            self._finish()

    def break_off(self, last: bytes, refusal: GatewayError) -> None:
        """The stream ends here, with these words; where they have no room it is cut."""
        if not self._chunked:
            self.stop(refusal)
            return
        self.leave_upstream(reusable=False)
        self.complete(last, Outcome.STOPPED)

    def _finish(self) -> None:
        """The record is safe: the last bytes go out."""
        if self._over:
            return
        if self._pending and not self._gone:
            self._write(self._pending, self._last_size)
        self._leave()
        self._client.finished(keep_alive=self.keep_alive)

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

    def spend(self, size: int) -> None:
        """A piece of the reply came for nobody."""
        shared = self._shared
        self._drained += size
        if self._drained > shared.drains.max_bytes:
            shared.telemetry.drains_capped += 1
            self._end(Outcome.CLIENT_LEFT)
        else:
            self._expect(self._exchange.route.timeouts.idle, on_client=False)

    # However it ends...

    def timed_out(self) -> None:
        """Whoever's turn it was took too long."""
        if self._gone:
            self._shared.telemetry.drains_capped += self._draining
            self._end(Outcome.CLIENT_LEFT)
        elif not self._on_client:
            if self._reply is None and not self._waiting:
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

    @property
    def passage(self) -> Passage:
        """What let it in."""
        return self._exchange.passage

    @property
    def answered(self) -> bool:
        """Whether the upstream did; then there is a record."""
        return self._exchange.answered

    def stop(self, refusal: GatewayError) -> None:
        """The customer may not go on; what is recorded already is left to finish."""
        if self._slot >= 0:
            self.fail(refusal, Outcome.STOPPED)

    def fail(self, error: GatewayError, outcome: Outcome = Outcome.UPSTREAM_CUT) -> None:
        """End without the upstream: answer the error, or cut what was begun."""
        if self._over:
            return
        if isinstance(error, UpstreamUnavailable | UpstreamTimeout):
            kind = "cut" if self._exchange.answered else error.code
            self._shared.telemetry.upstream_failed(self._exchange.route.name, kind)
        gone, client = self._gone, self._client
        self._end(Outcome.CLIENT_LEFT if gone else outcome)
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
        number = keep(shared.recorder, shared.telemetry, record, slot)
        if record is not None and shared.access.wants(record, number):
            shared.access.add(record, number, self.asked_for())
        hold = self._hold
        if hold is not None and record is not None:
            self._hold = None
            hold.settle(record.quantities, number)
            if shared.desk is not None:
                shared.desk.has_more()

    def asked_for(self) -> Asked:
        """What the access log says of it besides its record."""
        exchange, now_s = self._exchange, self._shared.loop_time()
        before, passing, *_ = self._known.asked[0]
        return Asked(
            before.partition(b" ")[0].decode(),
            exchange.way.path,
            in_lines(passing),
            exchange.bytes_in,
            exchange.bytes_out,
            now_s - (self._begun_s or self._asked_s),
            self._answered_s - self._asked_s if self._answered_s else None,
        )

    def _leave(self) -> None:
        shared = self._shared
        self._over = True
        self.deadline_s = math.inf
        shared.exchanges.discard(self)
        shared.telemetry.open_exchanges -= 1
        if self._body is not None:
            shared.telemetry.streams -= 1
        if self._started:
            seconds = shared.loop_time() - (self._begun_s or self._asked_s)
            shared.telemetry.over(self._exchange.route.name, self._exchange.request_id, seconds)
        if self._hold is not None:
            self._let_go(self._hold)
        if self._draining:
            shared.drains.leave()
