"""Records through validation and collection, in steps and in leaps of the clock."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.simulator.findings import FindingLog
from tallygate.simulator.models import Cycle, Instance, Kind, Product
from tallygate.simulator.stored import State
from tallygate.simulator.times import format_record_time
from tallygate.simulator.usage import Rules, UsageRecords

HOUR_MS, MINUTE_MS = 3_600_000, 60_000
START_MS = 1_790_000_000_000 // HOUR_MS * HOUR_MS  # 2026-09-21T14:00, 22:00 in Beijing
HOURLY = Product("chat", "Chat", Kind.ON_DEMAND)
DAILY = replace(HOURLY, product_id="storage", cycle=Cycle.DAY)
RULES = Rules(validation_delay_ms=30_000, collect_at_minute=15)


def usage_of(rules: Rules = RULES) -> UsageRecords:
    """A marketplace at START_MS with an hourly and a daily instance, both a day old."""
    born_ms = START_MS - 24 * HOUR_MS
    instances = {
        name: Instance(name, "CS1", f"CS1-{name}", product, "cust-1", born_ms)
        for name, product in (("h", HOURLY), ("d", DAILY))
    }
    usage = UsageRecords(instances, FindingLog(), rules)
    usage.advance(START_MS)
    return usage


def of(instance_id: str, begin: int, end: int, units: str = "1", at: int = 0) -> dict[str, object]:
    """A record of these minutes, made at minute `at`."""
    return {
        "begin_time": format_record_time(START_MS + begin * MINUTE_MS),
        "end_time": format_record_time(START_MS + end * MINUTE_MS),
        "instance_id": instance_id,
        "metering_sn": f"{instance_id}|{begin}|{end}",
        "record_time": format_record_time(START_MS + at * MINUTE_MS),
        "usage_value": units,
    }


def push(usage: UsageRecords, at: int, *records: dict[str, object]) -> None:
    usage.store(records, START_MS + at * MINUTE_MS)


def to(usage: UsageRecords, minute: float) -> None:
    usage.advance(START_MS + round(minute * MINUTE_MS))


def states(usage: UsageRecords) -> list[str]:
    return [stored.state.value for stored in usage.records]


def runs(usage: UsageRecords) -> list[tuple[float, bool]]:
    """Minute of the collection and whether it was late, by record."""
    return [
        ((stored.collected_ms - START_MS) / MINUTE_MS, stored.late)
        for stored in usage.records
        if stored.collected_ms is not None
    ]


def test_a_record_on_its_way():
    """Judged half a minute after its arrival, collected at minute 15."""
    usage = usage_of()
    push(usage, 62, of("h", 0, 60, at=62))
    seen = []
    for minute in (62.4, 62.5, 74.9, 75):
        to(usage, minute)
        seen += states(usage)
    assert seen == ["pending", "valid", "valid", "collected"]
    assert runs(usage) == [(75, False)]
    assert usage.collected() == {"h": Decimal(1)}


def test_not_judged_in_time():
    """What is no usable SDR at minute 15 waits for the next run."""
    usage = usage_of()
    push(usage, 74, of("h", 0, 60, at=74))
    usage.validation_delay_ms = 61_000
    to(usage, 240)
    assert runs(usage) == [(135, True)]


def test_late_record():
    """After its collection it goes with the next run, and a finding says so."""
    usage = usage_of()
    push(usage, 76, of("h", 0, 60, at=76))
    to(usage, 600)
    assert runs(usage) == [(135, True)]
    assert [each["check"] for each in usage._findings.as_json()] == ["sdr-late"]
    assert list(usage.collection.runs) == [
        {"cycle": "hour", "run_ms": START_MS + 135 * MINUTE_MS, "records": 1, "late": 1}
    ]


def test_part_of_an_hour_is_not_late():
    """It belongs to the bill of its hour, whenever in that hour it ends."""
    usage = usage_of()
    push(usage, 62, of("h", 0, 5, at=62))
    push(usage, 70, of("h", 60, 65, at=70))
    to(usage, 600)
    assert runs(usage) == [(75, False), (75, False)]


def test_daily_record():
    """01:00 in Beijing: 22:00 there is minute 0, so that midnight is minute 120."""
    usage = usage_of()
    push(usage, 125, of("d", 0, 120, at=125), of("h", 60, 120, at=125))
    to(usage, 20_000)
    assert runs(usage) == [(180, False), (135, False)]


def test_daily_charge_slips_a_day():
    """After 01:00 it is too late for that day's bill."""
    usage = usage_of()
    push(usage, 181, of("d", 0, 120, at=181))
    to(usage, 20_000)
    assert runs(usage) == [(180 + 24 * 60, True)]


def test_collected_is_collected():
    """Nothing that comes later takes it back or counts the interval again."""
    usage = usage_of()
    push(usage, 62, of("h", 0, 60, at=62))
    push(usage, 63, of("h", 0, 60, "9", at=63))
    push(usage, 80, of("h", 0, 60, "9", at=80), of("h", 0, 60, at=80))
    to(usage, 600)
    assert states(usage) == ["collected", "duplicate", "duplicate", "repeat"]
    assert usage.collected() == {"h": Decimal(1)}


def test_empty_marketplace_leaps_far():
    """Ten years without records are no work, and the schedule goes on."""
    usage = usage_of()
    years = 10 * 365 * 24 * 60
    to(usage, years)
    push(usage, years, of("h", years - 60, years, at=years))
    to(usage, years + 60)
    assert runs(usage) == [(years + 15, False)]


def test_clock_that_is_set_back():
    """No run happens twice; what comes meanwhile waits for the next new one."""
    usage = usage_of()
    to(usage, 240)
    push(usage, 62, of("h", 0, 60, at=62))
    to(usage, 240)
    assert states(usage) == ["valid"]
    to(usage, 255)
    assert runs(usage) == [(255, True)]


def test_without_a_schedule():
    """Nothing is collected until somebody asks; then everything is, and nothing is late."""
    usage = usage_of(Rules(validation_delay_ms=30_000))
    push(usage, 62, of("h", 0, 60, at=62), of("d", 0, 60, at=62), of("h", 0, 60, "0", at=62))
    to(usage, 6000)
    assert states(usage) == ["valid", "valid", "refused"]
    push(usage, 6001, of("h", 60, 120, at=121))
    assert usage.collect(START_MS + HOUR_MS)["collected"] == 3
    assert runs(usage) == [(60, False)] * 3
    assert set(usage.collect().values()) == {0}


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 90),  # minutes after the one before
        st.sampled_from(("h", "d")),
        st.integers(0, 12),  # begin, in half hours
        st.integers(1, 2),  # length
        st.sampled_from(("1", "2.5", "0")),
    ),
    max_size=25,
)


def played(events: list[tuple[int, str, int, int, str]], step: float | None) -> UsageRecords:
    """The events, with the clock moved in steps of so many minutes between them, or not at all."""
    usage, minute = usage_of(), 0.0
    for wait, name, begin, length, units in events:
        until = minute + wait
        while step is not None and minute + step < until:
            minute += step
            to(usage, minute)
        minute = until
        push(usage, int(minute), of(name, begin * 30, (begin + length) * 30, units, int(minute)))
    to(usage, minute + 3 * 24 * 60)
    return usage


@given(EVENTS, st.sampled_from((1.0, 7.0, 45.0)))
def test_leaps_end_like_steps(events, step):
    """However the clock moves, every record meets the same run, and the same fate."""
    steps, leap = played(events, step), played(events, None)
    assert [r.as_json() for r in steps.records] == [r.as_json() for r in leap.records]
    assert steps.collected() == leap.collected()
    assert list(steps.collection.runs) == list(leap.collection.runs)


@given(EVENTS)
def test_first_good_record_of_an_interval_counts(events):
    """Once, at a run after it was usable, and no later than the one after that."""
    usage = played(events, None)
    first: dict[tuple[object, ...], Decimal] = {}
    for stored in usage.records:
        record = stored.record
        interval = (record["instance_id"], record["begin_time"], record["end_time"])
        if stored.state is State.COLLECTED:
            assert interval not in first
            first[interval] = stored.usage
            assert stored.collected_ms is not None
            usable_ms = stored.received_ms + usage.validation_delay_ms
            cycle = Cycle.HOUR if stored.instance_id == "h" else Cycle.DAY
            assert stored.collected_ms == usage.schedule.next_run(cycle, usable_ms - 1)
        else:
            assert interval in first or stored.state is State.REFUSED
    assert sum(usage.collected().values(), Decimal(0)) == sum(first.values(), Decimal(0))


@pytest.mark.parametrize("minute", [74.5, 75])
def test_usable_at_the_very_minute(minute):
    """A record that is judged at minute 15 is collected at minute 15."""
    usage = usage_of()
    usage.store([of("h", 0, 60, at=60)], START_MS + round((minute - 0.5) * MINUTE_MS))
    to(usage, 76)
    assert runs(usage) == [(75, False)]
