"""Repeats a job for ever: what goes wrong is counted, said once, and tried again.

A loop of the control plane must outlive whatever a store, the marketplace or a bug throws into it;
only cancellation ends it.
"""

import logging
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
from sqlalchemy.exc import SQLAlchemyError

from billing_sync.errors import BillingSyncError
from metering.errors import MeteringError

log = logging.getLogger("tallygate.sync")

_MAX_TEXT = 300


class Wake:
    """Lets a loop sleep until there is something to do, or its time is over."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def set(self) -> None:
        """There is something to do. Only from the event loop's own thread."""
        self._event.set()

    def clear(self) -> None:
        """What was said until now is being done."""
        self._event = anyio.Event()

    async def wait(self, seconds: float) -> None:
        """Until somebody calls `set`, but not longer than this."""
        with anyio.move_on_after(seconds):
            await self._event.wait()


@dataclass
class Repeater:
    """Runs jobs again and again; `failures` counts by job and reason."""

    failures: dict[tuple[str, str], int] = field(default_factory=dict)
    _said: dict[str, str] = field(default_factory=dict)

    async def forever(
        self, name: str, job: Callable[[], Awaitable[object]], every_s: float, wake: Wake
    ) -> None:
        """Run `job`, wait, run it again, until cancelled."""
        while True:
            wake.clear()
            try:
                await job()
            except Exception as failure:  # noqa: BLE001  (a loop that died would bill nothing)
                self._failed(name, failure)
                await anyio.sleep(every_s)  # no wake: what failed just now would fail again
            else:
                self._worked(name)
                await wake.wait(every_s)

    def _failed(self, name: str, failure: Exception) -> None:
        cause = _first(failure)
        reason = type(cause).__name__
        self.failures[name, reason] = self.failures.get((name, reason), 0) + 1
        if self._said.get(name) != reason:
            log.warning("%s failed and is tried again: %s", name, describe(cause))
        self._said[name] = reason

    def _worked(self, name: str) -> None:
        if self._said.pop(name, None):
            log.warning("%s works again", name)


def describe(failure: Exception) -> str:
    """What happened, in one line: the text of named conditions, of anything else only the place."""
    if isinstance(failure, MeteringError | BillingSyncError | SQLAlchemyError | OSError):
        lines = str(failure).splitlines() or [""]
        return f"{type(failure).__name__}: {lines[0][:_MAX_TEXT]}"
    frames = traceback.extract_tb(failure.__traceback__)[-1:]
    return f"{type(failure).__name__}" + "".join(f" at {f.filename}:{f.lineno}" for f in frames)


def _first(failure: Exception) -> Exception:
    """The first cause in a group, which says more than the group does."""
    while isinstance(failure, ExceptionGroup):
        failure = failure.exceptions[0]
    return failure
