"""Moves the bytes of one exchange between an ASGI server and an upstream, as the Exchange decides.

It obeys this order, so that nothing is served uncounted and nothing is counted twice:

1. the journal notes the request; if that fails it is refused, and nothing was sent;
2. the request goes upstream, and every byte of the reply but the last to the client as it comes;
3. the upstream's reply ends;
4. the record is handed to the recorder; if that fails the client's connection is cut;
5. the record is made durable, as far as the policy wants it;
6. the last bytes, or the end of the body, are handed to the client.

What a kill in between leaves behind stands in metering/journal.py. A reply that ends anywhere
before 4 is recorded as it stands when it is left, by a `finally` that no cancellation gets past.
"""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Final

import anyio
from anyio.abc import TaskGroup
from starlette.types import Message, Receive, Send

from gateway import injection
from gateway.disconnect import Caller, ClientLeft, Departure, Patience
from gateway.errors import (
    GatewayError,
    Headers,
    NotCounted,
    RequestTimeout,
    Unexpected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gateway.exchange import Exchange
from gateway.headers import dated
from gateway.passage import Passage
from gateway.recording import keep
from gateway.relay_limits import RelayLimits
from gateway.relay_notes import RelayNotes
from gateway.upstream import Reply
from gateway.workings import Workings
from metering.usage import Outcome

logger = logging.getLogger(__name__)

_CLOSE_SECONDS: Final = 5.0


class Relay:
    """One exchange on its way."""

    def __init__(
        self, workings: Workings, exchange: Exchange, receive: Receive, send: Send
    ) -> None:
        self._workings = workings
        self._telemetry = workings.telemetry
        self._exchange = exchange
        self._route = exchange.route
        self._caller = Caller(receive, has_body=exchange.has_body)
        self._send = send
        self._patience = Patience()
        self._departure = Departure(workings.drains, self._patience)
        self._tasks: TaskGroup
        self._reply: Reply | None = None
        self._failure: GatewayError | None = None
        self._slot = -1
        self._limits = RelayLimits(workings.desk, exchange)
        self._ahead = b""
        self._watching = self._started = self._over = self._stopped = False
        self._notes = RelayNotes(workings, exchange)

    async def run(self) -> GatewayError | None:
        """Serve; what to answer instead, when no reply was started.

        Where a reply had been started and broke off, this returns without ending it: the server
        then cuts the connection, so that the client cannot take the torso for the whole.
        """
        try:
            opening = self._exchange.opening(self._workings.clock.now_ms())
            self._slot = self._workings.recorder.begin(opening)
        except NotCounted as refusal:
            self._notes.over(refusal)
            return refusal
        self._telemetry.open_exchanges += 1
        try:
            async with anyio.create_task_group() as self._tasks:
                self._workings.relays.add(self)
                await self._serve()
                self._tasks.cancel_scope.cancel()
        finally:
            self._workings.relays.discard(self)
            self._telemetry.open_exchanges -= 1
            self._notes.over(self._failure)
        return None if self._started or self._departure.gone else self._failure

    async def _serve(self) -> None:
        try:
            with self._patience.scope:
                await self._relay()
            if self._patience.scope.cancelled_caught:
                self._failure = self._ran_out()
        except ClientLeft:
            self._client_left()
        except GatewayError as error:
            self._failure = error
        except Exception:
            logger.exception("exchange %s failed", self._exchange.request_id)
            self._failure = Unexpected()
        finally:
            await self._leave()

    async def _relay(self) -> None:
        if self._caller.body_over:
            self._watch()
        reply = await self._ask()
        self._watch()
        headers = self._exchange.response_head(reply.status, reply.headers)
        headers += self._limits.headers()
        if self._exchange.reply_has_body:
            await self._start(reply.status, headers)
            await self._end(await self._pass_body(reply))
        else:
            await self._pass_body(reply)
            await self._end(b"", before=(reply.status, headers))

    # Sending the request...

    async def _ask(self) -> Reply:
        collected = await self._collect() if self._exchange.wants_buffering else None
        if self._limits.any:
            await self._let_by(collected)
        upstream = self._workings.upstreams.pick(self._route)
        request = self._exchange.upstream_request(upstream, collected)
        body = self._body() if self._exchange.has_body else None
        begun = anyio.current_time()
        self._patience.for_upstream(self._route.timeouts.head)
        reply = await self._workings.upstreams.send(request, body, self._route.timeouts.connect)
        self._reply = reply
        self._notes.answered(anyio.current_time() - begun)
        return reply

    async def _let_by(self, body: bytes | None) -> None:
        """Hold what it needs of its limits. Raises GatewayError, or ClientLeft."""
        if body is None and not self._ahead and not self._caller.body_over:
            async with aclosing(self._pieces()) as pieces:
                self._ahead = await anext(pieces, b"")
        self._patience.for_upstream(self._route.timeouts.head)
        await self._limits.let_by(self._ahead if body is None else body)
        if self._departure.gone:
            raise ClientLeft

    async def _collect(self) -> bytes | None:
        """The whole body, or None when it is too large; then `_body` starts with what came."""
        collected = bytearray()
        async with aclosing(self._pieces()) as pieces:
            async for piece in pieces:
                collected += piece
                if len(collected) > injection.MAX_BODY:
                    self._ahead = bytes(collected)
                    return None
        return bytes(collected)

    async def _body(self) -> AsyncGenerator[bytes]:
        if self._ahead:
            yield self._ahead
            self._ahead = b""
        async with aclosing(self._pieces()) as pieces:
            async for piece in pieces:
                yield piece

    async def _pieces(self) -> AsyncGenerator[bytes]:
        more = not self._caller.body_over
        while more:
            self._patience.for_client(self._route.timeouts.idle)
            piece, more = await self._caller.piece()
            self._patience.for_upstream(self._route.timeouts.head)
            self._exchange.request_chunk(piece)
            self._telemetry.bytes_in += len(piece)
            if not more:
                self._watch()
            yield piece

    # Passing the reply...

    async def _start(self, status: int, headers: Headers) -> None:
        if self._departure.gone:
            return
        self._started = True
        self._notes.started(status)
        headers = dated(headers, self._workings.clock.now_ms())
        await self._hand({"type": "http.response.start", "status": status, "headers": headers})

    async def _pass_body(self, reply: Reply) -> bytes:
        """Hand on the body as it comes; what of it must wait until the record is written."""
        last = b""
        self._patience.for_upstream(self._route.timeouts.idle)
        async with aclosing(reply.chunks()) as chunks:
            async for chunk in chunks:
                if self._departure.gone:
                    self._departure.spend(len(chunk))
                last = self._exchange.response_chunk(chunk)
                if not self._exchange.reply_is_whole:
                    await self._hand_body(last)
                    words = self._limits.last_words(last)
                    if words is not None and not self._departure.gone:
                        self._stopped = True
                        return words
                    last = b""
                self._patience.for_upstream(self._route.timeouts.idle)
        return last + self._exchange.response_end(complete=True)

    async def _end(self, last: bytes, before: tuple[int, Headers] | None = None) -> None:
        whole = Outcome.STOPPED if self._stopped else Outcome.COMPLETE
        self._record(Outcome.CLIENT_LEFT if self._departure.gone else whole)
        await self._workings.recorder.durable()
        if before is not None:
            await self._start(*before)
        self._over = True
        await self._hand_body(last, more=False)

    async def _hand_body(self, body: bytes, *, more: bool = True) -> None:
        if self._departure.gone or (more and not body):
            return
        self._telemetry.bytes_out += len(body)
        await self._hand({"type": "http.response.body", "body": body, "more_body": more})

    async def _hand(self, message: Message) -> None:
        self._patience.for_client(self._route.timeouts.idle)
        try:
            await self._send(message)
        except OSError:  # how ASGI 2.4 says that the client is gone
            self._client_left()

    def _ran_out(self) -> GatewayError | None:
        """What it means that the work was cancelled; None when the client is the reason."""
        if self._departure.gone:
            self._departure.capped()
            return None
        if not self._patience.on_client:
            return UpstreamTimeout()
        if not self._started:
            return RequestTimeout()
        self._client_left()  # it takes nothing any more
        return None

    # When the client leaves...

    def _watch(self) -> None:
        if not self._watching:
            self._watching = True
            self._tasks.start_soon(self._caller.watch, self._client_left)

    def _client_left(self) -> None:
        if self._departure.gone or self._over:
            return
        self._exchange.client_left()
        self._telemetry.disconnects[self._route.name,] += 1
        whole = self._caller.body_over  # half a request would be served as something else
        self._departure.happens(drain=whole and self._route.on_disconnect == "drain")

    # However it ends...

    @property
    def passage(self) -> Passage:
        """What let it in."""
        return self._exchange.passage

    def stop(self, refusal: GatewayError) -> None:
        """The customer may not go on; what is recorded already is left to finish."""
        if self._slot >= 0:
            self._failure, self._stopped = refusal, True
            self._tasks.cancel_scope.cancel()

    def _record(self, outcome: Outcome) -> None:
        """Once: the second time there is neither a record nor a slot."""
        slot, self._slot = self._slot, -1
        if slot < 0:
            return
        record = self._exchange.end(outcome, self._workings.clock.now_ms())
        number = keep(self._workings.recorder, self._telemetry, record, slot)
        self._limits.recorded(record, number)
        self._notes.recorded(record, number)

    async def _leave(self) -> None:
        broke = self._failure is not None and not self._departure.gone
        cut = Outcome.STOPPED if self._stopped else Outcome.UPSTREAM_CUT
        with suppress(NotCounted):
            self._record(cut if broke else Outcome.CLIENT_LEFT)
        if isinstance(self._failure, UpstreamUnavailable | UpstreamTimeout):
            kind = "cut" if self._exchange.answered else self._failure.code
            self._telemetry.upstream_failed(self._route.name, kind)
        self._departure.over()
        self._limits.release()
        if self._reply is not None:
            self._telemetry.streams -= 1
            with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
                await self._reply.aclose()
