"""A ledger set back to a backup: found out, stopped, and made exact again."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from billing_sync.act_models import RecordAct
from billing_sync.acting import Decision, perform
from billing_sync.errors import LogDamaged, NothingToRecover, RecordsClash
from billing_sync.finding_models import Salvage
from billing_sync.koogallery.outcomes import Blame, Kind, PushOutcome
from billing_sync.lineage import Reason
from billing_sync.models import Ahead, Instance, PackageUse, UsageRecord, UsageWindow
from billing_sync.parts import new_id
from billing_sync.recovery import recover
from billing_sync.states import Act
from billing_sync.store import ledger, stops
from billing_sync.store.engine import reading, writing
from metering.catalogue import Product, catalogue
from metering.connection import connect_one
from metering.errors import MeteringUnavailable
from metering.windows import HOUR_MS
from tests.billing_sync.books import HOUR, METER, MINUTE, START
from tests.billing_sync.pushing import ACCEPTED, log_of
from tests.billing_sync.recoveries import NO_ANSWER, Plane
from tests.databases import Database

pytestmark = pytest.mark.anyio


@pytest.fixture
async def plane(database: Database, redis: Redis) -> AsyncIterator[Plane]:
    """At 01:00: an hour of usage is closed and pushed, and a backup was made before that."""
    plane = Plane(database, redis)
    plane.books.buy("i")
    plane.books.buy("j")
    await plane.runner.run_once()
    plane.use("i", 1000)
    await plane.flush()
    await plane.runner.run_once()
    plane.back_up()
    plane.use("i", 1505)
    plane.use("j", 700, lane=1)
    await plane.to_the_next_hour()
    assert len(plane.market.taken) == 2
    yield plane
    plane.engine.dispose()


def stop(plane: Plane) -> str | None:
    with reading(plane.engine) as session:
        found = stops.stopped(session)
        return found and found.reason


async def test_set_back_and_recovered(plane: Plane, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is recorded or pushed before `recover`, drains go on, and after it every use is at the
    marketplace exactly once."""
    plane.restore()
    plane.use("i", 20)
    await plane.flush()
    for _ in range(2):
        await plane.runner.run_once()
        await plane.flush()
        plane.clock.advance(ms=HOUR_MS)
    assert plane.books.records("i") == []
    assert len(plane.market.taken) == 2
    assert plane.is_halted()
    assert sum("tallygate recover" in line.getMessage() for line in caplog.records) == 1
    assert sum(row.quantity for row in plane.all(UsageWindow)) == 1000 + 1505 + 700 + 20
    done = plane.recover()
    assert (done.batches, done.sent, done.pending, done.ahead) == (1, 2, 0, 0)
    assert (done.first, done.last) == (START, START + HOUR_MS)
    await plane.runner.run_once()
    assert not plane.is_halted()
    assert "recording and pushing go on" in caplog.messages
    await plane.come_to_rest()
    plane.audit()
    assert [(r.quantity, r.window) for r in plane.books.records("i")] == [
        (2505, HOUR),
        (20, HOUR + 1),
    ]


async def test_recovered_before_the_usage_comes_again(plane: Plane) -> None:
    """It is known to be recorded when it does, window by window."""
    plane.restore()
    await plane.runner.sync()
    done = plane.recover()
    assert done.ahead == 1505 + 700
    plane.use("i", 30)
    await plane.runner.sync()
    await plane.come_to_rest()
    plane.audit()
    assert [r.quantity for r in plane.books.records("i")] == [2505, 30]


async def test_usage_that_never_comes_again_takes_nothing_from_new_usage(plane: Plane) -> None:
    """A lane is lost together with the ledger: what it had counted is pushed already and stays named;
    what is used in other hours is billed in full."""
    plane.restore()
    await plane.runner.sync()
    plane.recover()
    plane.lanes[1].kept.clear()
    plane.use("j", 40)
    await plane.come_to_rest()
    assert [r.quantity for r in plane.books.records("j")] == [700, 40]
    assert [(a.instance_id, a.quantity) for a in plane.all(Ahead)] == [("j", 700)]


async def test_twice_changes_nothing(plane: Plane) -> None:
    """And where nothing was set back nothing is done."""
    plane.restore()
    await plane.runner.sync()
    plane.recover()
    before = [record.model_dump() for record in plane.books.records("i")]
    with pytest.raises(NothingToRecover, match="knows every batch"):
        plane.recover()
    assert [record.model_dump() for record in plane.books.records("i")] == before


async def test_no_backup_no_recovery(plane: Plane) -> None:
    """A ledger that is whole is left alone."""
    with pytest.raises(NothingToRecover):
        plane.recover()


async def test_without_an_answer_it_is_pushed_again_as_it_was(plane: Plane) -> None:
    """The log does not say what became of the last batch: the same record goes again."""
    plane.use("i", 5)
    plane.market.judge = lambda _: NO_ANSWER
    await plane.to_the_next_hour()
    assert len(plane.market.taken) == 3
    plane.restore()
    await plane.runner.sync()
    done = plane.recover()
    assert (done.sent, done.pending) == (2, 1)
    await plane.come_to_rest()  # the marketplace checks it word for word
    plane.audit()


async def test_the_same_records_under_another_answer(plane: Plane) -> None:
    """The backup holds the records, but not that they were pushed: no second push is needed."""
    plane.use("i", 5)
    plane.market.judge = lambda _: NO_ANSWER
    await plane.to_the_next_hour()
    plane.back_up()
    plane.market.judge = lambda _: ACCEPTED
    plane.clock.advance(seconds=100)
    await plane.runner.outbox.push_due()
    pushes = len(plane.market.pushed)
    plane.restore()
    await plane.runner.sync()
    assert stop(plane) is not None
    plane.recover()
    await plane.runner.run_once()
    assert len(plane.market.pushed) == pushes
    await plane.come_to_rest()
    plane.audit()


@pytest.mark.parametrize("drains", [0, 1, 2])
async def test_how_far_it_was_set_back_does_not_matter(
    database: Database, redis: Redis, drains: int
) -> None:
    """By no drain, by one, by several, with nothing pushed meanwhile: found by what Redis tells,
    where there is anything to find."""
    plane = Plane(database, redis)
    plane.books.buy("i")
    await plane.runner.run_once()
    plane.back_up()
    for _ in range(drains):
        plane.use("i", 500)
        await plane.flush()
        await plane.runner.sync()
    plane.restore()
    await plane.runner.sync()
    assert (stop(plane) is not None) is (drains > 0)
    if drains:
        assert plane.runner.drainer.reasons == {Reason.SET_BACK: 1}
        assert plane.recover().batches == 0
        (salvaged,) = plane.all(Salvage)
        assert salvaged.reason == Reason.SET_BACK
    await plane.come_to_rest()
    plane.audit()
    plane.engine.dispose()


async def test_a_ledger_that_was_deleted(plane: Plane) -> None:
    """A fresh one beside an old Redis: billing is stopped, and what is not known is said."""
    plane.delete()
    await plane.runner.sync()
    assert stop(plane) == "the push log holds batches that the ledger has never seen"
    assert plane.runner.drainer.reasons == {Reason.SET_BACK: 1}
    done = plane.recover()
    assert (done.sent, done.unknown_instances) == (2, ["i", "j"])
    await plane.runner.run_once()
    assert stop(plane) is None
    for name in "ij":  # taken over again in whatever way: their hours stay billed
        plane.books.buy(name, recorded_until=START + HOUR_MS)
    await plane.come_to_rest()
    plane.audit()


async def test_redis_emptied_at_the_same_time(plane: Plane, redis: Redis) -> None:
    """It tells nothing; the push log does, before anything is closed."""
    plane.restore()
    await redis.flushall()
    plane.clock.advance(ms=2 * HOUR_MS)
    await plane.runner.run_once()
    assert stop(plane) == "the push log holds batches that the ledger has never seen"
    assert plane.books.records("i") == []
    plane.recover()
    await plane.come_to_rest()
    plane.audit()


async def test_redis_away_at_the_same_time(plane: Plane) -> None:
    """Nothing is cut or pushed either, though a release asks for it."""
    plane.restore()
    away = connect_one("unix:///nowhere/valkey.sock")
    plane.runner.redis = plane.runner.importer.redis = away
    plane.books.release("i")
    plane.clock.advance(seconds=10)
    with pytest.raises(MeteringUnavailable):
        await plane.runner.sync()
    assert plane.books.records("i") == []
    assert stop(plane) is not None
    await away.aclose()


async def test_only_redis_set_back_stops_nothing(plane: Plane, redis: Redis) -> None:
    """The ledger knows what it finds there; the lanes bring it again."""
    saved: dict[Any, Any] = await redis.hgetall("{p00}:live")
    for _ in range(2):
        plane.use("i", 9)
        await plane.flush()
        await plane.runner.sync()
    await redis.delete("{p00}:live")
    await redis.hset("{p00}:live", mapping=saved)
    await plane.runner.sync()
    assert plane.runner.drainer.reasons[Reason.STALE] == 1
    await redis.flushall()
    await plane.runner.sync()
    assert plane.runner.drainer.reasons[Reason.EMPTY] == 2
    assert stop(plane) is None
    await plane.come_to_rest()
    plane.audit()


async def test_found_once_however_often_the_reset_is_repeated(plane: Plane, redis: Redis) -> None:
    """Killed between the epoch in SQL and the one in Redis, and recovered before the reset was
    finished: the next run resets without stopping billing anew, and keeps no second copy."""
    plane.restore()
    drainer = plane.runner.drainer
    pair = await drainer.counters.read(0)
    with reading(plane.engine) as session:
        place = ledger.place(session, 0)
    assert drainer._resetter.start_epoch(0, place, pair) is not None
    assert stop(plane) is not None
    salvaged = len(plane.all(Salvage))
    plane.recover()
    await plane.runner.sync()
    assert drainer.reasons == {Reason.STALE: 1}
    assert stop(plane) is None
    assert len(plane.all(Salvage)) == salvaged == 1
    await plane.come_to_rest()
    plane.audit()


async def test_an_instance_bought_after_the_backup(plane: Plane) -> None:
    """Is named; its records are kept, and when its line is provisioned again they are not covered."""
    plane.books.buy("new")
    plane.use("new", 300)
    await plane.to_the_next_hour()
    plane.restore()
    await plane.runner.sync()
    done = plane.recover()
    assert done.unknown_instances == ["new"]
    assert done.ahead == 300 + 1505 + 700
    plane.books.buy("new", recorded_until=START + 2 * HOUR_MS)
    await plane.come_to_rest()
    assert [r.quantity for r in plane.books.records("new")] == [300]
    assert [r.quantity for r in plane.books.records("i")] == [2505]


async def test_what_packages_gave_is_a_fact(plane: Plane) -> None:
    """The usage comes again in another order, and still no package gives more than it holds."""
    plane.books.buy("stop", "STOP", started=START - HOUR_MS)
    plane.back_up()
    plane.use("i", 8_000)
    await plane.flush([0])
    await plane.runner.sync()
    plane.use("j", 8_000, lane=1)
    await plane.to_the_next_hour()
    given = {
        r["instance_id"]: r["usage_value"]
        for r in plane.market.taken.values()
        if "relate_pkg_instance" in r
    }
    assert given == {"i": "8.0000", "j": "2.0000"}
    plane.restore()
    await plane.runner.sync()
    await plane.flush([1])  # the other one first
    await plane.runner.sync()
    plane.recover()
    await plane.come_to_rest()
    plane.audit()
    assert plane.pushed(package="stop") == 10
    uses = {(u.package_id, u.instance_id): u.quantity for u in plane.all(PackageUse) if u.quantity}
    assert uses == {("stop", "i"): 8000, ("stop", "j"): 2000, ("!overshoot", "j"): 6000}
    assert plane.books.buckets("j") == {"overshoot": 6000}


async def test_ordinary_packages_are_expected_to_have_given_as_before(plane: Plane) -> None:
    """Usage in plain records still counts against them when it comes again."""
    plane.books.buy("pack", "PACK", started=START - HOUR_MS)
    plane.use("i", 3_000)
    await plane.flush()
    await plane.runner.sync()
    plane.back_up()
    plane.use("i", 4_000)
    await plane.to_the_next_hour()
    plane.restore()
    await plane.runner.sync()
    plane.recover()
    await plane.come_to_rest()
    plane.audit()
    (use,) = plane.all(PackageUse)
    assert (use.quantity, use.recorded) == (7_000, 7_000)


async def test_the_remainder_is_as_it_was(database: Database, redis: Redis) -> None:
    """Units too small to bill wait on both sides of the backup, and are billed once."""
    plane = Plane(
        database, redis, catalogue([Product(product_id="TOKENS", meter=METER, unit=10**6)])
    )
    plane.books.buy("i")
    await plane.runner.run_once()
    plane.use("i", 60)
    await plane.to_the_next_hour()  # waits
    plane.back_up()
    for quantity in (70, 50, 90):
        plane.use("i", quantity)
        await plane.to_the_next_hour()
    assert len(plane.market.taken) == 2
    plane.restore()
    await plane.runner.sync()
    plane.recover()
    plane.books.audit("i", unit=10**6)
    plane.use("i", 95)
    await plane.come_to_rest()
    plane.audit()
    assert sum(r.quantity for r in plane.books.records("i")) == 365
    plane.engine.dispose()


async def test_records_made_meanwhile_are_not_written_over(plane: Plane) -> None:
    """By somebody who knew of neither log nor stop: a person has to decide, and nothing is changed."""
    plane.restore()
    await plane.runner.sync()
    with writing(plane.engine) as session:
        row = UsageRecord(
            metering_sn="theirs",
            instance_id="i",
            customer_id="cust-1",
            product_id="TOKENS",
            meter="tokens_total",
            begin=START + MINUTE,
            end=START + 2 * MINUTE,
            recorded_at=0,
            quantity=1,
            value="1",
            window=HOUR,
        )
        session.add(row)
    with pytest.raises(RecordsClash, match="overlap"):
        plane.recover()
    assert [r.metering_sn for r in plane.books.records("i")] == ["theirs"]
    assert plane.books.records("j") == []
    assert stop(plane) is not None


async def test_another_record_under_the_same_number(plane: Plane) -> None:
    """Is a clash too."""
    (record, _) = plane.all(UsageRecord)
    plane.restore()
    await plane.runner.sync()
    with writing(plane.engine) as session:
        session.add(UsageRecord(**(record.model_dump() | {"value": "9.0000"})))
    with pytest.raises(RecordsClash, match=record.metering_sn):
        plane.recover()


async def test_a_damaged_line_is_not_passed_over_in_silence(plane: Plane) -> None:
    """A batch may be missing: the operator says whether to go on without it."""
    plane.use("i", 5)
    await plane.to_the_next_hour()
    (file,) = log_of(plane.engine).folder.glob("*.jsonl")
    file.write_bytes(file.read_bytes().replace(b'"value":"2.5050"', b'"value":"9.5050"', 1))
    plane.restore()
    with pytest.raises(LogDamaged, match=r"000001-\d{4}-\d\d.jsonl:1"):
        plane.recover()
    now_ms = plane.clock.now_ms()
    log = log_of(plane.engine)
    done = recover(plane.engine, log, plane.catalogue, now_ms, pass_over_damage=True)
    assert (done.batches, len(done.damaged)) == (1, 1)


async def test_a_crash_inside_leaves_everything_as_it_was(plane: Plane) -> None:
    """It is one transaction; the next recovery begins anew."""

    class Broken(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            raise RuntimeError("the power went")

    plane.restore()
    await plane.runner.sync()
    await plane.flush()
    await plane.runner.sync()  # usage to deduct anew
    whole, plane.catalogue = plane.catalogue, Broken()
    with pytest.raises(RuntimeError):
        plane.recover()
    assert plane.books.records("i") == []
    assert all(instance.recorded_until == 0 for instance in plane.all(Instance))
    assert stop(plane) is not None
    plane.catalogue = whole
    plane.recover()
    await plane.come_to_rest()
    plane.audit()


async def test_beside_a_running_control_plane(plane: Plane) -> None:
    """Two of them, one of which found nothing yet: both stop, both go on."""
    plane.restore()
    first, other = plane.runner, plane.another_runner()
    await first.sync()
    for plane.runner in (other, first):
        await plane.runner.run_once()
        assert plane.is_halted()
    plane.recover()
    await plane.flush()
    for plane.runner in (other, first):
        await plane.runner.run_once()
        assert not plane.is_halted()
    await plane.come_to_rest()
    plane.audit()


def decide(plane: Plane, act: Act, serial: str) -> None:
    """A person does, in the ledger as it is then."""
    decision = Decision(act, serial, "ann", "a test run")
    perform(
        plane.engine,
        log_of(plane.engine),
        decision,
        act_id=new_id(),
        now_ms=plane.clock.now_ms(),
    )


@pytest.mark.parametrize("backup", [0, -1], ids=["before it was made", "after it was made"])
async def test_what_a_person_withheld_is_not_pushed_by_an_old_ledger(
    plane: Plane, backup: int
) -> None:
    """Whether the backup holds the record or not; the usage stays named, and who said so."""
    plane.use("i", 5)
    plane.books.to_the_next_hour()
    await plane.flush()
    await plane.runner.sync()
    plane.back_up()
    (serial,) = [r.metering_sn for r in plane.books.records("i") if r.state == "pending"]
    decide(plane, Act.HOLD, serial)
    decide(plane, Act.REJECT, serial)
    plane.use("j", 3)
    await plane.flush()
    await plane.runner.sync()
    plane.restore(backup)
    await plane.runner.sync()
    assert plane.is_halted()
    assert plane.recover().acts == 2
    with pytest.raises(NothingToRecover):
        plane.recover()
    await plane.come_to_rest()
    assert serial not in plane.market.taken
    found = {record.metering_sn: record for record in plane.books.records("i")}
    assert (found[serial].state, found[serial].code) == ("rejected", "withheld")
    assert [act.act for act in plane.all(RecordAct)] == ["hold", "reject"]
    plane.books.audit("i")
    plane.books.audit("j")


async def test_a_dead_letter_that_was_pushed_again_since(plane: Plane) -> None:
    """The backup calls it rejected; the log knows that the marketplace took it after all."""
    plane.use("i", 5)
    refused = PushOutcome(Kind.PERMANENT, "MKT.9001", "not found", blame=Blame.RECORDS)
    plane.market.judge = lambda _: refused
    await plane.to_the_next_hour()
    (serial,) = [r.metering_sn for r in plane.books.records("i") if r.state == "rejected"]
    plane.back_up()
    plane.market.judge = lambda _: ACCEPTED
    decide(plane, Act.RETRY, serial)
    await plane.runner.outbox.push_due()
    pushes = len(plane.market.pushed)
    plane.restore()
    await plane.runner.sync()
    plane.recover()
    assert {r.state for r in plane.books.records("i")} <= {"sent", "collected"}
    await plane.come_to_rest()
    assert len(plane.market.pushed) == pushes
    plane.audit()
