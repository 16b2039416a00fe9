"""A customer's latest requests, read from the journals of this host: the ledger keeps sums, not requests.

What gateways on other hosts served is in their journals, and what the retention removed is nowhere; the
page says so. Reading is bounded in segments, and one reader at a time.
"""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import anyio
from anyio import to_thread

from billing_sync.access import Access
from metering.clock import Clock
from metering.latest import latest_of
from metering.usage import UsageRecord

LIMIT: Final = 50
_FRESH_MS: Final = 5_000
_KEPT: Final = 256


class RecentRequest(NamedTuple):
    """Its id, when it ended, and what it used: meter and quantity in the meter's unit."""

    request_id: str
    at: int
    quantities: tuple[tuple[str, int], ...]


@dataclass
class RecentRequests:
    """Reads `journal`; what was read for somebody is shown for some seconds."""

    journal: Path
    clock: Clock
    _kept: dict[Access, tuple[int, list[UsageRecord]]] = field(default_factory=dict)
    _one: anyio.CapacityLimiter | None = None

    async def of(self, access: Access, meters: tuple[str, ...]) -> list[RecentRequest]:
        """What he may see of them, newest first; of the quantities those of these meters."""
        return [_shown(record, meters) for record in await self._latest(access)]

    async def _latest(self, access: Access) -> list[UsageRecord]:
        now_ms = self.clock.now_ms()
        kept_ms, kept = self._kept.get(access, (0, None))
        if kept is not None and 0 <= now_ms - kept_ms < _FRESH_MS:
            return kept
        self._one = self._one or anyio.CapacityLimiter(1)
        wanted = partial(_may_see, access)
        read = await to_thread.run_sync(
            latest_of, self.journal, access.customer_id, LIMIT, wanted, limiter=self._one
        )
        if len(self._kept) >= _KEPT:
            self._kept.clear()
        self._kept[access] = (now_ms, read)
        return read


def _may_see(access: Access, record: UsageRecord) -> bool:
    return access.instances is None or any(access.sees(c.instance_id) for c in record.charges)


def _shown(record: UsageRecord, meters: tuple[str, ...]) -> RecentRequest:
    found = record.quantities
    quantities = tuple((meter, found[meter].value) for meter in meters if meter in found)
    return RecentRequest(record.request_id, record.time_ms, quantities)
