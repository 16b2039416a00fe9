"""Corrections of a ledger that was set back to a backup: brought back from the push log, once."""

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from redis.asyncio import Redis

from billing_sync.correcting import Corrector
from billing_sync.correction_models import Adjustment, Assignment, Suspense
from billing_sync.corrections import AdjustmentAsked, AssignmentAsked
from billing_sync.models import Ahead, Carry, UsageWindow
from billing_sync.records import SCALE
from tests.billing_sync.correcting import SELLING
from tests.billing_sync.pushing import log_of
from tests.billing_sync.recoveries import Plane
from tests.databases import Database

pytestmark = pytest.mark.anyio


class Desk(Plane):
    """A control plane with somebody who corrects."""

    def corrector(self) -> Corrector:
        return Corrector(self.engine, log_of(self.engine), SELLING, 1, self.clock)

    def adjust(self, quantity: int, correction_id: str) -> bool:
        """Whether it was there already."""
        asked = AdjustmentAsked(correction_id, "i", "li", "because", quantity=quantity)
        return self.corrector().adjust(asked).repeated

    def assign(self, correction_id: str, quantity: int | None = None) -> bool:
        """The same of what was charged to nobody."""
        asked = AssignmentAsked(correction_id, "cust-1", "i", "li", "his", quantity=quantity)
        return self.corrector().assign(asked).repeated

    def served(self, quantity: int, *, charged: bool) -> None:
        """In the journal of a lane: the customer's total, and the instance's share."""
        window = self.clock.now_ms() // 3_600_000
        self.lanes[0].record(0, quantity, window=window)
        if charged:
            self.use("i", quantity)

    def carry(self) -> int:
        return sum(row.quantity for row in self.all(Carry) if row.instance_id == "i")

    def balance(self) -> None:
        """What was pushed and what waits is what was used, assigned and adjusted; nothing twice."""
        used = sum(row.quantity for row in self.all(UsageWindow) if row.instance_id == "i")
        adjusted = sum(row.quantity for row in self.all(Adjustment))
        assert self.pushed() * 1000 * SCALE + self.carry() == (used + adjusted) * SCALE
        assigned = sum(row.quantity for row in self.all(Assignment))
        assert used == self.used["i"] + assigned
        assert sum(row.assigned for row in self.all(Suspense)) == assigned
        assert self.all(Ahead) == []


@pytest.fixture
async def desk(database: Database, redis: Redis) -> AsyncIterator[Desk]:
    """At 01:00, with a backup of 00:10 that lacks everything."""
    desk = Desk(database, redis, SELLING)
    desk.books.buy("i")
    await desk.runner.run_once()
    desk.back_up()
    desk.served(5000, charged=True)
    desk.served(2000, charged=False)
    await desk.flush()
    await desk.runner.sync()
    desk.adjust(-1000, "a1")
    desk.assign("s1", 1500)
    await desk.to_the_next_hour()
    assert desk.pushed() == Decimal("5.5")
    yield desk
    desk.engine.dispose()


@pytest.mark.parametrize("replayed", [True, False])
async def test_they_come_back(desk: Desk, replayed: bool) -> None:
    """Whether the usage comes before or after the recovery: nothing is billed again, and what nobody
    assigned is in suspense as before."""
    desk.restore()
    await desk.runner.sync()
    if replayed:
        await desk.flush()
        await desk.runner.sync()
    done = desk.recover()
    assert done.corrections == 2
    assert (desk.adjust(-1000, "a1"), desk.assign("s1", 1500)) == (True, True)
    await desk.come_to_rest()
    desk.balance()
    assert desk.pushed() == Decimal("5.5")
    assert sum(row.quantity - row.assigned for row in desk.all(Suspense)) == 500
    desk.assign("s2")
    await desk.come_to_rest()
    desk.balance()
    assert desk.pushed() == 6


async def test_those_that_no_record_carries_yet(desk: Desk) -> None:
    """They wait as they did."""
    desk.adjust(-9000, "a2")
    desk.served(100, charged=False)
    await desk.flush()
    await desk.runner.sync()
    desk.assign("s2")
    desk.restore()
    await desk.runner.sync()
    assert desk.recover().corrections == 4
    await desk.come_to_rest()
    desk.balance()
    assert desk.carry() == (600 - 9000) * SCALE


async def test_only_those_the_backup_lacks(desk: Desk) -> None:
    """What it holds is not brought again."""
    desk.back_up()
    desk.adjust(250, "a2")
    desk.restore()
    await desk.runner.sync()
    assert desk.recover().corrections == 1
    desk.used["i"] += 1
    desk.lanes[0].record(0, 1, instance_id="i", window=desk.clock.now_ms() // 3_600_000)
    await desk.come_to_rest()
    desk.balance()
    assert desk.carry() == 0


async def test_asked_again_before_the_recovery(desk: Desk) -> None:
    """By somebody who saw it gone: it is there once."""
    desk.restore()
    await desk.runner.sync()
    await desk.flush()
    await desk.runner.sync()
    assert not desk.adjust(-1000, "a1")
    assert desk.recover().corrections == 1
    await desk.come_to_rest()
    desk.balance()
