"""One connection to an upstream: an asyncio protocol that hands what comes straight to its caller.

Between two exchanges nobody may speak: a connection that hears bytes or an end while it is idle is
closed. What a caller raises costs this connection only.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Final, Protocol, cast

from gateway.errors import GatewayError

log = logging.getLogger("tallygate.gateway")

FULL_BYTES: Final = 64 << 10  # of requests that the upstream has not taken yet

_CUT: Final = "the upstream's TLS was cut"
_FAILED: Final = "an exchange failed; its upstream connection is closed"


class Caller(Protocol):
    """An exchange that uses a connection, or waits for one."""

    def connected(self, connection: "Connection") -> None:
        """Here it is; only after `take` had none."""

    def not_connected(self, error: GatewayError) -> None:
        """There will be none: Overloaded, UpstreamUnavailable or UpstreamTimeout."""

    def received(self, data: bytes) -> None:
        """Bytes of the reply, as they come."""

    def lost(self, error: Exception | None) -> None:
        """The upstream ended cleanly (None) or the connection broke. Once; it is gone then.

        Over TLS an end without close_notify is no clean one (RFC 8446 §6.1).
        """

    def upstream_full(self) -> None:
        """Take no more of the client's body. May come from inside `write`."""

    def upstream_ready(self) -> None:
        """It may go on."""


class Home(Protocol):
    """Where connections come back to."""

    def returned(self, connection: "Connection") -> None: ...

    def left(self, connection: "Connection", *, busy: bool) -> None: ...


class Connection(asyncio.Protocol):
    """Used by one caller at a time. After `release`, `close` or `lost` it is no longer his.

    `reused`: it was open before this caller asked, so that a failure before any byte of the reply
    may be the upstream's idle limit and not its answer.
    """

    __slots__ = (
        "_home",
        "_open",
        "_paused",
        "_retired",
        "_transport",
        "address",
        "caller",
        "fit",
        "idle_since_s",
        "reused",
        "write",
    )

    _transport: asyncio.Transport

    def __init__(self, home: Home, address: object = None) -> None:
        self.address = address  # what it is connected to
        self.caller: Caller | None = None
        self.reused = False
        self.fit = False  # for another exchange, as far as we know
        self.idle_since_s = 0.0
        self.write: Callable[[bytes], None] = _nowhere
        self._home = home
        self._open = False
        self._paused = False
        self._retired = False

    # For the caller

    def release(self) -> None:
        """The reply is complete and the connection can be used again."""
        if self.caller is None:
            return
        self.caller = None
        if self._paused:
            self.resume_reading()
        self._home.returned(self)

    def close(self) -> None:
        """It cannot be used again. The caller hears nothing more."""
        self._leave()

    def pause_reading(self) -> None:
        """Let the upstream wait."""
        if self._open and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Let it go on."""
        if self._open and self._paused:
            self._paused = False
            self._transport.resume_reading()

    # For the pool

    @property
    def usable(self) -> bool:
        """Whether another exchange may use it; an end may be known and not told yet."""
        return self.fit and not self._transport.is_closing()

    def retire(self) -> None:
        """After this exchange there will be no other."""
        self._retired = True
        self.fit = False

    def give(self, caller: Caller) -> None:
        """Hand it to a caller who waited."""
        self.caller = caller
        self._guarded(caller.connected, self)

    # From the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open; its dialler has to bring it home."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=FULL_BYTES)
        self._open = self.fit = True
        self.write = self._transport.write

    def data_received(self, data: bytes) -> None:
        """Bytes of a reply, or of something nobody asked for."""
        caller = self.caller
        if caller is None:
            self._leave()
            return
        try:
            caller.received(data)
        except Exception as error:
            log.exception(_FAILED)
            self._failed(caller, error)

    def eof_received(self) -> None:
        """Half of it closed is an end too."""
        self._end(None if _said_goodbye(self._transport) else ConnectionResetError(_CUT))

    def connection_lost(self, exc: Exception | None) -> None:
        """Broken; a clean end would have been told before."""
        self._end(exc or ConnectionResetError(_CUT))

    def pause_writing(self) -> None:
        """The upstream does not take what is written."""
        self.fit = False
        if self.caller is not None:
            self._guarded(self.caller.upstream_full)

    def resume_writing(self) -> None:
        """It does again."""
        self.fit = self._open and not self._retired
        if self.caller is not None:
            self._guarded(self.caller.upstream_ready)

    def _end(self, error: Exception | None) -> None:
        caller = self.caller
        self._leave()
        if caller is not None:
            _tell_lost(caller, error)

    def _guarded(self, callback: Callable[..., None], *arguments: object) -> None:
        caller = self.caller
        try:
            callback(*arguments)
        except Exception as error:
            log.exception(_FAILED)
            self._failed(caller, error)

    def _failed(self, caller: Caller | None, error: Exception) -> None:
        """What the caller raised is an end for him too, unless he has left already."""
        if self.caller is caller:
            self._end(error)

    def _leave(self) -> None:
        """Close it, whatever is still to be written, and tell its home. Once."""
        if not self._open:
            return
        busy, self.caller = self.caller is not None, None
        self._open = self.fit = False
        self.write = _nowhere
        self._transport.abort()
        self._home.left(self, busy=busy)


def _tell_lost(caller: Caller, error: Exception | None) -> None:
    try:
        caller.lost(error)
    except Exception:
        log.exception(_FAILED)


def _said_goodbye(transport: asyncio.Transport) -> bool:
    """Whether an end is one that only the upstream itself can have sent; asyncio does not tell."""
    session = transport.get_extra_info("ssl_object")
    try:
        return session is None or not session.read(1)
    except ssl.SSLError:  # nothing more to read, and no close_notify
        return False


def _nowhere(_: bytes) -> None:
    """Writing after the end is harmless."""
