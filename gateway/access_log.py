"""The access log of a worker: which calls get a line, and what stands in it.

A call that is not sampled costs one comparison, of its record's number with the next one that is.
Lines wait in memory, bounded, and are written by a thread: no call waits for a disk or a terminal.
"""

import logging
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

import anyio
from anyio import to_thread

from gateway.errors import GatewayError
from gateway.onlooker_settings import AccessLogSettings
from gateway.passage import Passage
from gateway.trace_context import trace_parent
from metering.usage import Grade, Outcome, Quantity, UsageRecord

log = logging.getLogger("tallygate.gateway")

NEVER: Final = 1 << 62  # no record has this number
MAX_WAITING: Final = 8192
MAX_ERRORS_S: Final = 100
WRITE_S: Final = 0.25
_MAX_PATH: Final = 512
_GRADES: Final = (Grade.EXACT, Grade.PARTIAL, Grade.ESTIMATED, Grade.MISSING)  # ever worse


class Asked(NamedTuple):
    """What of a request its record does not hold. Times in seconds, None where there is none.

    `trace` are the values of its `traceparent` fields.
    """

    method: str
    path: str
    trace: Sequence[bytes]
    bytes_in: int
    bytes_out: int
    duration_s: float | None
    upstream_s: float | None  # to the head of the reply


def asked_only(method: str, target: bytes, trace: Sequence[bytes]) -> Asked:
    """Of a request that went nowhere; what follows `?` in its target is left out."""
    path = unquote_to_bytes(target.partition(b"?")[0]).decode("utf-8", "replace")
    return Asked(method, path, trace, 0, 0, None, None)


NOTHING_ASKED: Final = Asked("", "", (), 0, 0, None, None)


class Line(NamedTuple):
    """One call. `code` is that of a refusal of ours; without one there was a record."""

    time_ms: int
    request_id: str
    customer_id: str
    route: str
    status: int
    outcome: str
    code: str
    asked: Asked
    quantities: Mapping[str, Quantity]

    def fields(self) -> dict[str, object]:
        """As it is logged; what is not known is left out."""
        asked = self.asked
        parent = trace_parent([*asked.trace])
        found = {
            "request_id": self.request_id,
            "customer_id": self.customer_id,
            "route": self.route,
            "method": asked.method,
            "path": asked.path[:_MAX_PATH],
            "status": self.status,
            "outcome": self.outcome,
            "code": self.code,
            "bytes_in": asked.bytes_in,
            "bytes_out": asked.bytes_out,
            "duration_ms": _ms(asked.duration_s),
            "upstream_ms": _ms(asked.upstream_s),
            "grade": worst(self.quantities),
            "quantities": {meter: each.value for meter, each in self.quantities.items()},
            "trace_id": "" if parent is None else parent.trace_id,
        }
        return {name: value for name, value in found.items() if value not in ("", None, {})}


def worst(quantities: Mapping[str, Quantity]) -> str:
    """The grade that can be trusted least; empty without any."""
    at = max((_GRADES.index(each.grade) for each in quantities.values()), default=-1)
    return "" if at < 0 else _GRADES[at].value


class AccessLog:
    """Of one worker. `draw` gives a random number in [0, 1); `now_ms` tells the time (UTC)."""

    def __init__(
        self,
        settings: AccessLogSettings,
        draw: Callable[[], float],
        now_ms: Callable[[], int],
    ) -> None:
        self._sample = settings.sample
        self._draw = draw
        self._now_ms = now_ms
        self._waiting: list[Line] = []
        self._second = 0
        self._errors_left = 0
        self.errors = settings.errors
        self.on = settings.errors or settings.sample > 0
        self.dropped = 0
        self.due = 0  # the record of the call that is sampled next
        self._aim(0)

    def wants(self, record: UsageRecord, number: int) -> bool:
        """Whether a call that ended with this record gets a line."""
        return number >= self.due or (self.errors and _went_wrong(record))

    def add(self, record: UsageRecord, number: int, asked: Asked) -> None:
        """A call that gets a line."""
        if number >= self.due:
            self._aim(number)
        elif not self._may():
            return
        self._put(
            Line(
                record.time_ms,
                record.request_id,
                record.customer_id,
                record.route,
                record.status,
                record.outcome.value,
                "",
                asked,
                record.quantities,
            )
        )

    def refused(
        self, error: GatewayError, request_id: str, route: str, passage: Passage | None, asked: Asked
    ) -> None:  # fmt: skip
        """A call that was answered by the gateway itself; `passage` of one that was let in."""
        if self.errors and self._may():
            who = "" if passage is None else passage.admitted.customer_id
            about = (self._now_ms(), request_id, who, route)
            self._put(Line(*about, error.status, "refused", error.code, asked, {}))

    @asynccontextmanager
    async def running(self, write: Callable[[Sequence[Line]], None]) -> AsyncIterator[None]:
        """Lines are written for as long as the block lasts, and what is left at its end."""
        async with anyio.create_task_group() as group:
            if self.on:
                group.start_soon(self._write_forever, write)
            try:
                yield
            finally:
                group.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    await self.flush(write)

    async def flush(self, write: Callable[[Sequence[Line]], None]) -> None:
        """Write what waits. Never raises: a log that cannot be written stops no calls."""
        lines, self._waiting = self._waiting, []
        dropped, self.dropped = self.dropped, 0
        if dropped:
            log.warning("%d calls were left out of the access log: too many at once", dropped)
        if lines:
            try:
                await to_thread.run_sync(write, lines)
            except Exception:
                log.exception("the access log cannot be written")

    async def _write_forever(self, write: Callable[[Sequence[Line]], None]) -> None:
        while True:
            await anyio.sleep(WRITE_S)
            await self.flush(write)

    def _put(self, line: Line) -> None:
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(line)
        else:
            self.dropped += 1

    def _may(self) -> bool:
        """Whether another one that went wrong has room in this second."""
        second = self._now_ms() // 1000
        if second != self._second:
            self._second, self._errors_left = second, MAX_ERRORS_S
        self._errors_left -= 1
        self.dropped += self._errors_left < 0
        return self._errors_left >= 0

    def _aim(self, number: int) -> None:
        self.due = number + gap(self._sample, self._draw()) if self._sample > 0 else NEVER


def gap(share: float, drawn: float) -> int:
    """How many calls further the next one is sampled, so that each is with this probability."""
    if share >= 1:
        return 1
    return 1 + int(min(math.log1p(-drawn) / math.log1p(-share), NEVER))


def _went_wrong(record: UsageRecord) -> bool:
    return record.status >= 400 or record.outcome is not Outcome.COMPLETE


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


OFF: Final = AccessLog(AccessLogSettings(), lambda: 0.0, lambda: 0)
