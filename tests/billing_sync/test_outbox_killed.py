"""Pushing under `kill -9`: between any two steps, the same records go again and are logged first."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from billing_sync.models import PushClaim, UsageRecord
from billing_sync.outbox import LEASE_MS
from billing_sync.push_entries import Claimed, Settled
from billing_sync.store import stops
from billing_sync.store.engine import reading
from tests.billing_sync.books import START
from tests.billing_sync.pushing import log_of, outbox_of
from tests.billing_sync.pushing_process import STEPS, FileMarket
from tests.billing_sync.test_outbox import fill
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
