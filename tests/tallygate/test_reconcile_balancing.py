import json
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import delete, update
from sqlmodel import col, select

from billing_sync.models import Bucket, Carry, UsageRecord, UsageWindow
from billing_sync.store.engine import reading, writing
from metering.windows import HOUR_MS
from tallygate.reconciliation.balance import Balance
from tallygate.reconciliation.balancing import Settlement, balances, settle
from tallygate.reconciliation.settled_json import document
from tallygate.reconciliation.showing import lines
from tallygate.reconciliation.terms import EVERYTHING
from tests.tallygate.site import HOUR, Site

pytestmark = pytest.mark.anyio


async def sold(site: Site, customers: Sequence[str] = ("a", "b", "c")) -> None:
    """Two hours of use, recorded; a third one is open."""
    for customer in customers:
        site.buy(f"i-{customer}", customer)
    for _ in range(3):
        for number, customer in enumerate(customers, start=1):
            site.call(customer=customer, instance=f"i-{customer}", tokens=700 * number)
        await site.flush()
        await site.drain()
        site.clock.advance(ms=HOUR_MS)
        site.close()
    for customer in customers:
        site.call(customer=customer, instance=f"i-{customer}", tokens=1)
    await site.flush()
    await site.drain()


def settled(site: Site) -> Settlement:
    return settle(site.engine, EVERYTHING)


async def test_what_was_used_stands_somewhere(site: Site) -> None:
    """In records, in the remainder, or not yet."""
    await sold(site)
    found = settled(site)
    assert found.exact
    assert found.instances == 3
    total = found.totals["tokens_total"]
    assert total.used == 3 * 2 * 700 * (1 + 2 + 3) + 3 * 2
    assert (total.open, total.waiting, total.difference) == (6, 0, 0)
    assert total.in_records + total.remainder == (total.used - 6) * 10_000
    assert total.states["pending"].records == 9


@pytest.mark.parametrize("at_once", [1, 3, 6])
async def test_no_instance_is_overlooked_or_counted_twice(site: Site, at_once: int) -> None:
    """However many are read together; unusual ids too."""
    await sold(site, ["a", "B", "ä", "中", "a b", "-"])
    found = [one.instance_id for one in balances(site.engine, EVERYTHING, at_once)]
    assert sorted(found) == sorted(["i-a", "i-B", "i-ä", "i-中", "i-a b", "i--"])


@pytest.mark.parametrize(
    ("statement", "kinds"),
    [
        (update(UsageRecord).values(value="1.2345"), {"value"}),
        (update(UsageRecord).values(unit=999), {"value"}),
        (update(UsageRecord).values(origins="[]", quantity=1), {"hours", "value"}),
        (update(UsageRecord).values(state="gone"), {"rule"}),
        (update(UsageWindow).values(recorded=col(UsageWindow.recorded) - 1), {"hours"}),
        (update(UsageWindow).values(recorded=col(UsageWindow.quantity) + 1), {"hours", "recorded"}),
    ],
)
async def test_what_is_changed_by_hand_is_found(
    site: Site, statement: Any, kinds: set[str]
) -> None:
    """In the instance that was changed, and in no other."""
    await sold(site)
    table = statement.entity_description["entity"]
    with writing(site.engine) as session:
        session.execute(
            statement.where(
                table.instance_id == "i-b", table.window == HOUR + 1, table.meter == "tokens_total"
            )
        )
    found = settled(site)
    assert not found.exact
    assert {each.kind for each in found.differences} == kinds
    assert {each.instance_id for each in found.differences} == {"i-b"}
    assert {each.meter for each in found.differences} == {"tokens_total"}


async def test_a_record_that_is_gone_is_found(site: Site) -> None:
    """And so is a remainder or a bucket out of nowhere."""
    await sold(site)
    with writing(site.engine) as session:
        session.execute(
            delete(UsageRecord).where(
                col(UsageRecord.instance_id) == "i-a", col(UsageRecord.window) == HOUR
            )
        )
        session.add(Bucket(instance_id="i-b", window=HOUR, name="withheld", quantity=5))
        session.execute(
            update(Carry)
            .where(col(Carry.instance_id) == "i-c")
            .values(quantity=col(Carry.quantity) + 1)
        )
    found = {(each.instance_id, each.kind, each.first) for each in settled(site).differences}
    assert found == {("i-a", "hours", HOUR), ("i-b", "hours", HOUR), ("i-c", "value", 0)}


async def test_it_is_shown_and_written(site: Site) -> None:
    """As text with the difference by name, and as JSON with every instance and hour."""
    await sold(site)
    report = await site.report()
    text = "\n".join(lines(report, settled(site)))
    assert text.endswith("every difference is 0")
    assert "from the ledger to the marketplace: 3 instances" in text
    with writing(site.engine) as session:
        session.execute(update(UsageRecord).values(value="9.0000"))
    found = settled(site)
    text = "\n".join(lines(report, found))
    assert "NOT EXACT: usage and records of instances differ" in text
    assert "the values of its records differ from what they cover" in text
    accounts: list[Balance] = list(balances(site.engine, EVERYTHING))
    said = json.loads("".join(document(report, accounts, Settlement(), None)))
    assert (said["exact"], said["settled"]["exact"]) == (False, False)
    assert [each["instance_id"] for each in said["instances"]] == ["i-a", "i-b", "i-c"]
    assert said["instances"][0]["hours"][0]["used"] == 1400


async def test_differences_without_end_are_counted(site: Site) -> None:
    """Not all of them are kept."""
    await sold(site)
    with writing(site.engine) as session:
        session.execute(update(UsageRecord).values(state="odd"))
    (one, *_) = list(balances(site.engine, EVERYTHING))
    found = Settlement()
    for _ in range(4000):
        found.add(one)
    assert len(found.differences) == 10_000
    assert found.more == 2000
    assert not found.exact


async def test_instances_that_are_only_in_records_are_seen(site: Site) -> None:
    """Their usage is gone from the ledger: everything they carry stands too much."""
    await sold(site, ["a"])
    with writing(site.engine) as session:
        session.execute(delete(UsageWindow).where(col(UsageWindow.instance_id) == "i-a"))
    with reading(site.engine) as session:
        carried = sum(session.exec(select(UsageRecord.quantity)))
    found = settled(site)
    hours = [each for each in found.differences if each.kind == "hours"]
    assert sum(each.amount for each in hours) >= carried * 10_000


async def test_what_a_person_withheld_is_told_apart(site: Site) -> None:
    """It is no difference and nothing that the marketplace refused; it is counted once."""
    await sold(site)
    with writing(site.engine) as session:
        of_a_kind = update(UsageRecord).where(col(UsageRecord.state) == "pending")
        session.execute(of_a_kind.values(state="rejected", code="withheld"))
    found = settled(site)
    assert found.exact
    total = found.totals["tokens_total"]
    assert {state: stand.records for state, stand in total.states.items()} == {"withheld": 9}
