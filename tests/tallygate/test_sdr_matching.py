import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import update
from sqlmodel import col, select

from billing_sync.models import UsageRecord
from billing_sync.store.engine import reading, writing
from metering.windows import HOUR_MS
from tallygate.reconciliation.sdr import Matched
from tallygate.reconciliation.sdr_matching import match
from tallygate.reconciliation.sdr_reading import read_list
from tests.tallygate.site import Site

pytestmark = pytest.mark.anyio


@pytest.fixture
async def sent(site: Site) -> Site:
    """Three records that the marketplace has taken."""
    site.buy("i")
    for _ in range(3):
        site.call(instance="i", tokens=1000)
        await site.flush()
        await site.drain()
        site.clock.advance(ms=HOUR_MS)
        site.close()
    states(site, "sent")
    return site


def states(site: Site, state: str, *serials: str) -> None:
    statement = update(UsageRecord).values(state=state)
    if serials:
        statement = statement.where(col(UsageRecord.metering_sn).in_(serials))
    with writing(site.engine) as session:
        session.execute(statement)


def records(site: Site) -> Sequence[UsageRecord]:
    with reading(site.engine) as session:
        return session.exec(select(UsageRecord).order_by(col(UsageRecord.begin))).all()


def rows(site: Site) -> list[dict[str, str]]:
    """As the marketplace would list them."""
    return [
        {
            "话单流水号": record.metering_sn,
            "实例ID": record.instance_id,
            "开始时间": str(record.begin),
            "结束时间": str(record.end),
            "用量": record.value,
            "状态": "有效",
        }
        for record in records(site)
    ]


def matched(site: Site, listed: Sequence[dict[str, str]]) -> Matched:
    path = site.folder / "list.csv"
    with path.open("w", newline="", encoding="gbk") as file:
        writer = csv.DictWriter(file, list(rows(site)[0]))
        writer.writeheader()
        writer.writerows(listed)
    return match(site.engine, read_list(path, 0), site.clock.now_ms())


def kinds(found: Matched) -> list[tuple[str, int]]:
    return [(each.kind, each.line) for each in found.findings]


async def test_equal_records_are_confirmed(sent: Site) -> None:
    """Once: the second time it is no news."""
    found = matched(sent, rows(sent))
    assert found.exact
    assert (found.lines, found.equal, found.confirmed) == (3, 3, 3)
    assert {record.state for record in records(sent)} == {"confirmed"}
    again = matched(sent, rows(sent))
    assert (again.exact, again.equal, again.confirmed) == (True, 3, 0)


async def test_instance_and_interval_name_a_record_too(sent: Site) -> None:
    """The marketplace may keep a number of its own."""
    listed = [{**row, "话单流水号": number} for row, number in zip(rows(sent), "123", strict=True)]
    assert matched(sent, listed).confirmed == 3


@pytest.mark.parametrize("state", ["sending", "collected", "rejected", "expired", "pending"])
async def test_the_marketplace_knows_better(sent: Site, state: str) -> None:
    """What it lists, it has, whatever we thought."""
    states(sent, state)
    assert matched(sent, rows(sent)).confirmed == 3


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"用量": "2.0001"}, "value"),
        ({"状态": "校验失败"}, "refused"),
        ({"实例ID": "other"}, "interval"),
        ({"结束时间": "1790000000"}, "interval"),
        ({"用量": ""}, "unreadable"),
    ],
)
async def test_what_differs_is_found_and_not_confirmed(
    sent: Site, change: dict[str, str], kind: str
) -> None:
    """By its line."""
    one, other, last = rows(sent)
    found = matched(sent, [one, {**other, **change}, last])
    assert (kind, 3) in kinds(found)
    assert [record.state for record in records(sent)] == ["confirmed", "sent", "confirmed"]


async def test_what_one_side_lacks_is_found(sent: Site) -> None:
    """Between the first and the last record that both have."""
    one, other, last = rows(sent)
    found = matched(sent, [one, last, {**other, "话单流水号": "x", "实例ID": "y"}])
    assert kinds(found) == [("unknown", 4), ("missing", 0)]
    assert found.findings[1].metering_sn == other["话单流水号"]
    assert "sent here" in found.findings[1].text
    assert kinds(matched(sent, [one, other])) == []  # the list ends before the last one


async def test_a_record_that_is_listed_twice_is_found(sent: Site) -> None:
    """It was charged twice, unless the list is wrong."""
    one, other, last = rows(sent)
    assert kinds(matched(sent, [one, other, one, last])) == [("twice", 4)]


async def test_what_was_never_sent_cannot_be_listed(sent: Site) -> None:
    """Held, and yet there: somebody must look."""
    serial = records(sent)[1].metering_sn
    states(sent, "held", serial)
    assert kinds(matched(sent, rows(sent))) == [("unsent", 3)]
    assert records(sent)[1].state == "held"


async def test_a_long_list_is_taken_in_parts(sent: Site) -> None:
    """Findings are kept up to a bound, and counted beyond."""

    def strangers() -> Iterator[dict[str, str]]:
        for number in range(10_400):
            yield {**rows_sent[0], "话单流水号": f"s{number}", "实例ID": "z"}

    rows_sent = rows(sent)
    found = matched(sent, [*strangers(), *rows_sent])
    assert (found.confirmed, len(found.findings), found.more) == (3, 10_000, 400)


async def test_an_empty_list_speaks_of_no_time(sent: Site, tmp_path: Path) -> None:
    """So nothing is missing in it."""
    found = matched(sent, [])
    assert (found.exact, found.lines) == (True, 0)
