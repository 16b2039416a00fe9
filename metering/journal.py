"""The journal: every process life owns one lane of numbered records that never change.

The order of one request, and what a kill before the next step leaves behind:

1. the request is written into a slot     named uncertain, though nothing was sent
2. it goes upstream, the reply comes back named uncertain
3. its record is appended                 counted; its slot is known to be over by the record
4. the slot is cleared                    counted
5. the record is synced (fsync: always)   counted, also when the machine loses power
6. the last byte goes to the client

When a segment is full, its footer is written, the next one (made ahead) is begun, and the old one is
synced and closed beside. Every entry stands for itself, so what a kill leaves is always a journal.
"""

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from metering import retention
from metering.board import NoSlot, Open, Totals
from metering.clock import Clock
from metering.errors import JournalFull
from metering.footers import Footer
from metering.lane_making import MakeSegment, make_lane, make_segment, with_room
from metering.partitions import partition_of
from metering.quantities import Quantities, compact
from metering.records_on_disk import form_of
from metering.sealing import seal
from metering.segments import SEGMENT_BYTES, SegmentWriter, to_audit
from metering.tail import Tail
from metering.upkeep import Fsync, Upkeep
from metering.usage import Account, UsageRecord

log = logging.getLogger("tallygate.journal")

# Kept free for the record of each open request, where no further segment can be made.
_RESERVE: Final = 4096


@dataclass(frozen=True)
class Durability:
    """How durable a journal is, and how long its audit trail is kept."""

    fsync: Fsync = "interval"
    retention_days: int = 35
    retention_bytes: int = 10 << 30
    segment_bytes: int = SEGMENT_BYTES


class Journal:
    """The lane of this process. One event loop owns it; its files' slow work has a thread."""

    def __init__(
        self,
        folder: Path,
        lane_id: str,
        partitions: int,
        durability: Durability,
        clock: Clock,
        *,
        make: MakeSegment = make_segment,
    ) -> None:
        """Open a new lane in `folder`. Raises JournalFull when the disk is full, and OSError.

        `make` makes all of its segments but the first.
        """
        self.lane_id = lane_id
        self.tail = Tail()
        self.folder = folder
        self._partitions = partitions
        self._durability = durability
        self._clock = clock
        self._make = make
        self._last_number = 0
        self._last_time = 0
        self._finished: dict[Path, Footer] = {}  # full segments that the ledger lacks a part of
        self._next: SegmentWriter | None = None
        self._making = threading.Lock()
        self._disk_full = False
        self._before = Footer()  # of the full segments
        made = make_lane(folder, lane_id, partitions, durability.segment_bytes, clock.now_ms())
        self._lane, self._board, self._segment = made.lane, made.board, made.segment
        self._lock: int | None = made.lock
        self._upkeep = Upkeep(durability.fsync)
        self._upkeep.watch(self._board.handle)
        self._upkeep.watch(self._segment.handle)
        self._upkeep.start()
        self._upkeep.submit(self._make_next)
        self._upkeep.submit(self._prune)

    # One request

    def begin(self, request: Open) -> int:
        account = Account(request.customer_id, request.route)
        return self.enter(request.request_id, account, request.started)

    def enter(self, request_id: str, account: Account, started_ms: int) -> int:
        if started_ms > self._last_time:  # noqa: PLR1730  (`max` is a call)
            self._last_time = started_ms  # so that its record is known to be its own
        if self._next is None or self._lock is None or self._upkeep.failed:
            self._make_sure()
        try:
            slot = self._board.write(request_id, account, started_ms)
        except NoSlot:
            raise JournalFull("too many requests are open") from None
        upkeep = self._upkeep
        if not upkeep.dirty:
            upkeep.wrote()
        return slot

    def forget(self, slot: int) -> None:
        self._board.clear(slot)
        self._upkeep.wrote()

    def append(self, record: UsageRecord, slot: int | None = None) -> int:
        if self._lock is None:
            raise JournalFull("the journal is closed")
        if type(record.quantities) is not Quantities:
            record = replace(record, quantities=compact(record.quantities))
        if record.time_ms < self._last_time:  # the clock stepped back
            record = replace(record, time_ms=self._last_time)
        form = form_of(record)
        segment = self._segment
        if form.size > segment.room:
            self._turn_over(form.size)
            segment = self._segment
        account = record.account
        if account.partitions != self._partitions:
            account.partition = partition_of(account.customer_id, self._partitions)
            account.partitions = self._partitions
        partition = account.partition
        number = self._last_number + 1
        segment.append_as(form, number, partition, record)
        self._last_number, self._last_time = number, record.time_ms
        if slot is not None:
            self._board.clear(slot)
        upkeep = self._upkeep
        if not upkeep.dirty:
            upkeep.wrote()
        self.tail.put(number, partition, record)
        return number

    def mark(self, now_ms: int) -> int:
        self._last_time = max(self._last_time, now_ms)
        return self._last_time

    @property
    def waits(self) -> bool:
        return self._durability.fsync == "always"

    def when_durable(self, then: Callable[[], None]) -> bool:
        return self._upkeep.when_durable(then)

    # The lane

    @property
    def writable(self) -> bool:
        """Whether calls may be let in."""
        return not self._upkeep.failed and (self._has_room() or not self._disk_full)

    @property
    def open_requests(self) -> int:
        return self._board.open

    @property
    def syncs(self) -> int:
        return self._upkeep.syncs

    def totals(self) -> Totals:
        """How many records and how much of each meter, over the lane's whole life."""
        before, here = self._before, self._segment.footer
        return Totals(before.records, before.quantities).plus(here.records, here.quantities)

    def keep_up(self) -> None:
        """Once a second: show the totals, turn what the ledger holds into audit trail, make room."""
        self._board.say(self.totals())
        for path, footer in list(self._finished.items()):
            if footer.done(self.tail.checkpoints):
                del self._finished[path]
                self._upkeep.submit(partial(self._to_audit, path, footer))
        if self._next is None:
            self._upkeep.submit(self._make_next)

    def prune(self) -> None:
        """Now and then: keep the audit trail of this disk within its bounds."""
        self._upkeep.submit(self._prune)

    def close(self) -> None:
        """Nothing more is written: seal the lane and let go of it. What is open is named uncertain.

        May be called twice. A lane that cannot be sealed is sealed by whoever adopts it.
        """
        if self._lock is None:
            return
        lock, self._lock = self._lock, None
        try:
            self._segment.finish()
            self._upkeep.stop()
            for segment in (self._segment, self._next):
                if segment is not None:
                    segment.close()
            self._board.close()
            with_room(self.folder, lambda: seal(self._lane, self._clock.now_ms()))
        except (JournalFull, OSError) as reason:
            log.warning("the lane is not sealed: %s", reason)
        finally:
            os.close(lock)

    def _make_sure(self) -> None:
        """Raises JournalFull when a call cannot be let in."""
        if self._lock is None or self._upkeep.failed:
            raise JournalFull("the journal is closed, or cannot be made durable")
        if not self._has_room() and not self._disk_full:
            self._make_next()  # the other thread was too slow: better to wait than to refuse
        if not self._has_room():
            raise JournalFull("the disk that holds the journal is full")

    def _has_room(self) -> bool:
        """Whether what is left holds the record of one request more, besides those that are open."""
        needed = (self._board.open + 1) * _RESERVE
        return self._next is not None or self._segment.room >= needed

    def _turn_over(self, size: int) -> None:
        """The segment is full: on to the next."""
        if size > self._segment.largest:
            raise ValueError(f"a record of {size} bytes does not fit into a segment")
        if self._next is None:
            self._make_next()  # the other thread was too slow: better to wait than to lose a record
        full, following = self._segment, self._next
        if following is None:
            raise JournalFull("the disk that holds the journal is full")
        full.finish()
        self._finished[full.path] = full.footer
        self._before.extend(full.footer)
        following.begin(self.lane_id, self._partitions, self._before)
        self._upkeep.watch(following.handle)
        self._segment, self._next = following, None
        self._upkeep.submit(partial(self._close_full, full))
        self._upkeep.submit(self._make_next)

    # In the other thread

    def _close_full(self, full: SegmentWriter) -> None:
        self._upkeep.sync_last(full.handle)
        full.close()

    def _to_audit(self, path: Path, footer: Footer) -> None:
        try:
            to_audit(path)
        except OSError as reason:
            log.warning("%s stays where it is for now: %s", path.name, reason)
            self._finished[path] = footer

    def _make_next(self) -> None:
        with self._making:
            if self._next is not None:
                return
            number = self._segment.number + 1
            size = self._durability.segment_bytes
            try:
                self._next = self._make(self.folder, self._lane.path, number, size)
            except (JournalFull, OSError) as full:
                if not self._disk_full:
                    log.error("%s; calls are refused when the rest is used up", full)  # noqa: TRY400
            self._disk_full = self._next is None

    def _prune(self) -> None:
        retention.prune(
            self.folder,
            now_ms=self._clock.now_ms(),
            days=self._durability.retention_days,
            max_bytes=self._durability.retention_bytes,
        )
