"""What a recorder needs of a lane that is being written."""

from collections.abc import Callable
from typing import Protocol

from metering.board import Open
from metering.tail import Tail
from metering.usage import Account, UsageRecord


class Lane(Protocol):
    """What a recorder needs of a journal."""

    @property
    def lane_id(self) -> str: ...

    @property
    def tail(self) -> Tail: ...

    def begin(self, request: Open) -> int:
        """Note a request before it goes upstream; its slot. Raises JournalFull."""
        ...

    def enter(self, request_id: str, account: Account, started_ms: int) -> int:
        """The same of a request whose account is at hand."""
        ...

    def forget(self, slot: int) -> None:
        """The request ended without a record."""
        ...

    def append(self, record: UsageRecord, slot: int | None = None) -> int:
        """Write the record and clear its slot; its number.

        Its time is set to the lane's last when it lies before. Raises JournalFull, and for a record
        that cannot be written ValueError or struct.error; then nothing happened, the slot stays.
        """
        ...

    def mark(self, now_ms: int) -> int:
        """A time T such that every later record has a time >= T."""
        ...

    @property
    def waits(self) -> bool:
        """Whether anybody has to wait for `when_durable`."""
        ...

    def when_durable(self, then: Callable[[], None]) -> bool:
        """Call `then`, from another thread, when all records are durable; False: no need to wait."""
        ...
