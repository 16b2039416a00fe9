"""What the supervisor keeps running: processes of ours, and the pauses before they start again."""

import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio

from metering.errors import MeteringError

log = logging.getLogger("tallygate.serve")

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 10.0
_STABLE_S: Final = 60.0
_HEALTH: Final = {"control": "/healthz", "gateway": "/-/healthz"}
_READY: Final = {"control": "/healthz", "gateway": "/-/readyz"}


@dataclass
class Backoff:
    """Pauses between a death and the next start: 0.1 s, doubled up to 10 s. Pure.

    Who lived for a minute before it died starts from 0.1 s again.
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
    _backoff: Backoff = field(default_factory=Backoff)
    _due: float | None = None

    def tend(self, now: float) -> None:
        """Start it when it is dead and its pause is over; `now` is in seconds, on any clock."""
        if self.alive():
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
    """One plane in a process of its own, on sockets that outlive it.

    `owner` is the reading end of a pipe: the child stops by itself when the writing end closes.
    """

    def __init__(
        self, name: str, config_path: str, sockets: Sequence[int], owner: int, admin_url: str
    ) -> None:
        handles = ",".join(map(str, sockets))
        given = ["-c", config_path, "--sockets", handles, "--owner", str(owner)]
        # -P: a folder `gateway` or `metering` where the user happens to be is not ours.
        self._argv = [sys.executable, "-P", "-m", "tallygate", name, *given]
        self._inherited = (*sockets, owner)
        self._process: subprocess.Popen[bytes] | None = None
        self.name = name
        self.health_url = f"{admin_url}{_HEALTH[name]}"
        self.ready_url = f"{admin_url}{_READY[name]}"

    def start(self) -> None:
        """Start the process; it does not wait for it to be ready. Raises OSError."""
        self._process = subprocess.Popen(  # noqa: S603  (our own interpreter and module)
            self._argv,
            stdin=subprocess.DEVNULL,
            stdout=2,  # what a script reads from the supervisor is the supervisor's own
            pass_fds=self._inherited,
            start_new_session=True,  # Ctrl-C is for the supervisor, who ends them in order
        )

    def alive(self) -> bool:
        """Is the process running?"""
        return self._process is not None and self._process.poll() is None

    async def end(self, patience_s: float, hurried: anyio.Event) -> None:
        """Tell it to stop and wait; kill it when it takes longer than `patience_s`."""
        if self._process is None:
            return
        with anyio.move_on_after(patience_s):
            self._process.terminate()
            await self._ended(hurried)
            if self.alive():
                self._process.terminate()
                await self._ended(None)
        if self.alive():
            log.error("%s did not stop within %.0f s; killed", self.name, patience_s)
            self._process.kill()
        self._process.wait()
        self._process = None

    async def _ended(self, hurried: anyio.Event | None) -> None:
        while self.alive() and not (hurried and hurried.is_set()):  # noqa: ASYNC110  (a process)
            await anyio.sleep(0.02)
