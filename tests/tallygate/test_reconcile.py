import pytest
from sqlalchemy import update
from sqlmodel import col

from billing_sync.models import UsageWindow
from billing_sync.store.engine import writing
from billing_sync.store.lanes import forget_lane
from metering.board import Open
from metering.connection import text_of
from metering.lanes import INFO, State
from metering.partitions import live_key, partition_of
from metering.sealing import retire, seal
from metering.segments import AUDIT, segment_files
from metering.usage import Outcome
from metering.windows import HOUR_MS
from tallygate.reconciliation.comparing import Verdict
from tallygate.reconciliation.report_json import as_json
from tallygate.reconciliation.reporting import Report
from tallygate.reconciliation.showing import lines
from tallygate.reconciliation.terms import Numbers, Place, Span
from tests.tallygate.site import HOUR, MINUTE, PARTITIONS, Site, folder_of

pytestmark = pytest.mark.anyio


def differing(report: Report) -> list[Place]:
    return [row.place for row in report.differing]


def text(report: Report) -> str:
    return "\n".join(lines(report))


async def test_what_is_counted_is_compared_wherever_it_is(site: Site) -> None:
    """Some of it in the ledger, some set aside, some in Redis, some on its way."""
    site.calls(20, customer="")
    await site.flush()
    await site.drain()
    site.calls(20, customer="")
    await site.flush()
    for partition in range(PARTITIONS):  # and the control plane dies before the ledger has it
        head = await site.counters.head(partition)
        await site.counters.set_aside(
            partition, epoch=head.epoch, last=head.last, new_id=f"aside-{partition}"
        )
    site.calls(20, customer="")
    await site.flush()
    site.call("lane-1", "late-one", 5)
    report = await site.report()
    assert report.exact
    assert {row.verdict for row in report.rows} == {Verdict.EQUAL}
    calls = next(one for one in report.sums() if one.meter == "requests")
    assert (calls.journal, calls.held.quantity, calls.on_the_way) == (60, 60, 1)
    (lane,) = report.lanes
    assert (lane.state, lane.records, lane.end, lane.on_the_way) == (State.LIVE, 61, 61, 1)
    assert (lane.counted_through, lane.booked_through) == (60, 20)
    assert "every difference is 0" in text(report)


async def test_nothing_is_equal_to_nothing(site: Site) -> None:
    """An installation that has served nobody."""
    report = await site.report()
    assert report.exact
    assert (report.rows, report.lanes) == ([], [])
    assert "every difference is 0" in text(report)


@pytest.mark.parametrize("change", [1, -1])
async def test_a_row_changed_by_hand_is_found(site: Site, change: int) -> None:
    """And it is the only one."""
    site.calls(5, customer="a")
    site.calls(5, customer="b")
    await site.flush()
    await site.drain()
    with writing(site.engine) as session:
        session.execute(
            update(UsageWindow)
            .where(col(UsageWindow.customer_id) == "b", col(UsageWindow.meter) == "tokens_in")
            .values(quantity=col(UsageWindow.quantity) + change)
        )
    report = await site.report()
    assert not report.exact
    assert differing(report) == [Place(HOUR, "b", "", "tokens_in")]
    assert [row.difference for row in report.differing] == [change]
    assert "NOT EXACT: a difference in 1 row" in text(report)


async def test_a_field_incremented_in_redis_is_found(site: Site) -> None:
    """Before it is drained, and afterwards."""
    site.call(customer="a", instance="i")
    await site.flush()
    key = live_key(partition_of("a", PARTITIONS))
    field = next(name for name in map(text_of, await site.redis.hkeys(key)) if "\x1fi\x1f" in name)
    await site.redis.hincrby(key, field, 1)
    place = Place(HOUR, "a", "i", "tokens_total")
    assert differing(await site.report()) == [place]
    await site.drain()
    assert differing(await site.report()) == [place]


async def test_a_missing_file_of_a_journal_is_found(site: Site) -> None:
    """The numbers that are gone are named, and so is what they held."""
    site.calls(1000)
    await site.flush()
    await site.drain()
    left = site.as_left_behind("copy")
    lane = folder_of(left, "lane-1")
    segment_files(lane.path)[1].unlink()
    report = await site.report(left)
    (missing,) = report.lanes[0].missing
    assert 1 < missing.first < missing.last < 1000
    assert not report.exact
    lost = missing.last - missing.first + 1
    calls = next(row for row in report.rows if row.place.meter == "requests")
    assert (calls.difference, calls.verdict) == (lost, Verdict.DIFFERS)
    assert f"MISSING {missing.first}..{missing.last}" in text(report)


@pytest.mark.parametrize("sealed", [True, False])
async def test_a_damaged_journal_is_found(site: Site, sealed: bool) -> None:
    """What follows a torn record is not believed; what was sealed or closed must be there."""
    site.calls(2000)
    await site.flush()
    await site.drain()
    left = site.as_left_behind("copy")
    lane = folder_of(left, "lane-1")
    if sealed:
        seal(lane, site.clock.now_ms())
    path = segment_files(lane.path)[1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    report = await site.report(left)
    (missing,) = report.lanes[0].missing
    assert not report.exact
    assert missing.first == report.lanes[0].end + 1
    assert missing.last > missing.first + 100


async def test_a_live_lane_that_lacks_what_redis_has_is_found(site: Site) -> None:
    """Its process lives, so no power cut explains it."""
    site.calls(5)
    await site.flush()
    path = segment_files(site.journal / "lane-1")[0]
    content = bytearray(path.read_bytes())
    at = content.index(b"tokens_total")
    content[content.index(b"tokens_total", at + 100)] ^= 1  # of the second record
    path.write_bytes(content)
    report = await site.report()
    assert report.lanes[0].missing == [Numbers(2, 5)]
    assert not report.exact
    assert {row.verdict for row in report.rows} == {Verdict.DIFFERS}


async def test_errors_that_are_missing_are_found(site: Site) -> None:
    """They used nothing, so no sum differs; the trail has a hole all the same."""
    for _ in range(2000):
        site.call(tokens=0)
    await site.flush()
    left = site.as_left_behind("copy")
    segment_files(folder_of(left, "lane-1").path)[1].unlink()
    report = await site.report(left)
    assert report.differing == []
    assert not report.exact
    assert "NOT EXACT: records cannot be read" in text(report)


async def test_a_lane_that_cannot_be_read_is_no_lane_elsewhere(site: Site) -> None:
    """A person must look at it: what it counted cannot be checked."""
    site.calls(5)
    await site.flush()
    await site.drain()
    left = site.as_left_behind("copy")
    (folder_of(left, "lane-1").path / INFO).write_text("{")
    report = await site.report(left)
    assert (report.unreadable, report.elsewhere, report.exact) == (["lane-1"], [], False)
    assert "lane lane-1 cannot be read" in text(report)
    assert as_json(report)["unreadable"] == ["lane-1"]


async def test_late_usage_is_compared_by_the_hour_it_was_used_in(site: Site) -> None:
    """However late it was booked."""
    site.buy("i")
    site.call(instance="i", tokens=5)
    await site.flush()
    await site.drain()
    site.call("lane-2", instance="i", tokens=7)
    site.clock.advance(ms=HOUR_MS)
    site.close()
    await site.flush()
    await site.drain()
    report = await site.report()
    assert report.exact
    row = next(row for row in report.rows if row.place == Place(HOUR, "a", "i", "tokens_total"))
    assert (row.journal, row.held.quantity, row.held.late) == (24, 24, 14)
    assert "tokens_total" in text(report)


async def test_usage_from_a_fast_clock_is_compared_by_its_own_hour(site: Site) -> None:
    """It is billed in the present one."""
    site.clock.advance(ms=5 * HOUR_MS)
    site.call()
    site.clock.advance(ms=-5 * HOUR_MS)
    await site.flush()
    await site.drain()
    report = await site.report()
    assert report.exact
    assert {row.place.window for row in report.rows} == {HOUR + 5}
    assert all(row.held.clock == row.held.quantity for row in report.rows)


async def test_lost_records_are_named(site: Site) -> None:
    """A power cut took what Redis had counted: exactly that much, of that lane, is explained."""
    site.calls(5)
    left = site.as_left_behind("copy")
    site.calls(3)
    await site.flush()
    report = await site.report(left)
    assert report.exact
    (lane,) = report.lanes
    assert lane.state is State.DEAD
    assert lane.unexplained == {partition_of("a", PARTITIONS): Numbers(6, 8)}
    assert {(row.verdict, row.lanes) for row in report.rows} == {(Verdict.UNEXPLAINED, ("lane-1",))}
    assert [row.difference for row in report.rows if row.place.meter == "requests"] == [3]
    assert "unexplained: lane lane-1" in text(report)
    assert "every difference is named" in text(report)
    seal(folder_of(left, "lane-1"), site.clock.now_ms())
    assert (await site.report(left)).lanes[0].unexplained == lane.unexplained


async def test_lost_records_explain_nothing_else(site: Site) -> None:
    """What was added by hand beside them differs."""
    site.calls(5)
    left = site.as_left_behind("copy")
    site.calls(3)
    await site.flush()
    await site.drain()
    with writing(site.engine) as session:
        session.execute(
            update(UsageWindow)
            .where(col(UsageWindow.meter) == "requests")
            .values(quantity=col(UsageWindow.quantity) + 1)
        )
    report = await site.report(left)
    assert not report.exact
    assert Place(HOUR, "a", "", "requests") in differing(report)


async def test_lanes_of_another_disk_are_named(site: Site) -> None:
    """Their usage cannot be checked here, and is no difference."""
    site.calls(5, "lane-1")
    site.calls(5, "lane-2")
    await site.flush()
    await site.drain()
    report = await site.report(site.as_left_behind("here", "lane-1"))
    assert report.exact
    (other,) = report.elsewhere
    assert (other.lane, other.records) == ("lane-2", 5)
    assert {(row.verdict, row.lanes) for row in report.rows} == {(Verdict.ELSEWHERE, ("lane-2",))}
    assert "1 lane not here" in text(report)


async def test_a_lane_that_was_given_up_is_named_lost(site: Site) -> None:
    """It is known how far it came."""
    site.calls(5, "lane-1")
    site.calls(5, "lane-2")
    await site.flush()
    await site.drain()
    await forget_lane(site.engine, site.redis, "lane-2", site.clock.now_ms())
    report = await site.report(site.as_left_behind("here", "lane-1"))
    assert report.exact
    assert [(other.lane, other.lost) for other in report.elsewhere] == [("lane-2", True)]
    assert as_json(report)["findings"][0]["kind"] == "lost_lane"
    assert "lost_lane of lane lane-2" in text(report)


async def test_lanes_of_another_disk_hide_no_loss(site: Site) -> None:
    """Neither what is counted too little here, nor what was counted after they were gone."""
    site.calls(5, "lane-2", "a")
    await site.flush()
    await site.drain()
    site.clock.advance(ms=2 * HOUR_MS)
    site.calls(5, "lane-1", "a")
    await site.flush()
    await site.drain()
    here = site.as_left_behind("here", "lane-1")
    assert (await site.report(here)).exact
    with writing(site.engine) as session:
        session.execute(
            update(UsageWindow)
            .where(col(UsageWindow.window) == HOUR + 2)
            .values(quantity=col(UsageWindow.quantity) + 1)
        )
    report = await site.report(here)
    assert not report.exact
    assert {place.window for place in differing(report)} == {HOUR + 2}


async def test_retired_lanes_are_read_as_well(site: Site) -> None:
    """The audit trail is as good as the journal."""
    site.calls(500)
    await site.flush()
    await site.drain()
    left = site.as_left_behind("copy")
    lane = folder_of(left, "lane-1")
    seal(lane, site.clock.now_ms())
    retire(lane)
    report = await site.report(left)
    assert report.exact
    assert (report.lanes[0].state, report.lanes[0].records) == (State.RETIRED, 500)
    assert report.covered == Span()


async def test_hours_without_their_audit_trail_are_left_out(site: Site) -> None:
    """And that is said."""
    site.calls(500)
    site.clock.advance(ms=HOUR_MS)
    site.calls(500)
    await site.flush()
    await site.drain()
    left = site.as_left_behind("copy")
    lane = folder_of(left, "lane-1")
    seal(lane, site.clock.now_ms())
    retire(lane)
    segment_files(lane.path, AUDIT)[0].unlink()
    report = await site.report(left)
    assert report.exact
    assert report.covered.first == HOUR + 1
    assert {row.place.window for row in report.rows} == {HOUR + 1}
    assert report.lanes[0].removed_through > 0
    assert report.lanes[0].missing == []
    assert "no longer in the journals of this disk" in text(report)
    assert as_json(report)["covered_since"] == "2024-10-04T01:00:00Z"


async def test_a_lane_without_any_audit_trail_is_left_out(site: Site) -> None:
    """All that is left of it is where it ended."""
    site.calls(5)
    await site.flush()
    await site.drain()
    left = site.as_left_behind("copy")
    lane = folder_of(left, "lane-1")
    seal(lane, site.clock.now_ms())
    retire(lane)
    for path in segment_files(lane.path):
        path.unlink()
    report = await site.report(left)
    assert report.exact
    assert (report.rows, report.covered.first) == ([], HOUR + 1)
    assert report.lanes[0].missing == []


async def test_one_hour_alone_can_be_asked_for(site: Site) -> None:
    """Segments that lie before it are passed over; the lane's numbers stay those of the lane."""
    site.calls(500)
    site.clock.advance(ms=HOUR_MS)
    site.calls(7, "lane-1")
    site.clock.advance(ms=HOUR_MS)
    site.calls(9, "lane-1")
    await site.flush()
    await site.drain()
    report = await site.report(span=Span(HOUR + 1, HOUR + 2))
    assert report.exact
    assert {row.place.window for row in report.rows} == {HOUR + 1}
    assert report.records(counted=True) == 7
    assert (report.lanes[0].records, report.lanes[0].end) == (516, 516)


async def test_what_lies_before_but_is_not_in_the_ledger_is_looked_at(site: Site) -> None:
    """It is on its way, whatever hours are asked for."""
    site.calls(1000)
    site.clock.advance(ms=HOUR_MS)
    site.calls(7)
    report = await site.report(span=Span(HOUR + 1))
    assert (report.lanes[0].on_the_way, report.lanes[0].counted_through) == (1007, 0)
    assert report.records(counted=False) == 7


async def test_a_redis_that_is_emptied_is_left_out(site: Site) -> None:
    """The ledger stands for itself, and what it has not seen is on its way."""
    site.calls(10)
    await site.flush()
    await site.drain()
    site.calls(4)
    await site.flush()
    await site.redis.flushall()
    report = await site.report()
    assert report.exact
    assert report.ledger_alone == list(range(PARTITIONS))
    assert (report.lanes[0].counted_through, report.lanes[0].on_the_way) == (10, 4)
    assert "the ledger is compared alone" in text(report)


async def test_a_ledger_that_was_set_back_lacks_nothing(site: Site) -> None:
    """What it lost comes again from the journals: it is on its way."""
    site.calls(10)
    await site.flush()
    await site.redis.flushall()
    await site.drain()  # resets every partition
    report = await site.report()
    assert report.exact


async def test_exchanges_are_counted_by_how_they_ended(site: Site) -> None:
    """Opened = complete + other + open + uncertain."""
    site.call()
    site.call(outcome=Outcome.CLIENT_LEFT)
    site.call(outcome=Outcome.UPSTREAM_CUT, tokens=0)
    slot = site.lane("lane-1").begin(Open("r-open", "a", "chat", site.clock.now_ms()))
    done = site.lane("lane-1").begin(Open("r-done", "a", "chat", site.clock.now_ms()))
    site.call(slot=done)
    await site.flush()
    report = await site.report()
    said = as_json(report)
    assert said["exchanges"] == {
        "complete": 2,
        "client_left": 1,
        "upstream_cut": 1,
        "stopped": 0,
        "open_now": 1,
        "uncertain": 0,
    }
    assert said["records"] == {"counted": 4, "counted_with_usage": 3, "on_the_way": 0}
    killed = await site.report(site.as_left_behind("copy"))
    assert (killed.open_now, [each.request_id for each in killed.uncertain]) == (0, ["r-open"])
    assert "r-open" in text(killed)
    site.lane("lane-1").forget(slot)


async def test_uncertain_requests_are_those_of_the_hours_asked_for(site: Site) -> None:
    """By when they were begun."""
    site.lane("lane-1").begin(Open("r-open", "a", "chat", site.clock.now_ms()))
    killed = site.as_left_behind("copy")
    assert len((await site.report(killed, Span(HOUR, HOUR + 1))).uncertain) == 1
    assert (await site.report(killed, Span(HOUR + 1))).uncertain == []


async def test_a_record_without_its_slot_cleared_is_no_uncertain_one(site: Site) -> None:
    """The kill came between the two: the record decides."""
    record = site.call()
    site.lane("lane-1").begin(Open(record.request_id, "a", "chat", record.time_ms - 1))
    report = await site.report(site.as_left_behind("copy"))
    assert report.uncertain == []


async def test_whose_slot_was_not_cleared_is_looked_for_from_its_beginning(site: Site) -> None:
    """However late the hours are that were asked for."""
    record = site.call()
    site.lane("lane-1").begin(Open(record.request_id, "a", "chat", record.time_ms - 1))
    site.calls(600)
    await site.flush()
    await site.drain()
    report = await site.report(site.as_left_behind("copy"), Span(HOUR + 1))
    assert report.lanes[0].open == ()


async def test_the_clock_of_the_disk_does_not_matter(site: Site) -> None:
    """A step back writes no record out of order, and no difference."""
    site.calls(5)
    site.clock.advance(ms=-30 * MINUTE)
    site.calls(5)
    await site.flush()
    await site.drain()
    assert (await site.report()).exact
