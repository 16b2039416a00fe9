"""What a person decides about a record is done, kept with name and reason, and entered in the log."""

from typing import Any

import pytest
from sqlalchemy import Engine

from billing_sync.acting import Decision, perform
from billing_sync.deadlines import EXPIRY_MS
from billing_sync.errors import BadQuestion, UnknownRecord, WrongState
from billing_sync.models import UsageRecord
from billing_sync.push_entries import Acted, Claimed
from billing_sync.states import Act
from billing_sync.store import acts, stops
from billing_sync.store.engine import reading, writing
from metering.windows import HOUR_MS
from tests.billing_sync.books import START
from tests.billing_sync.pushing import Marketplace, log_of, outbox_of
from tests.billing_sync.test_outbox import one, record
from tests.fakes import FakeClock, Ids

pytestmark = pytest.mark.anyio

IDS = Ids("act")


def add(engine: Engine, state: str, **columns: Any) -> None:
    with writing(engine) as session:
        session.add(record("r0", state=state, **columns))


def decide(engine: Engine, act: Act, **given: Any) -> UsageRecord:
    said = {"metering_sn": "r0", "author": "ann", "reason": "looked at it"} | given
    return perform(
        engine, log_of(engine), Decision(act=act, **said), act_id=IDS(), now_ms=START + HOUR_MS
    )


def decided(engine: Engine) -> list[tuple[str, str, str]]:
    with reading(engine) as session:
        return [(act.act, act.author, act.reason) for act in acts.of_record(session, "r0")]


def entries(engine: Engine) -> list[Acted]:
    return [line.entry for line in log_of(engine).lines() if isinstance(line.entry, Acted)]


@pytest.mark.parametrize(
    ("act", "before", "after"),
    [
        (Act.RETRY, {"state": "rejected", "attempts": 3, "code": "MKT.9001"}, "pending"),
        (Act.RELEASE, {"state": "held", "release_by": START + 2 * HOUR_MS}, "pending"),
        (Act.HOLD, {"state": "pending"}, "held"),
        (Act.REJECT, {"state": "held", "release_by": START + 2 * HOUR_MS}, "rejected"),
    ],
)
def test_done_and_kept(engine: Engine, act: Act, before: dict[str, Any], after: str) -> None:
    """In the record, in a row of its own, in the push log with all that brings the record back."""
    add(engine, **before)
    assert decide(engine, act).state == after
    now = one(engine, "r0")
    assert (now.state, now.release_by) == (after, 0)
    assert decided(engine) == [(act.value, "ann", "looked at it")]
    (entry,) = entries(engine)
    assert (entry.act, entry.author, entry.metering_sn) == (act.value, "ann", "r0")
    assert entry.record is not None
    assert entry.record.begin == now.begin


async def test_a_dead_letter_goes_again_as_it_was(engine: Engine) -> None:
    """The same words, apart from all others, and only when somebody said so."""
    add(engine, "rejected", attempts=1, code="MKT.9001", error="MKT.9001 not found", logged=True)
    with writing(engine) as session:
        session.add(record("r1"))
    market = Marketplace()
    outbox = outbox_of(engine, market, FakeClock(START + HOUR_MS))
    await outbox.push_due()
    assert market.pushed == [["r1"]]
    decide(engine, Act.RETRY)
    assert (one(engine, "r0").code, one(engine, "r0").error) == ("", "")
    assert entries(engine)[0].record is None  # the log has it from its first push
    await outbox.push_due()
    assert market.pushed == [["r1"], ["r0"]]
    assert one(engine, "r0").state == "sent"


def test_withheld_usage_stays_named(engine: Engine) -> None:
    """Under its own word, not as something the marketplace refused; and a person may think again."""
    add(engine, "held", quantity=7)
    decide(engine, Act.REJECT, reason="a test run")
    now = one(engine, "r0")
    assert (now.code, now.error) == ("withheld", "withheld: a test run")
    with reading(engine) as session:
        assert acts.unbilled(session) == [("withheld", "i", "requests", 7)]
    decide(engine, Act.RETRY)
    with reading(engine) as session:
        assert acts.unbilled(session) == []
    assert [act for act, _, _ in decided(engine)] == ["reject", "retry"]


async def test_a_persons_hold_ends_by_a_person_only(engine: Engine) -> None:
    """No push_by lets it go."""
    add(engine, "pending")
    decide(engine, Act.HOLD)
    clock = FakeClock(START + 9 * HOUR_MS)
    market = Marketplace()
    assert await outbox_of(engine, market, clock).push_due() == 0
    decide(engine, Act.RELEASE)
    assert await outbox_of(engine, market, clock).push_due() == 1


@pytest.mark.parametrize(
    ("act", "columns", "says"),
    [
        (Act.RETRY, {"state": "sent"}, "it is sent; retry is for records that are rejected"),
        (Act.RELEASE, {"state": "pending"}, "it is pending"),
        (Act.HOLD, {"state": "pending", "attempts": 1}, "on its way"),
        (Act.HOLD, {"state": "pending", "logged": True}, "on its way"),
        (Act.REJECT, {"state": "pending"}, "it is pending"),
        (Act.RETRY, {"state": "rejected", "begin": START + HOUR_MS - EXPIRY_MS}, "MKT.9004"),
    ],
)
def test_refused(engine: Engine, act: Act, columns: dict[str, Any], says: str) -> None:
    """In words; the record, its history and the log stay as they were."""
    add(engine, **columns)
    before = one(engine, "r0").model_dump()
    with pytest.raises(WrongState, match=says):
        decide(engine, act)
    assert one(engine, "r0").model_dump() == before
    assert (decided(engine), entries(engine)) == ([], [])


def test_unknown_and_unsigned(engine: Engine) -> None:
    """A record that is none, and acts without a name or a reason."""
    add(engine, "held")
    with pytest.raises(UnknownRecord):
        decide(engine, Act.RELEASE, metering_sn="stranger")
    for bad in ({"author": " "}, {"reason": ""}, {"reason": "x" * 401}, {"author": "a\nb"}):
        with pytest.raises(BadQuestion, match="printable"):
            decide(engine, Act.RELEASE, **bad)
    assert one(engine, "r0").state == "held"


def test_not_while_billing_is_stopped(engine: Engine) -> None:
    """An old ledger is no ground to decide on."""
    add(engine, "held")
    with writing(engine) as session:
        stops.stop(session, "set back", START)
    with pytest.raises(WrongState, match="recover"):
        decide(engine, Act.RELEASE)


def test_a_log_that_cannot_be_written(engine: Engine) -> None:
    """Then nothing is decided."""
    add(engine, "held")
    log_of(engine).folder.write_text("in the way")
    with pytest.raises(OSError, match="exists"):
        decide(engine, Act.REJECT)
    assert (one(engine, "r0").state, decided(engine)) == ("held", [])


def test_acts_do_not_hide_the_newest_batch(engine: Engine) -> None:
    """What the ledger is held against are batches."""
    add(engine, "held")
    log = log_of(engine)
    log.append(Claimed("c1", START, ()), durable=True)
    decide(engine, Act.RELEASE)
    assert log.newest() == "c1"
