"""Closes windows and cuts intervals: unrecorded usage becomes usage records, a page at a time.

The order, and what a crash after each step leaves behind:

1. the partition's row is locked     nothing changed; drains take the same lock
2. billing is found not stopped      nothing changed
3. `closing` says which window       what comes in for it from now on is late, so that no drain slips
                                     usage behind the pages that are done
4. records, remainders and marks of  all of the page or nothing: steps 1 to 4 are one transaction, and
   a page of instances               so is every further page; the next close begins with the pages
                                     that are not done, because only those have unrecorded usage
                                     (what stands under accounts is a page before the first one)
5. with the last page                done; until then the close is made up for by the next run
   `closed_through`
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, tzinfo
from functools import cached_property
from typing import Final, NamedTuple

from sqlalchemy import Engine

from billing_sync.alerts import SILENT, AlertTerms
from billing_sync.cycles import last_complete
from billing_sync.grouping import Group, Terms
from billing_sync.recording import Recording
from billing_sync.store import alerts, elsewhere, ledger, pages, stops, upgrades, waiting
from billing_sync.store.engine import writing
from billing_sync.store.pages import Wanted
from billing_sync.store.partitioning import partition_count
from metering.catalogue import Catalogue
from metering.windows import HOUR_MS, Window, window_of

# How long after a release or an upgrade came in the last interval is cut: gateways hear of it within
# a second and flush within another.
SETTLE_MS: Final = 3000
_ROWS: Final = 4000  # of usage on a page: some megabytes


class Made(NamedTuple):
    """What became of the unrecorded usage: records made, and (instance, window, meter) left over.

    Usage is left over while nobody can say what it costs (product not configured, or another meter
    than the product's), and while the second it would stand in is not over.
    """

    records: int
    left: int


class _At(NamedTuple):
    """Where the next page begins: behind these keys."""

    usage: str | None = ""  # None when all usage is recorded
    carry: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Closer:
    """Closes and cuts partitions. `zone` is that of daily billing, `rows` the size of a page."""

    engine: Engine
    catalogue: Catalogue
    zone: tzinfo = UTC
    rows: int = _ROWS
    alerts: AlertTerms = SILENT

    def close(
        self, partition: int, *, through_ms: int, now_ms: int, newest_claim: str = ""
    ) -> Made | None:
        """Close every window of the partition that ends at or before `through_ms`; None if it was.

        None also while billing is stopped, as it is by this very call where the ledger turns out not
        to know the push log's newest claim.
        """
        wanted = self._closed(partition, through_ms)
        made: Made | None = None
        at: _At | None = _At()
        while at is not None:
            with writing(self.engine) as session:
                row = ledger.partition(session, partition)
                if row.closed_through >= through_ms or not stops.may_bill(
                    session, newest_claim, now_ms
                ):
                    return made
                row.closing = max(row.closing, through_ms)
                if elsewhere.put_away(session, partition, wanted.through, self.rows):
                    continue
                if at == _At():
                    waiting.settle_partition(session, partition, self.catalogue, now_ms)
                    alerts.raise_passed(session, self.catalogue, self.alerts, now_ms)
                begun = upgrades.open_ones(session, partition, received_until=now_ms)
                recording = Recording(session, self._terms, now_ms, _over(through_ms))
                at = self._page(recording, wanted._replace(upgraded=begun), at, carries=True)
                if at is None:
                    upgrades.settle(session, begun, self._terms.meter_of, ended_by=through_ms)
                    row.closed_through = through_ms
            made = _plus(made, recording)
        return made

    def cut(
        self, partition: int, *, released_only: bool, now_ms: int, newest_claim: str = ""
    ) -> Made:
        """Record what is unrecorded up to now, in the middle of a window; nothing as `close`.

        Of instances that were released or upgraded everything; of the others, unless
        `released_only`, what may be divided: not what has a tier price.
        """
        wanted = self._cut(partition, window_of(now_ms), released_only=released_only)
        made = Made(0, 0)
        at: _At | None = _At()
        while at is not None:
            with writing(self.engine) as session:
                ledger.partition(session, partition)
                if not stops.may_bill(session, newest_claim, now_ms):
                    return made
                if at == _At():
                    waiting.settle_partition(session, partition, self.catalogue, now_ms)
                    alerts.raise_passed(session, self.catalogue, self.alerts, now_ms)
                begun = upgrades.open_ones(session, partition, received_until=now_ms - SETTLE_MS)
                may_cut = _ended if released_only else _divisible
                recording = Recording(session, self._terms, now_ms, may_cut)
                at = self._page(recording, wanted._replace(upgraded=begun), at, carries=False)
                if at is None:
                    upgrades.settle(session, begun, self._terms.meter_of)
            made = _plus(made, recording)
        return made

    def _page(self, recording: Recording, wanted: Wanted, at: _At, *, carries: bool) -> _At | None:
        """Record a page; where the next one begins, None at the end."""
        session = recording.session
        if at.usage is not None:
            page = pages.read(session, wanted, at.usage, self.rows)
            recording.record(page)
            if page.next is not None or not carries:
                return None if page.next is None else _At(page.next)
        count = partition_count(session)
        due, carry = pages.due_carries(session, wanted.partition, count, at.carry, self.rows)
        recording.record_carries(wanted.partition, due, (wanted.through + 1) * HOUR_MS)
        return None if carry is None else _At(None, carry)

    @cached_property
    def _terms(self) -> Terms:
        return Terms(self.catalogue, self.zone)

    def _closed(self, partition: int, through_ms: int) -> Wanted:
        day = last_complete(through_ms, "day", self.zone)
        return Wanted(
            partition,
            window_of(through_ms) - 1,
            later=[p.product_id for p in self.catalogue.values() if p.cycle == "day"],
            later_through=window_of(day.end) - 1,
        )

    def _cut(self, partition: int, window: Window, *, released_only: bool) -> Wanted:
        tier = [name for name, p in self.catalogue.items() if p.price and p.price.mode == "tier"]
        return Wanted(partition, window, apart=tier, only_ended=released_only)


def _over(through_ms: int) -> Callable[[Group, bool], bool]:
    """What a close records: cycles that are over, and whatever has ended."""
    return lambda group, ended: ended or group.cycle.end <= through_ms


def _divisible(group: Group, ended: bool) -> bool:
    """A tier price is that of one record, so a cycle must not be divided (spec §8.2)."""
    price = group.product.price if group.product else None
    return ended or price is None or price.mode != "tier"


def _ended(_group: Group, ended: bool) -> bool:
    return ended


def _plus(made: Made | None, more: Recording) -> Made:
    before = made or Made(0, 0)
    return Made(before.records + more.made, before.left + more.left)
