"""Moves the messages of one WebSocket between an ASGI server and an upstream.

It obeys this order, so that nothing is served unnoted and nothing is counted twice:

1. the journal notes the session; if that fails it is refused, and nothing was sent;
2. the upstream shakes hands, then the client's side does;
3. messages pass as they come; where they do for long, the stretch is recorded and the next noted;
4. one side ends it, or we do, and nothing passes any more;
5. the record is handed to the recorder; if that fails the client's connection is cut;
6. the record is made durable, as far as the policy wants it;
7. both sides get their close frames.

A kill before 5 leaves the slot, which names the stretch: what it used is uncertain. Messages are
not held back until they are recorded, so that is at most `record_every` seconds of a session.
"""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import anyio
from starlette.types import Message
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from gateway import websocket_ends as ends
from gateway.errors import (
    GatewayError,
    NotCounted,
    Unexpected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gateway.passage import Passage, RequestHead
from gateway.recording import keep
from gateway.relay_notes import stretch_recorded
from gateway.websocket_brakes import SessionLimits, until_refused
from gateway.websocket_deadlines import Deadlines
from gateway.websocket_ends import Ending
from gateway.websocket_head import offered, to_client, to_upstream
from gateway.websocket_session import SWITCHED, Session
from gateway.websocket_sharing import Client, Sockets
from gateway.websocket_upstream import Handshake, HandshakeRefused, headers_of
from metering.usage import Outcome

logger = logging.getLogger(__name__)

_CLOSE_SECONDS: Final = 2.0  # for both sides to take their close frames
_QUIET_SECONDS: Final = 1.0
_OF_DRAIN: Final = 0.8  # the rest is for the close handshakes
_NEWS_SECONDS: Final = 1.0  # how long the client's own word may take when sending to it failed


class WebSocketRelay:
    """One session on its way."""

    def __init__(
        self, sockets: Sockets, head: RequestHead, passage: Passage, request_id: str, client: Client
    ) -> None:
        self._sockets = sockets
        self._workings = sockets.workings
        self._telemetry = sockets.workings.telemetry
        self._head = head
        self._passage = passage
        self._route = passage.route
        self._client = client
        self._session = Session(passage, request_id)
        self._deadlines = Deadlines(passage.route.timeouts.idle, sockets.settings)
        self._tasks = anyio.create_task_group()
        self._open = anyio.Event()
        self._upstream: ClientConnection | None = None
        self._ending: Ending | None = None
        self._failure: GatewayError | HandshakeRefused | None = None
        self._slot = -1
        self._limits = SessionLimits(sockets.workings.desk)

    async def run(self) -> GatewayError | HandshakeRefused | None:
        """Serve; what to answer instead, when no WebSocket was opened."""
        try:
            self._begin()
        except NotCounted as refusal:
            return refusal
        self._telemetry.open_exchanges += 1
        self._sockets.relays.add(self)
        try:
            async with self._tasks:
                self._tasks.start_soon(self._guarded, self._from_client)
                self._tasks.start_soon(self._guarded, self._serve)
        finally:
            try:
                await self._leave()
            finally:  # a server's own cancellation gets past our shields
                self._sockets.relays.discard(self)
                self._telemetry.open_exchanges -= 1
                if self._upstream is not None:
                    self._upstream.transport.abort()
        return None if self._session.accepted else self._failure

    async def _guarded(self, part: Callable[[], Awaitable[None]]) -> None:
        try:
            await part()
        except (GatewayError, HandshakeRefused) as error:
            self._failure = error
            self._end(ends.REFUSED)
        except Exception:
            logger.exception("websocket %s failed", self._session.request_id)
            self._failure = Unexpected()
            self._end(ends.FAILED)

    def _end(self, ending: Ending) -> None:
        """The first end counts."""
        self._ending = self._ending or ending
        self._tasks.cancel_scope.cancel()

    @property
    def passage(self) -> Passage:
        """What let it in."""
        return self._passage

    def stop(self, refusal: GatewayError) -> None:
        """The customer may not go on."""
        if self._session.accepted:
            self._end(ends.not_let_on(refusal))
        else:
            self._failure = refusal
            self._end(ends.REFUSED)

    async def _serve(self) -> None:
        await self._limits.let_in(self._passage.admitted.brakes)
        upstream = self._upstream = await self._shake_hands()
        await self._accept(upstream)
        self._tasks.start_soon(self._guarded, self._watch)
        if self._limits.watched:
            self._tasks.start_soon(self._guarded, self._heed_limits)
        await self._from_upstream(upstream)

    # Opening it...

    async def _shake_hands(self) -> ClientConnection:
        upstream = self._workings.upstreams.pick(self._route)
        outgoing = self._passage.way.outgoing
        fields = outgoing.headers(upstream, self._session.request_id, injected=False)
        protocols = offered(self._head.headers)
        asked = Handshake(
            upstream.origin, outgoing.target(upstream), to_upstream(fields), protocols
        )
        begun_s = anyio.current_time()
        try:
            opened = await self._sockets.upstreams.open(asked, self._route)
        except HandshakeRefused as refusal:
            self._session.refuse(refusal.status)
            raise
        except (UpstreamUnavailable, UpstreamTimeout) as failure:
            self._telemetry.upstream_failed(self._route.name, failure.code)
            raise
        self._telemetry.upstream_answered(self._route.name, anyio.current_time() - begun_s)
        return opened

    async def _accept(self, opened: ClientConnection) -> None:
        answer = headers_of(opened.response) if opened.response is not None else []
        accept = {
            "type": "websocket.accept",
            "subprotocol": opened.subprotocol,
            "headers": to_client(answer, self._session.request_id),
        }
        try:
            await self._client.send(accept)
        except OSError:
            self._end(ends.CLIENT_BROKE)
            return
        self._session.accept(anyio.current_time())
        self._deadlines.start(anyio.current_time())
        self._telemetry.answered(self._route.name, SWITCHED)
        self._open.set()

    # Passing messages...

    async def _from_client(self) -> None:
        while (message := await self._client.receive())["type"] != "websocket.disconnect":
            if message["type"] == "websocket.receive":
                await self._open.wait()
                await self._to_upstream(message)
        ending = ends.client_closed(message.get("code", 1006), message.get("reason"))
        self._telemetry.disconnects[self._route.name,] += ending is ends.CLIENT_BROKE
        self._end(ending)

    async def _to_upstream(self, message: Message) -> None:
        text = message.get("text")
        content: str | bytes = message["bytes"] if text is None else text
        self._deadlines.touch(anyio.current_time())
        self._telemetry.bytes_in += self._session.message_in(content)
        if self._upstream is not None:
            with suppress(ConnectionClosed):  # whoever reads from it says why
                await self._upstream.send(content)
        self._deadlines.touch(anyio.current_time())

    async def _from_upstream(self, upstream: ClientConnection) -> None:
        try:
            while True:
                content = await upstream.recv()
                self._deadlines.touch(anyio.current_time())
                self._telemetry.bytes_out += self._session.message_out(content)
                kind = "text" if isinstance(content, str) else "bytes"
                await self._client.send({"type": "websocket.send", kind: content})
                self._deadlines.touch(anyio.current_time())
        except ConnectionClosed as closed:
            said = closed.rcvd
            self._end(ends.upstream_closed(None if said is None else (said.code, said.reason)))
        except OSError:  # the client is gone; how, it says itself, unless it broke off
            await anyio.sleep(_NEWS_SECONDS)
            self._end(ends.CLIENT_BROKE)

    # Watching the time...

    async def _watch(self) -> None:
        while True:
            with anyio.CancelScope(deadline=self._deadlines.next_s):
                await self._stop_is_told()
            now_s = anyio.current_time()
            ending = self._deadlines.over(now_s)
            if ending is not None:
                self._end(ending)
            elif self._deadlines.stretch_over(now_s):
                self._next_stretch(now_s)

    async def _heed_limits(self) -> None:
        self._end(ends.not_let_on(await until_refused(self._limits, self._session.so_far)))

    async def _stop_is_told(self) -> None:
        if self._deadlines.stopping:
            await anyio.sleep_forever()
        await self._client.stopping.wait()
        within = self._sockets.drain_s * _OF_DRAIN
        self._deadlines.stop(anyio.current_time(), quiet=_QUIET_SECONDS, within=within)

    # Counting...

    def _begin(self) -> None:
        opening = self._session.opening(self._workings.clock.now_ms())
        self._slot = self._workings.recorder.begin(opening)

    def _next_stretch(self, now_s: float) -> None:
        """Record, ask again whether the customer may go on, and note what follows."""
        try:
            self._record(Outcome.COMPLETE, last=False)
        except NotCounted:
            self._end(ends.UNCOUNTED)
            return
        try:
            admitted = self._sockets.gate.passage(self._head).admitted
            self._limits.go_on(admitted.brakes)
            self._session.go_on(admitted)
            self._begin()
        except GatewayError as refusal:
            self._end(ends.not_let_on(refusal))
        self._deadlines.record(now_s)

    def _record(self, outcome: Outcome, *, last: bool = True) -> None:
        """Once for each slot. Raises NotCounted."""
        slot, self._slot = self._slot, -1
        if slot < 0:
            return
        now_ms, now_s = self._workings.clock.now_ms(), anyio.current_time()
        record = self._session.record(outcome, now_ms, now_s, last=last)
        number = keep(self._workings.recorder, self._telemetry, record, slot, of="websocket")
        self._limits.recorded(record, number, last=last)
        stretch_recorded(self._workings, self._head, record, number)

    # However it ends...

    async def _leave(self) -> None:
        ending = self._ending or ends.CANCELLED
        try:
            self._record(ending.outcome)
        except NotCounted:
            ending = ends.UNCOUNTED
        self._limits.release()
        if ending.outcome is Outcome.UPSTREAM_CUT and self._session.accepted:
            self._telemetry.upstream_failed(self._route.name, "cut")
        with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
            async with anyio.create_task_group() as both:
                if ending.to_client is not None and self._session.accepted:
                    both.start_soon(self._close_client, ending.to_client)
                if ending.to_upstream is not None and self._upstream is not None:
                    both.start_soon(self._upstream.close, *ending.to_upstream)

    async def _close_client(self, close: ends.Close) -> None:
        await self._workings.recorder.durable()
        said = {"type": "websocket.close", "code": close.code, "reason": close.reason}
        with suppress(OSError):  # gone already
            await self._client.send(said)
