import json
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import astuple, replace
from sqlalchemy import delete, update
from sqlmodel import select

from billing_sync.models import Bucket, Carry, Drain, PackageUse, UsageRecord, UsageWindow
from billing_sync.store import findings
from billing_sync.store.engine import reading, writing
from metering.board import Open
from metering.catalogue import agents_account
from metering.connection import connect_one
from metering.counters import Counters
from metering.findings import Finding
from metering.partitions import partition_of
from metering.sealing import retire, seal
from metering.segments import AUDIT, segment_files
from metering.windows import HOUR_MS
from tallygate.reconciliation.explain_json import explained_json, request_json
from tallygate.reconciliation.explain_showing import record_lines, request_lines
from tallygate.reconciliation.explaining import RecordExplained, Stands
from tallygate.reconciliation.from_record import explain_record
from tallygate.reconciliation.from_request import explain_request
from tallygate.reconciliation.terms import Place
from tests.tallygate.site import HOUR, MINUTE, PARTITIONS, Site, folder_of

pytestmark = pytest.mark.anyio


async def of_request(site: Site, request_id: str) -> tuple[dict[str, Any], str]:
    """As JSON, which can be written, and as text."""
    explained = await explain_request(site.stores, request_id)
    assert explained.known
    document = request_json(explained)
    return json.loads(json.dumps(document)), "\n".join(request_lines(explained))


async def of_record(site: Site, record: UsageRecord, limit: int = 50) -> tuple[Any, str]:
    explained = await explain_record(site.stores, record.metering_sn, limit)
    assert isinstance(explained, RecordExplained)
    return json.loads(json.dumps(explained_json(explained))), "\n".join(record_lines(explained))


def records(site: Site) -> Sequence[UsageRecord]:
    with reading(site.engine) as session:
        return session.exec(select(UsageRecord).order_by("begin")).all()


async def test_a_request_is_followed_on_its_way(site: Site) -> None:
    """From the journal to Redis, to the ledger by a drain, to its usage record."""
    site.buy("i")
    site.call(tokens=500, instance="i")
    asked = site.call(tokens=1000, instance="i").request_id

    (found,) = (await of_request(site, asked))[0]["records"]
    assert (found["stands"], found["drain"]) == (Stands.JOURNAL, None)
    assert (found["lane"], found["number"], found["customer_id"]) == ("lane-1", 2, "a")
    assert found["quantities"]["tokens_in"] == {"value": 1000, "grade": "exact"}

    await site.flush()
    (found,) = (await of_request(site, asked))[0]["records"]
    assert found["stands"] == Stands.REDIS

    await site.drain()
    (found,) = (await of_request(site, asked))[0]["records"]
    (charged,) = found["charged"]
    assert found["stands"] == Stands.LEDGER
    assert found["drain"]["at"] == "2024-10-04T00:10:00Z"
    assert charged["booked"] == [{"window_start": "2024-10-04T00:00:00Z", "mark": None}]
    assert (charged["records"], charged["unrecorded"]) == ([], 3000)

    site.clock.advance(ms=HOUR_MS)
    site.close()
    said, text = await of_request(site, asked)
    (charged,) = said["records"][0]["charged"]
    (record,) = charged["records"]
    assert (record["of_this_hour"], record["value"], record["state"]) == (3000, "3.0000", "pending")
    assert charged["unrecorded"] == 0
    assert f"{record['metering_sn']} (pending) carries 3,000 of the hour" in text
    assert "1,000 tokens_in, exact" in text
    assert "in the ledger, by drain id" in text


async def test_what_the_agents_gateway_charges_is_followed_too(site: Site) -> None:
    """To the bucket of its name; and an id that came again says so."""
    account = agents_account("TOKENS", "a")
    asked = site.call(tokens=500, instance=account)
    site.lane("lane-1").append(replace(asked, repeat=True))
    await site.flush()
    await site.drain()
    said, text = await of_request(site, asked.request_id)
    assert [each["repeat"] for each in said["records"]] == [False, True]
    assert text.count("its id had been counted shortly before") == 1
    assert f"1,000 tokens_total by KooGallery's Agents gateway: {account}" in text
    assert "not yet; the close names it agents_gateway" in text
    site.clock.advance(ms=HOUR_MS)
    site.close()
    _, text = await of_request(site, asked.request_id)
    assert "2,000 of the hour it is billed in stand in bucket agents_gateway" in text


async def test_a_request_is_found_in_the_audit_trail(site: Site) -> None:
    """Whatever segment it is in; and whatever other request is next to it."""
    asked = [site.call(tokens=number % 7 + 1).request_id for number in range(600)]
    await site.flush()
    await site.drain()
    left = site.as_left_behind("copy")
    lane = folder_of(left, "lane-1")
    seal(lane, site.clock.now_ms())
    retire(lane)
    assert segment_files(lane.path, AUDIT)
    for number in (1, 300, 600):
        (placed,) = (await explain_request(left, asked[number - 1])).records
        assert (placed.hit.entry.number, placed.stands) == (number, Stands.LEDGER)


async def test_what_lies_behind_a_lanes_end_is_no_record(site: Site) -> None:
    """A torn record ended it there when it was sealed; what follows was never counted."""
    asked = [site.call(tokens=number % 7 + 1).request_id for number in range(1000)]
    left = site.as_left_behind("copy")
    lane = folder_of(left, "lane-1")
    path = segment_files(lane.path)[0]
    whole = path.read_bytes()
    torn = bytearray(whole)
    torn[len(torn) // 2] ^= 1
    path.write_bytes(torn)
    sealed = seal(lane, site.clock.now_ms())
    path.write_bytes(whole)
    assert (await explain_request(left, asked[sealed.end - 1])).known
    assert not (await explain_request(left, asked[sealed.end])).known
    assert not (await explain_request(left, asked[-1])).known


async def test_an_unknown_id_is_unknown(site: Site) -> None:
    """Also one that is part of another one, or a name that stands in the journal."""
    asked = site.call(instance="i").request_id
    for unknown in ("nobody", asked[:-1], "chat", "i"):
        assert not (await explain_request(site.stores, unknown)).known
        assert await explain_record(site.stores, unknown, 50) is None


async def test_an_error_used_nothing(site: Site) -> None:
    """It has a record all the same."""
    asked = site.call(tokens=0).request_id
    said, text = await of_request(site, asked)
    assert said["records"][0]["quantities"] == {}
    assert "nothing: its reply was an error" in text


async def test_a_request_under_way_is_open(site: Site) -> None:
    """And uncertain once its process is dead, whoever knows of it."""
    site.lane("lane-1").begin(Open("r-open", "a", "chat", site.clock.now_ms()))
    said, text = await of_request(site, "r-open")
    assert (said["open"][0]["uncertain"], said["records"]) == (False, [])
    assert "is under way" in text
    left = site.as_left_behind("copy")
    explained = await explain_request(left, "r-open")
    assert "is uncertain: its process died" in "\n".join(request_lines(explained))
    sealed = seal(folder_of(left, "lane-1"), site.clock.now_ms())
    assert (await explain_request(left, "r-open")).open
    with writing(site.engine) as session:
        (slot,) = sealed.open
        findings.insert(session, [Finding("uncertain", "lane-1", "host", 0, *astuple(slot))])
    said, text = await of_request(site, "r-open")
    assert said["findings"][0]["kind"] == "uncertain"
    assert "is named uncertain in the ledger" in text


async def test_an_old_drain_is_forgotten(site: Site) -> None:
    """The history is kept for some days; the checkpoint still says that it is in the ledger."""
    asked = site.call().request_id
    await site.flush()
    await site.drain()
    with writing(site.engine) as session:
        session.execute(delete(Drain))
    said, text = await of_request(site, asked)
    assert (said["records"][0]["stands"], said["records"][0]["drain"]) == ("ledger", None)
    assert "its drain is no longer remembered" in text


async def test_a_redis_that_is_away_is_said(site: Site) -> None:
    """Then nobody knows whether it came so far."""
    asked = site.call().request_id
    site.stores = type(site.stores)(
        site.stores.installation,
        site.engine,
        Counters(nobody := connect_one("redis://127.0.0.1:1")),
        site.clock,
    )
    said, text = await of_request(site, asked)
    await nobody.aclose()
    assert (said["records"][0]["stands"], said["records"][0]["redis_read"]) == ("journal", False)
    assert "Redis cannot be read" in text


async def test_late_usage_is_found_where_it_is_booked(site: Site) -> None:
    """In the hour that was open when it came, and in that hour's record."""
    site.buy("i")
    early = site.call("lane-1", tokens=1000, instance="i").request_id
    await site.flush()
    await site.drain()
    late = site.call("lane-2", tokens=500, instance="i").request_id
    site.clock.advance(ms=HOUR_MS)
    site.close()
    await site.flush()
    await site.drain()
    site.clock.advance(ms=HOUR_MS)
    site.close()
    own, other = (
        {"mark": None, "window_start": "2024-10-04T00:00:00Z"},
        {
            "mark": "late",
            "window_start": "2024-10-04T01:00:00Z",
        },
    )
    (charged,) = (await of_request(site, early))[0]["records"][0]["charged"]
    assert charged["booked"] == [own]
    said, text = await of_request(site, late)
    (charged,) = said["records"][0]["charged"]
    assert other in charged["booked"]
    assert [record["of_this_hour"] for record in charged["records"]] == [2000, 1000]
    assert "late" in text

    first, second = records(site)
    said, text = await of_record(site, second)
    (hour,) = said["hours"]
    assert (hour["window_start"], hour["calls"]) == ("2024-10-04T00:00:00Z", 2)
    assert (hour["journal"], hour["redis_and_ledger"]) == (3000, 3000)
    assert (hour["this_record"], hour["other_records"]) == (1000, 2000)
    assert [each["metering_sn"] for each in said["other_records"]] == [first.metering_sn]
    assert "other records of these hours" in text


async def test_a_usage_record_is_unfolded(site: Site) -> None:
    """Its hour's calls add up to what it and the others say; calls of others are not among them."""
    site.buy("i")
    asked = [site.call(tokens=10, instance="i").request_id for _ in range(5)]
    site.call(tokens=10, instance="j")
    site.call(tokens=10)
    await site.flush()
    await site.drain()
    site.clock.advance(ms=HOUR_MS)
    site.call(tokens=10, instance="i")
    site.close()
    (record,) = records(site)
    said, text = await of_record(site, record, limit=3)
    (hour,) = said["hours"]
    assert (hour["calls"], hour["journal"], hour["redis_and_ledger"]) == (5, 100, 100)
    assert (hour["this_record"], hour["other_records"], hour["unrecorded"]) == (100, 0, 0)
    assert [each["request_id"] for each in said["requests"]] == asked[:3]
    assert (said["calls"], said["quantity"], said["value"]) == (5, 100, "0.1000")
    assert "5 calls in these hours; the first 3" in text
    assert "0.1000: 100 tokens_total by units of 1,000" in text
    assert (await of_record(site, record, limit=0))[0]["requests"] == []


async def test_a_remainder_is_shown_where_it_waits(site: Site) -> None:
    """Below four decimals nothing is pushed; the next record takes it along."""
    site.buy("i", product="MILLIONS")
    asked = site.call(tokens=10, instance="i").request_id
    await site.flush()
    await site.drain()
    site.clock.advance(ms=HOUR_MS)
    site.close()
    said, text = await of_request(site, asked)
    (charged,) = said["records"][0]["charged"]
    assert (charged["records"], charged["waiting"], charged["unrecorded"]) == ([], 20, 0)
    assert "20 of the hour wait for the next record" in text
    site.call(tokens=45, instance="i")
    await site.flush()
    await site.drain()
    site.clock.advance(ms=HOUR_MS)
    site.close()
    (charged,) = (await of_request(site, asked))[0]["records"][0]["charged"]
    assert ([each["of_this_hour"] for each in charged["records"]], charged["waiting"]) == ([20], 0)
    (record,) = records(site)
    said, _ = await of_record(site, record)
    assert [(hour["calls"], hour["journal"], hour["this_record"]) for hour in said["hours"]] == [
        (1, 20, 20),
        (1, 90, 90),
    ]


async def test_calls_whose_journal_is_gone_are_missed(site: Site) -> None:
    """And it is said why."""
    site.buy("i")
    for _ in range(600):
        site.call(tokens=5, instance="i")
    await site.flush()
    await site.drain()
    site.clock.advance(ms=HOUR_MS + MINUTE)
    site.close()
    (record,) = records(site)
    left = site.as_left_behind("copy")
    lane = folder_of(left, "lane-1")
    seal(lane, site.clock.now_ms())
    retire(lane)
    segment_files(lane.path)[0].unlink()
    explained = await explain_record(left, record.metering_sn, 5)
    assert explained is not None
    (hour,) = explained.hours
    assert 0 < hour.journal < hour.account.held == 6000
    assert "have everything only from 2024-10-04T01:00:00Z on" in "\n".join(record_lines(explained))
    other = site.as_left_behind("elsewhere", "lane-1")
    for path in segment_files(folder_of(other, "lane-1").path):
        path.unlink()
    explained = await explain_record(other, record.metering_sn, 5)
    assert explained is not None
    assert explained.hours[0].calls == 0


async def test_packages_and_buckets_are_named(site: Site) -> None:
    """From a record that names its package, and from a request of the same hour."""
    site.buy("i")
    asked = site.call(tokens=1000, instance="i").request_id
    await site.flush()
    await site.drain()
    site.clock.advance(ms=HOUR_MS)
    site.close()
    with writing(site.engine) as session:
        session.add(PackageUse(package_id="K", instance_id="i", window=HOUR, quantity=2000))
        session.add(PackageUse(package_id="!overshoot", instance_id="i", window=HOUR, quantity=9))
        session.add(Bucket(instance_id="i", window=HOUR, name="overshoot", quantity=9))
        session.execute(update(UsageRecord).values(relate_pkg_instance="K"))
    (record,) = records(site)
    said, text = await of_record(site, record)
    assert (said["packages"], said["buckets"]) == ({"K": 2000}, {"overshoot": 9})
    assert "2,000 billed in these hours were given by package K" in text
    said, text = await of_request(site, asked)
    assert said["records"][0]["charged"][0]["buckets"] == {"overshoot": 9}
    assert "9 of the hour it is billed in stand in bucket overshoot" in text
    assert "value 2.0000, package K" in text


async def test_what_a_person_assigned_is_said(site: Site) -> None:
    """The request was charged to nobody; its hour was charged to an instance later."""
    site.buy("i")
    asked = site.call(tokens=1000).request_id
    await site.flush()
    await site.drain()
    with writing(site.engine) as session:
        session.add(
            UsageWindow(
                window=HOUR, origin=HOUR, customer_id="a", instance_id="i", quantity=2000,
                partition=partition_of("a", PARTITIONS), route="chat", meter="tokens_total",
                grade="exact", mark="assigned",
            )
        )  # fmt: skip
    said, text = await of_request(site, asked)
    assert said["records"][0]["assigned_of_the_hour"] == [
        {"instance_id": "i", "meter": "tokens_total", "quantity": 2000}
    ]
    assert "assigned   2,000 tokens_total of its customer's hour to instance i" in text
    site.clock.advance(ms=HOUR_MS)
    site.close()
    (record,) = records(site)
    said, text = await of_record(site, record)
    assert (said["hours"][0]["assigned"], said["hours"][0]["calls"]) == (2000, 0)
    assert "2,000 of these hours were assigned by a person" in text
    assert "what the journals lack" not in text
    report = await site.report()
    assert report.exact
    row = next(row for row in report.rows if row.place == Place(HOUR, "a", "i", "tokens_total"))
    assert (row.journal, row.held.quantity, row.held.assigned) == (0, 0, 2000)


async def test_what_a_value_says_besides_its_usage_is_shown(site: Site) -> None:
    """A remainder that it took over, here 700 tokens."""
    site.buy("i")
    site.call(tokens=1000, instance="i")
    await site.flush()
    await site.drain()
    with writing(site.engine) as session:
        session.add(Carry(instance_id="i", quantity=700 * 10_000))
    site.clock.advance(ms=HOUR_MS)
    site.close()
    (record,) = records(site)
    said, text = await of_record(site, record)
    assert (record.value, said["netted"]) == ("2.7000", "700")
    assert "netted     700 tokens_total of remainders and adjustments" in text
