"""Pushing under `kill -9`: between any two steps, the same records go again and are logged first."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from billing_sync.act_models import RecordAct
from billing_sync.acting import Decision, perform
from billing_sync.models import PushClaim, UsageRecord
from billing_sync.outbox import LEASE_MS
from billing_sync.push_entries import Acted, Claimed, Settled
from billing_sync.states import Act
from billing_sync.store import stops
from billing_sync.store.engine import reading, writing
from tests.billing_sync.books import START
from tests.billing_sync.pushing import log_of, outbox_of
from tests.billing_sync.pushing_process import (
    ACTING,
    STEPS,
    TENDED,
    TENDING,
    FileMarket,
    dying_tender,
)
from tests.billing_sync.test_outbox import fill, record, states
from tests.databases import folder_of
from tests.fakes import FakeClock

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


def killed_at(engine: Engine, step: str) -> None:
    """A process pushes and is killed there."""
    folder = folder_of(engine)
    url = engine.url.render_as_string(hide_password=False)
    module = "tests.billing_sync.pushing_process"
    done = subprocess.run(
        [sys.executable, "-m", module, str(folder), step, url], cwd=ROOT, check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL


def entries(engine: Engine) -> list[str]:
    """Whether each entry is a claim, with its number of records, or an outcome."""
    found = []
    for line in log_of(engine).lines():
        if isinstance(line.entry, Claimed):
            found.append(f"claim {len(line.entry.records)}")
        elif isinstance(line.entry, Settled):
            found.append(line.entry.kind)
    return found


@pytest.mark.parametrize(
    ("step", "logged", "posts"),
    [
        ("claimed", [], 0),
        ("half logged", [], 0),
        ("logged", ["claim 2"], 0),
        ("posted", ["claim 2"], 1),
        ("outcome logged", ["claim 2", "accepted"], 1),
    ],
)
async def test_killed_after(engine: Engine, step: str, logged: list[str], posts: int) -> None:
    """The next process waits for the lease, logs and pushes the same bytes, and is done."""
    assert step in STEPS
    serials = fill(engine, 2)
    killed_at(engine, step)
    market = FileMarket(folder_of(engine) / "posted")
    assert market.path.exists() is (posts > 0)
    assert entries(engine) == logged
    heir = outbox_of(engine, market, FakeClock(START + LEASE_MS - 1))
    assert await heir.push_due() == 0
    heir.clock = FakeClock(START + LEASE_MS)
    assert await heir.push_due() == 2
    assert entries(engine) == [*logged, "claim 2", "accepted"]
    bodies = market.path.read_bytes().splitlines()
    assert len(bodies) == posts + 1
    assert len(set(bodies)) == 1
    assert [r["metering_sn"] for r in json.loads(bodies[0])["usage_records"]] == serials
    with reading(engine) as session:
        assert {r.state for r in session.exec(select(UsageRecord))} == {"sent"}
        assert stops.stopped(session) is None
        assert len(session.exec(select(PushClaim)).all()) == 2


@pytest.mark.parametrize(("step", "states_left"), [("reviewing", 0), ("reviewed", 1)])
async def test_killed_while_records_are_looked_at(
    engine: Engine, step: str, states_left: int
) -> None:
    """Nobody has pushed what nobody had looked at: the next process holds the one and pushes the
    other, and says why once."""
    with writing(engine) as session:
        for number in range(3):
            session.add(record(f"r{number}", state="collected", sent_at=1))
        session.add(record("r7", value="10.0001"))
        session.add(record("r8", value="10.0000"))
    killed_at(engine, step)
    assert step in TENDING
    assert list(states(engine).values()).count("held") == states_left
    market = FileMarket(folder_of(engine) / "posted")
    assert not market.path.exists()
    heir = outbox_of(engine, market, FakeClock(TENDED), tender=dying_tender(engine, ""))
    assert await heir.push_due() == 1
    assert (states(engine)["r7"], states(engine)["r8"]) == ("held", "sent")
    with reading(engine) as session:
        assert [act.metering_sn for act in session.exec(select(RecordAct))] == ["r7"]


@pytest.mark.parametrize(("step", "collected"), [("collecting", 0), ("collected", 2)])
async def test_killed_while_records_are_collected(
    engine: Engine, step: str, collected: int
) -> None:
    """All or nothing; the next process finds the rest."""
    fill(engine, 2, state="sent", sent_at=1)
    killed_at(engine, step)
    assert list(states(engine).values()).count("collected") == collected
    dying_tender(engine, "").tend()
    assert set(states(engine).values()) == {"collected"}


@pytest.mark.parametrize(("step", "logged"), [("half an act logged", 0), ("act logged", 1)])
async def test_killed_while_a_person_decides(engine: Engine, step: str, logged: int) -> None:
    """The ledger says no more than before, so the person decides again, with one row to show."""
    fill(engine, 1, state="held")
    killed_at(engine, step)
    assert step in ACTING
    assert states(engine) == {"r0": "held"}
    log = log_of(engine)
    assert sum(isinstance(line.entry, Acted) for line in log.lines()) == logged
    perform(engine, log, Decision(Act.REJECT, "r0", "ann", "again"), act_id="b", now_ms=START)
    assert states(engine) == {"r0": "rejected"}
    assert sum(isinstance(line.entry, Acted) for line in log.lines()) == logged + 1
    with reading(engine) as session:
        assert [act.reason for act in session.exec(select(RecordAct))] == ["again"]
