"""What the control plane says of each customer, as a worker follows it: from Redis, else from disk.

A worker that starts while Redis is away begins with what the host's file says. One that hears
nothing for too long says so, and may have to refuse every call until it hears again.
"""

import logging
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Final

import anyio
from anyio import to_thread

from gateway.entitlement_file import EntitlementFile, FileUnusable
from gateway.freshness import Freshness
from metering import entitlements
from metering.clock import Clock
from metering.connection import Store
from metering.entitlement import EntitlementSnapshot
from metering.errors import MeteringError

log = logging.getLogger("tallygate.gateway")

EVERYONE_S: Final = 60.0  # a control plane of a version before sets no mark
KEEP_S: Final = 5.0  # at least, between two writes of the file
LOOK_S: Final = 0.5
_AFTER_FAILURE_S: Final = 0.5


@dataclass
class Following:
    """`take` is told of each change, `changed` after some, `shut` when it must refuse or may not.

    `loop_time` never steps; it is in seconds. `denies`: what is stale is not to be gone by.
    """

    redis: Store = field(repr=False)
    file: EntitlementFile
    clock: Clock
    loop_time: Callable[[], float]
    freshness: Freshness
    denies: bool
    take: Callable[[EntitlementSnapshot], None]
    changed: Callable[[], None]
    shut: Callable[[bool], None]
    check_s: float
    keep_s: float = KEEP_S

    def __post_init__(self) -> None:
        self.unreadable = 0  # values at the last full check that were no snapshot
        self.file_failures = 0
        self.stale = False
        self._taken: dict[str, EntitlementSnapshot] = {}
        self._mark, self._everyone_s = "", 0.0  # of the last look at everybody, and when it was
        self._raw: dict[str, bytes] = {}  # as it stood in Redis when it was read
        self._changed: set[str] = set()  # heard of while a full check was under way
        self._unwritten = True  # whether the file may say something else
        self._said_unwritable = False
        self._asked_disk = False

    def taken(self) -> dict[str, EntitlementSnapshot]:
        """What was said of each customer last."""
        return dict(self._taken)

    def count(self) -> int:
        """How many customers that is."""
        return len(self._taken)

    # What is heard

    async def check_forever(self) -> None:
        """The full check: heals whatever a lost message hid, and says once when Redis is away."""
        away = False
        while True:
            try:
                await self.check()
                if away:
                    log.warning("Redis is back")
                away = False
            except MeteringError as reason:
                if not away:
                    log.warning("%s; calls go on and are counted when it is back", reason)
                away = True
                if not (self.freshness.loaded or self._asked_disk):
                    await self.start_from_disk()
            await anyio.sleep(_AFTER_FAILURE_S if away else self.check_s)

    async def check(self) -> None:
        """Everybody is looked at where the mark is another one, and now and then without.

        Whoever is missing keeps what was said of him last: a Redis that was emptied says nothing.

        Customers are never deleted; who may not call any more is told so by his snapshot.
        Raises MeteringError.
        """
        mark, begun_s = await entitlements.mark(self.redis), self.loop_time()
        if mark and mark == self._mark and begun_s < self._everyone_s + EVERYONE_S:
            self.freshness.heard(begun_s)
            self.look()
            return
        self._changed.clear()
        unreadable = 0
        async for some in entitlements.walk(self.redis):
            for customer_id, raw in some.items():
                if self._raw.get(customer_id) != raw:
                    unreadable += not self._read(customer_id, raw)
        if unreadable > self.unreadable:
            log.error("%d entitlements in Redis cannot be read", unreadable)
        self.unreadable = unreadable
        self._mark, self._everyone_s = mark, begun_s
        self.freshness.heard(begun_s)
        self.look()
        self.changed()

    def _read(self, customer_id: str, raw: bytes) -> bool:
        """Take over what stands in Redis of a customer; False if it is no snapshot."""
        snapshot = entitlements.snapshot_of(customer_id, raw)
        if snapshot is None:
            return False
        if customer_id not in self._changed:  # or an older one would win
            self._raw[customer_id] = raw
            self._take(snapshot)
        return True

    async def listen_forever(self) -> None:
        """Changes as they happen."""
        while True:
            with suppress(MeteringError):  # what is missed meanwhile is found by the full check
                async with aclosing(entitlements.changes(self.redis)) as changes:
                    async for customer_id in changes:
                        snapshot = await entitlements.get(self.redis, customer_id)
                        if snapshot is not None:
                            self.heard(snapshot)
            await anyio.sleep(_AFTER_FAILURE_S)

    def heard(self, snapshot: EntitlementSnapshot) -> None:
        """A change."""
        self._changed.add(snapshot.customer_id)
        self._raw.pop(snapshot.customer_id, None)
        self._take(snapshot)
        self.changed()

    def _take(self, snapshot: EntitlementSnapshot) -> None:
        if self._taken.get(snapshot.customer_id) != snapshot:
            self._taken[snapshot.customer_id] = snapshot
            self._unwritten = True
            self.take(snapshot)

    # Too old

    async def look_forever(self) -> None:
        """Whether it has become too old."""
        while True:
            self.look()
            await anyio.sleep(LOOK_S)

    def look(self) -> None:
        """Say so once, and once when it is over."""
        stale = self.freshness.stale(self.loop_time())
        if stale == self.stale:
            return
        self.stale = stale
        if stale:
            then = "every call is refused until it is" if self.denies else "calls go on by it"
            age_s = self.freshness.age_s(self.loop_time())
            log.warning("what is known of the customers was not heard for %.0f s; %s", age_s, then)
        else:
            log.warning("what is known of the customers is up to date again")
        if self.denies:
            self.shut(stale)

    # On disk

    async def start_from_disk(self) -> None:
        """What the file says of customers nobody has told us of; without a usable one nothing."""
        self._asked_disk = True
        try:
            kept = await to_thread.run_sync(self.file.read)
        except FileNotFoundError:
            return
        except (FileUnusable, OSError) as reason:
            self.file_failures += 1
            log.warning("%s is passed over: %s", self.file.path, reason)
            return
        age_s = max(0.0, (self.clock.now_ms() - kept.heard_ms) / 1000)
        for snapshot in kept.snapshots:
            if snapshot.customer_id not in self._taken:
                self._take(snapshot)
        self.freshness.read(age_s, self.loop_time())
        log.warning(
            "%d customers as they were known %.0f s ago, from %s",
            len(kept.snapshots),
            age_s,
            self.file.path,
        )
        self.look()
        self.changed()

    async def keep_forever(self) -> None:
        """The file follows; one worker of the host sees to it."""
        while True:
            await self.keep()
            await anyio.sleep(self.keep_s)

    async def keep(self) -> None:
        """Write what changed, or when nothing did note until when. What only a file says stays there."""
        if not self.freshness.loaded or self.freshness.from_disk:
            return
        heard_ms = self.clock.now_ms() - round(self.freshness.age_s(self.loop_time()) * 1000)
        if not self._unwritten:
            await to_thread.run_sync(self.file.still_so, heard_ms)
            return
        self._unwritten = False
        try:
            written = await to_thread.run_sync(self.file.write, self.taken().values(), heard_ms)
        except OSError as reason:
            self.file_failures += 1
            self._unwritten = True
            if not self._said_unwritable:
                log.warning("%s cannot be written: %s", self.file.path, reason)
            self._said_unwritable = True
        else:
            self._unwritten = self._unwritten or not written
            self._said_unwritable = False

    async def leave(self) -> None:
        """The file has what was heard last, and another worker may see to it."""
        if self._unwritten:
            await self.keep()
        self.file.close()
