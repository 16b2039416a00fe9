"""Accepts connections on a socket that several workers share, so that each gets as many.

All of them hear of a new connection. Who has clearly more than another leaves it to that one for a
moment; what is still there then is accepted all the same, first one and then ever more at a time,
for the other may be busy, but also stopped or dead. So a worker that does not accept keeps nobody out, and one that starts again catches up.
"""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Sized
from typing import Final

from tallygate.sharing import Share

log = logging.getLogger("tallygate")

_LEAVE_S: Final = 0.01
_AT_ONCE: Final = 64  # in one turn of the event loop
_TELL_S: Final = 0.05
_EXHAUSTED_S: Final = 0.5
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """In place of the loop's own server; `connections` are those of this worker.

    It duplicates `listening`, and ends with `close`.
    """

    def __init__(
        self,
        listening: socket.socket,
        share: Share,
        connections: Sized,
        make: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listening = listening.dup()
        self._listening.setblocking(False)
        self._share, self._connections = share, connections
        self._make, self._context = make, context
        self._beginning: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._telling: asyncio.TimerHandle | None = None
        self._closed = False
        self._left = 1  # how many to take when others had their moment
        self._listen()
        self._tell_now_and_then()

    def close(self) -> None:
        """Accept no more."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._listening)
        for timer in (self._timer, self._telling):
            if timer is not None:
                timer.cancel()
        self._listening.close()

    async def wait_closed(self) -> None:
        """Return when every connection that was accepted has its protocol."""
        await asyncio.gather(*self._beginning, return_exceptions=True)

    def _listen(self) -> None:
        self._timer = None
        self._loop.add_reader(self._listening, self._readable)

    def _pause(self, seconds: float, then: Callable[[], None]) -> None:
        self._loop.remove_reader(self._listening)
        self._timer = self._loop.call_later(seconds, then)

    def _readable(self) -> None:
        self._tell()
        for _ in range(_AT_ONCE):
            if self._share.ahead():
                self._pause(_LEAVE_S, self._take_what_is_left)
                return
            self._left = 1
            if not self._accept():
                return

    def _take_what_is_left(self) -> None:
        """Nobody else wanted it."""
        self._listen()
        self._tell()
        for _ in range(self._left):
            if not self._accept():
                self._left = 1
                return
        self._left = min(2 * self._left, _AT_ONCE)

    def _accept(self) -> bool:
        try:
            accepted, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as problem:
            if problem.errno not in _EXHAUSTED:
                raise
            log.error("no new connection can be accepted: %s", problem.strerror)  # noqa: TRY400
            self._pause(_EXHAUSTED_S, self._listen)
            return False
        accepted.setblocking(False)
        task = self._loop.create_task(self._begin(accepted))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)
        self._tell()
        return True

    async def _begin(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make, accepted, ssl=self._context)
        except (OSError, asyncio.CancelledError):  # a handshake that failed
            accepted.close()
        except Exception:
            accepted.close()
            log.exception("a connection could not begin")

    def _tell(self) -> None:
        self._share.have(len(self._connections) + len(self._beginning))

    def _tell_now_and_then(self) -> None:
        """For what was closed since."""
        self._tell()
        self._telling = self._loop.call_later(_TELL_S, self._tell_now_and_then)
