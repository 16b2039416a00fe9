"""What the supervisor keeps running: processes of ours, and the pauses before they start again.

Each is a new interpreter (exec), never a fork of a running one, which would share its event loop,
its locks and its lane.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio

from metering.errors import MeteringError

log = logging.getLogger("tallygate.serve")

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 10.0
_STABLE_S: Final = 10.0
_HURRIED_S: Final = 20.0  # open calls are cut off within five seconds, the last flush takes ten
_REAP_S: Final = 5.0
_HEALTH: Final = {"control": "/healthz", "gateway": "/-/healthz"}
_READY: Final = {"control": "/healthz", "gateway": "/-/readyz"}


@dataclass
class Backoff:
    """Pauses between a death and the next start: 0.1 s, doubled up to 10 s. Pure.

    Who lived for ten seconds before it died starts from 0.1 s again.
    """

    _pause: float = _FIRST_PAUSE_S

    def after(self, lived_s: float) -> float:
        """The pause after a life of so long."""
        pause = _FIRST_PAUSE_S if lived_s >= _STABLE_S else self._pause
        self._pause = min(2 * pause, _LONGEST_PAUSE_S)
        return pause


@dataclass
class Keeper:
    """Starts one thing again when it died. It is looked after by calling `tend` now and then."""

    name: str
    alive: Callable[[], bool]
    start: Callable[[], None]
    started_at: float
    resting: bool = False  # somebody else ends it and starts it again
    _backoff: Backoff = field(default_factory=Backoff)
    _due: float | None = None

    def tend(self, now: float) -> None:
        """Start it when it is dead and its pause is over; `now` is in seconds, on any clock."""
        if self.resting or self.alive():
            return
        if self._due is None:
            pause = self._backoff.after(now - self.started_at)
            log.error("%s ended; starting it again in %.1f s", self.name, pause)
            self._due = now + pause
        elif now >= self._due:
            self._due, self.started_at = None, now
            try:
                self.start()
            except (MeteringError, OSError) as problem:  # dead, so the next pause is longer
                log.error("%s did not start: %s", self.name, problem)  # noqa: TRY400


class Child:
    """One process of a plane, on sockets that outlive it.

    `command` is what stands after `tallygate`, the plane first. `owner` is the reading end of a
    pipe: the child stops by itself when the writing end closes.
    """

    def __init__(
        self, name: str, command: Sequence[str], sockets: Sequence[int], owner: int, admin_url: str
    ) -> None:
        inherited = ["--sockets", ",".join(map(str, sockets)), "--owner", str(owner)]
        # -P: a folder `gateway` or `metering` where the user happens to be is not ours.
        self._argv = [sys.executable, "-P", "-m", "tallygate", *command, *inherited]
        self._inherited = (*sockets, owner)
        self._process: subprocess.Popen[bytes] | None = None
        self.name = name
        self.plane = command[0]
        self.health_url = f"{admin_url}{_HEALTH[self.plane]}"
        self.ready_url = f"{admin_url}{_READY[self.plane]}"

    def start(self) -> None:
        """Start the process; it does not wait for it to be ready. Raises OSError."""
        self._process = subprocess.Popen(  # noqa: S603  (our own interpreter and module)
            self._argv,
            stdin=subprocess.DEVNULL,
            stdout=2,  # what a script reads from the supervisor is the supervisor's own
            pass_fds=self._inherited,
            start_new_session=True,  # Ctrl-C is for the supervisor, who ends them in order
        )

    @property
    def pid(self) -> int | None:
        """The process id of the last start."""
        return None if self._process is None else self._process.pid

    def alive(self) -> bool:
        """Is the process running?"""
        return self._process is not None and self._process.poll() is None

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still there, which it hears also when it is stopped."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)

    async def end(
        self, patience_s: float, hurried: anyio.Event, *, hurried_s: float = _HURRIED_S
    ) -> None:
        """Tell it to stop and wait, for `hurried_s` at most once told to hurry; then kill it."""
        self.tell(signal.SIGTERM)
        await self._ended_within(patience_s, hurried)
        if hurried.is_set():
            self.tell(signal.SIGINT)
            await self._ended_within(min(patience_s, hurried_s), None)
        if self.alive():
            log.error("%s did not stop in time; killed", self.name)
            self.tell(signal.SIGKILL)
            await self._ended_within(_REAP_S, None)
        self._process = None

    async def _ended_within(self, seconds: float, hurried: anyio.Event | None) -> None:
        with anyio.move_on_after(seconds):
            while self.alive() and not (hurried and hurried.is_set()):  # noqa: ASYNC110  (a process)
                await anyio.sleep(0.02)


def reap_orphans(ours: Collection[int | None]) -> None:
    """Let go of dead processes that were handed to us, as the kernel does with process 1.

    `ours` are left to those who started them.
    """
    with contextlib.suppress(ChildProcessError):  # there is no child at all
        while dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if dead.si_pid in ours:
                return  # whoever is behind it is let go of the next time
            os.waitpid(dead.si_pid, os.WNOHANG)
