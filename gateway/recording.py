"""How the record of an exchange is handed over, and what follows where that fails: for both shells."""

import logging
from collections.abc import Callable
from typing import Protocol

from gateway.errors import NotCounted
from gateway.telemetry import Telemetry
from metering.board import Open
from metering.usage import Account, UsageRecord

logger = logging.getLogger("tallygate.gateway")


class Recorder(Protocol):
    """Takes the record of every exchange; whatever it raises keeps the reply from being served."""

    @property
    def waits(self) -> bool:
        """Whether a reply's end has to wait until its record is durable."""
        ...

    def begin(self, request: Open) -> int: ...

    def enter(self, request_id: str, account: Account, started_ms: int) -> int:
        """As `begin`."""
        ...

    def forget(self, slot: int) -> None: ...

    def record(self, record: UsageRecord, slot: int) -> int:
        """The record's number in the lane."""
        ...

    def when_durable(self, then: Callable[[], None]) -> bool:
        """Call `then` soon, in the event loop, when all records are durable; False: no need."""
        ...

    async def durable(self) -> None: ...


def keep(
    recorder: Recorder,
    telemetry: Telemetry,
    record: UsageRecord | None,
    slot: int,
    *,
    of: str = "exchange",
) -> int:
    """Record what a slot ended with, or empty the slot where that is nothing. Raises NotCounted.

    Returns the number of the record, 0 without one.

    If it fails the slot stays, and the request is named uncertain.
    """
    if record is None:
        recorder.forget(slot)
        return 0
    try:
        number = recorder.record(record, slot)
    except Exception as error:
        telemetry.uncounted += 1
        request_id = record.request_id
        told = {"request_id": request_id}
        logger.exception("%s %s could not be recorded", of, request_id, extra=told)
        raise NotCounted from error
    telemetry.recorded(record)
    return number
