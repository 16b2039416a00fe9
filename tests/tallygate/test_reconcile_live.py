"""Reconciling while calls come in, lanes begin and end, and everything is drained."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Final

import anyio
import pytest
from redis.asyncio import Redis
from sqlalchemy import Engine

from metering import retention
from metering.journal import Journal
from metering.windows import HOUR_MS
from tallygate.reconciliation.reconciling import reconcile
from tallygate.reconciliation.reporting import Report
from tallygate.reconciliation.showing import lines
from tallygate.reconciliation.terms import EVERYTHING
from tests.tallygate.site import HOUR, PARTITIONS, Site

pytestmark = pytest.mark.anyio

_REPORTS: Final = 6
_PATIENCE_S: Final = 60.0


async def serve(site: Site) -> None:
    """Two lanes at a time; each lives for a while, and hours go by."""
    for life in count(1):
        for turn in range(12):
            for lane in (f"a-{life}", f"b-{life}"):
                site.calls(40, lane, customer="")
                if turn % 3:
                    await site.flush(lane)
            site.clock.advance(ms=20_000)
            await anyio.sleep(0.002)
        for lane in (f"a-{life}", f"b-{life}"):
            await site.flush(lane)
            site.lanes.pop(lane)[0].close()
        site.clock.advance(ms=HOUR_MS // 8)


async def drain(site: Site) -> None:
    """As the control plane does, closing what is over."""
    while True:
        await site.drainer.drain_all(PARTITIONS)
        site.close()
        await anyio.sleep(0.005)


def enough(reports: list[Report]) -> bool:
    """Some had records on their way, some read Redis everywhere, and there was something to read."""
    return (
        len(reports) >= _REPORTS
        and reports[-1].records(counted=True) > 1000
        and any(report.records(counted=False) for report in reports)
        and any(not report.ledger_alone for report in reports)
    )


async def test_every_report_is_exact_under_load(
    tmp_path: Path, redis: Redis, engine: Engine, new_lane: Callable[..., Journal]
) -> None:
    """Whatever moves meanwhile: nothing is missed, nothing is compared that is on its way."""
    site = Site(tmp_path, redis, engine, new_lane)
    await site.drain()
    reports: list[Report] = []
    with anyio.fail_after(_PATIENCE_S):
        async with anyio.create_task_group() as group:
            group.start_soon(serve, site)
            group.start_soon(drain, site)
            while not enough(reports):
                await anyio.sleep(0.1)
                reports.append(await site.report())
                assert reports[-1].exact, "\n".join(lines(reports[-1]))
            group.cancel_scope.cancel()
    await site.flush()
    await site.drain()
    last = await site.report()
    assert last.exact
    assert (last.records(counted=False), last.ledger_alone) == (0, [])


async def test_the_retention_may_remove_what_is_being_read(
    tmp_path: Path, redis: Redis, engine: Engine, new_lane: Callable[..., Journal]
) -> None:
    """Hours that lack something of it are left out; what is left is compared, and nothing missing."""
    site = Site(tmp_path, redis, engine, new_lane)
    await site.drain()
    for _ in range(3):
        site.calls(7000, customer="")
        await site.flush()
        await site.drain()
        site.clock.advance(ms=HOUR_MS)
    site.lane("lane-1").keep_up()
    while len(list(site.journal.glob("*/*.audit"))) < 10:  # noqa: ASYNC110  (a thread does it)
        await anyio.sleep(0.01)
    pruned = []

    def prune(_: int) -> None:
        pruned.append(retention.prune(site.journal, now_ms=0, days=1, max_bytes=0))

    report = await reconcile(site.stores, EVERYTHING, prune)
    assert len(pruned) == 1
    assert pruned[0] >= 10
    (lane,) = report.lanes
    assert report.exact, "\n".join(lines(report))
    assert (lane.missing, lane.removed_through > 10_000) == ([], True)
    assert report.covered.first == HOUR + 3
