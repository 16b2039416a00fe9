"""What Prometheus is told, and that it is told at all when something is wrong."""

import threading
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis
from sqlalchemy import Engine

from billing_sync.drain import Drainer
from billing_sync.lineage import Reason
from billing_sync.models import Ahead, Bucket, UsageRecord
from billing_sync.runner import Runner
from billing_sync.store import findings as store
from billing_sync.store.engine import open_engine, sqlite_url, writing
from billing_sync.store.stops import Stop
from billing_sync.telemetry import Telemetry
from billing_sync.watching import Terms
from metering.catalogue import Price, Product, catalogue
from metering.counters import Counters
from metering.findings import Finding
from metering.heartbeats import Heartbeat
from metering.windows import HOUR_MS
from tests.billing_sync.books import CATALOGUE, START
from tests.billing_sync.pushing import Marketplace, outbox_of
from tests.billing_sync.test_outbox import record
from tests.fakes import FakeClock, Ids

pytestmark = pytest.mark.anyio

NOW = START + 600_000


def telemetry_of(engine: Engine, redis: Redis) -> Telemetry:
    clock = FakeClock(NOW)
    runner = Runner(
        engine=engine,
        redis=redis,
        drainer=Drainer(engine, Counters(redis), CATALOGUE, clock, Ids()),
        outbox=outbox_of(engine, Marketplace(), clock),
        catalogue=CATALOGUE,
        partitions=1,
        grace_ms=1000,
        clock=clock,
    )
    callbacks: Any = SimpleNamespace(answers={}, seconds={}, unknown_products=0)
    return Telemetry(engine, runner, callbacks, lambda: 3, clock)


@pytest.fixture
async def telemetry(engine: Engine, redis: Redis) -> Telemetry:
    return telemetry_of(engine, redis)


def samples(telemetry: Telemetry) -> dict[str, float]:
    """Every sample by its name and labels."""
    text = generate_latest(telemetry.registry()).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def test_the_pipeline(telemetry: Telemetry) -> None:
    """Counters of the loops, as they stand."""
    runner = telemetry.runner
    runner.runs, runner.records_made, runner.outbox.rejected = 5, 7, 2
    runner.drainer.drains, runner.drainer.rows = 11, 13
    runner.drainer.reasons[Reason.SET_BACK] = 1
    runner.importer.imported, runner.importer.unreadable = 8, 1
    runner.failures["sync", "MeteringUnavailable"] = 4
    runner.outbox.outcomes["accepted"] = 6
    telemetry.kit_answers["authSync", "2", "000000"] = 14
    telemetry.callbacks.answers["newInstance", "000000"] = 9
    found = samples(telemetry)
    assert found["billing_sync_runs_total"] == 5
    assert found["billing_sync_records_made_total"] == 7
    assert found["billing_sync_records_rejected_total"] == 2
    assert found["billing_sync_drains_total"] == 11
    assert found["billing_sync_resets_total{reason=set_back}"] == 1
    assert found["billing_sync_findings_imported_total"] == 8
    assert found["billing_sync_findings_unreadable"] == 1
    assert found["billing_sync_usage_rows_total"] == 13
    assert found["billing_sync_projections_total"] == 3
    assert found["billing_sync_failures_total{loop=sync,reason=MeteringUnavailable}"] == 4
    assert found["billing_sync_pushes_total{outcome=accepted}"] == 6
    assert found["billing_sync_callbacks_total{activity=newInstance,code=000000}"] == 9
    kit = "billing_sync_kit_calls_total{code=000000,interface=authSync,version=2}"
    assert found[kit] == 14


async def test_the_windows(telemetry: Telemetry) -> None:
    """How far they are closed, and what holds them up."""
    runner = telemetry.runner
    assert samples(telemetry)["billing_sync_watermark_age_seconds"] == 0  # nothing closed yet
    runner.closed_through, runner.left = START, {0: 3, 5: 4}
    runner.silent = frozenset({"a", "b"})
    runner.drainer.stuck.add(1)
    found = samples(telemetry)
    assert found["billing_sync_closed_through_timestamp_seconds"] == START / 1000
    assert found["billing_sync_watermark_age_seconds"] == 600
    assert found["billing_sync_silent_lanes"] == 2
    assert found["billing_sync_stuck_partitions"] == 1
    assert found["billing_sync_unrecorded"] == 7
    assert found["billing_sync_stopped"] == 0
    runner.halt.stop = Stop("restored", NOW)
    assert samples(telemetry)["billing_sync_stopped"] == 1


async def test_the_ledger(telemetry: Telemetry, engine: Engine) -> None:
    """Records by state, buckets by name, and how long the oldest record waits."""
    columns: dict[str, Any] = {"customer_id": "c", "product_id": "p", "meter": "m", "window": 1}
    columns |= {"instance_id": "i", "quantity": 1, "value": "1", "recorded_at": NOW}
    with writing(engine) as session:
        for number, state in enumerate(["pending", "pending", "sent", "rejected"]):
            begin = START + number * 60_000
            record = UsageRecord(metering_sn=state + str(number), state=state, **columns)
            record.begin, record.end = begin, begin + 60_000
            session.add(record)
        session.add(Bucket(instance_id="i", window=1, name="unbillable", quantity=5))
        session.add(Bucket(instance_id="j", window=1, name="unbillable", quantity=6))
        session.add(Ahead(instance_id="i", meter="m", origin=1, quantity=7))
        store.insert(session, [Finding("uncertain", "l", "h", at=1, request_id="r")])
    found = samples(telemetry)
    assert found["billing_sync_ledger_up"] == 1
    assert found["billing_sync_outbox{state=pending}"] == 2
    assert found["billing_sync_outbox{state=rejected}"] == 1
    assert found["billing_sync_outbox{state=confirmed}"] == 0
    assert found["billing_sync_unbilled_usage{bucket=unbillable}"] == 11
    assert found["billing_sync_unpushed_age_seconds"] == 540
    assert found["billing_sync_unbilled_usage{bucket=rejected}"] == 1
    assert found["billing_sync_ahead"] == 7
    assert found["billing_sync_findings{kind=uncertain}"] == 1
    assert found["billing_sync_findings{kind=lost_lane}"] == 0


async def test_deadlines(telemetry: Telemetry, engine: Engine) -> None:
    """What waits under each class, what it is worth, and what was done about records."""
    telemetry.runner.outbox.keeper.terms = Terms(
        catalogue(
            [Product(product_id="p", meter="requests", price=Price(unit_price=Decimal("0.5")))]
        )
    )
    begin = NOW - 3 * HOUR_MS
    with writing(engine) as session:
        session.add(record("r0", begin=begin, end=begin + HOUR_MS, value="3.0000"))
        session.add(record("r1", state="rejected", code="withheld", quantity=4))
    keeper = telemetry.runner.outbox.keeper
    keeper.held["baseline"], keeper.released, keeper.expired, keeper.collected = 1, 2, 3, 4
    found = samples(telemetry)
    assert found["billing_sync_deadline_records{deadline=hourly}"] == 1
    assert found["billing_sync_deadline_missed_records{deadline=hourly}"] == 1
    assert found["billing_sync_deadline_units{deadline=hourly}"] == 3
    assert found["billing_sync_deadline_money{currency=CNY,deadline=hourly}"] == 1.5
    assert found["billing_sync_deadline_seconds{deadline=hourly}"] == 0
    assert found["billing_sync_deadline_records{deadline=daily}"] == 0
    assert "billing_sync_deadline_seconds{deadline=daily}" not in found
    assert found["billing_sync_unbilled_usage{bucket=withheld}"] == 4
    assert found["billing_sync_records_held_total{reason=baseline}"] == 1
    assert found["billing_sync_records_released_total"] == 2
    assert found["billing_sync_records_expired_total"] == 3
    assert found["billing_sync_records_collected_total"] == 4


async def test_a_ledger_that_fails(redis: Redis, tmp_path: Path) -> None:
    """Is a metric, and the others are still told."""
    engine = open_engine(sqlite_url(tmp_path / "broken.db"))
    with engine.begin() as connection:
        connection.exec_driver_sql("drop table usage_record")
    found = samples(telemetry_of(engine, redis))
    assert found["billing_sync_ledger_up"] == 0
    assert "billing_sync_outbox{state=sent}" not in found
    assert found["billing_sync_runs_total"] == 0
    engine.dispose()


async def test_counting_while_being_read(telemetry: Telemetry) -> None:
    """A scrape in a thread never stumbles over a label that is new."""
    stop = threading.Event()

    def count() -> None:
        number = 0
        while not stop.is_set():
            telemetry.runner.failures["sync", str(number)] = number
            telemetry.callbacks.answers[str(number), "000000"] = number
            number += 1
            if number == 300:
                telemetry.runner.failures.clear()
                telemetry.callbacks.answers.clear()
                number = 0

    counting = threading.Thread(target=count)
    counting.start()
    try:
        for _ in range(8):
            samples(telemetry)
    finally:
        stop.set()
        counting.join()


async def test_the_lag_of_the_ledger(telemetry: Telemetry) -> None:
    """It holds what every living lane has brought; without lanes it has no lag."""
    runner = telemetry.runner
    assert samples(telemetry)["billing_sync_ledger_lag_seconds"] == 0
    runner._note_booked({"a": Heartbeat(NOW - 3000, NOW), "b": Heartbeat(0, 0)}, {0})
    assert samples(telemetry)["billing_sync_ledger_lag_seconds"] == 3
    runner._note_booked({"a": Heartbeat(NOW, NOW)}, set())  # a partition was left out
    runner._note_booked(None, {0})
    assert samples(telemetry)["billing_sync_ledger_lag_seconds"] == 3
    runner._note_booked({}, {0})
    assert samples(telemetry)["billing_sync_ledger_lag_seconds"] == 0
