"""What the ledger lets go of: never what still tells where it stands."""

from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from billing_sync.finding_models import Salvage
from billing_sync.models import Drain, Epoch, PushClaim
from billing_sync.store import history, ledger
from billing_sync.store.engine import reading, writing
from billing_sync.store.history import DAY_MS, Most
from tests.fakes import Ids

NOW = 1_790_000_000_000


@pytest.fixture
def chain(engine: Engine) -> Engine:
    """Partition 0 with a drain a day for ten days, and an epoch with each."""
    ledger.set_up(engine, 2, Ids(), NOW - 10 * DAY_MS)
    with writing(engine) as session:
        for day in range(10):
            at = NOW - (9 - day) * DAY_MS - 1
            prev = ledger.place(session, 0).last
            ledger.advance(session, 0, prev=prev, drain_id=f"d{day}")
            session.add(
                Drain(id=f"d{day}", partition=0, prev=prev, epoch="e", at=at, positions="{}")
            )
            ledger.begin_epoch(session, 0, epoch=f"e{day}", at=at, reason="test")
    return engine


def ids(engine: Engine, table: Any) -> set[Any]:
    with reading(engine) as session:
        return set(session.exec(select(table.id)))


def prune(engine: Engine, now_ms: int = NOW, partition: int = 0, **given: Any) -> None:
    with writing(engine) as session:
        history.let_go(session, history.old(session, partition, now_ms, **given))


def test_a_week_is_kept(chain: Engine) -> None:
    """And the first epochs, which cost nothing."""
    prune(chain)
    assert ids(chain, Drain) == {f"d{day}" for day in range(3, 10)}
    assert ids(chain, Epoch) == {"id1", "id3"} | {f"e{day}" for day in range(3, 10)}


def test_where_it_stands_is_never_let_go(chain: Engine) -> None:
    """An idle partition's last drain and epoch stay for ever, and with them what they followed."""
    prune(chain, NOW + 900 * DAY_MS)
    assert ids(chain, Drain) == {"d9"}
    assert ids(chain, Epoch) == {"id1", "id3", "e9"}
    with reading(chain) as session:
        assert ledger.known(session, 0, {"d9", "d8", "d7", "e9", "e8"}) == {"d9", "d8", "e9"}


def test_a_little_at_a_time(chain: Engine) -> None:
    """No transaction is long; other partitions are left alone."""
    prune(chain, NOW + 900 * DAY_MS, batch=2)
    assert len(ids(chain, Drain)) == 8
    prune(chain, NOW + 900 * DAY_MS, partition=1)
    assert len(ids(chain, Drain)) == 8


def test_only_so_many_drains(chain: Engine) -> None:
    """A partition that drains every second is bounded by number."""
    prune(chain, NOW - 5 * DAY_MS, most=Most(drains=3))
    assert ids(chain, Drain) == {"d7", "d8", "d9"}


def test_salvage_is_bounded_too(engine: Engine) -> None:
    """By age and by number, for each partition."""
    ledger.set_up(engine, 2, Ids())
    with writing(engine) as session:
        for day in range(0, 100, 10):
            for partition in range(2):
                at = NOW - day * DAY_MS
                session.add(Salvage(partition=partition, at=at, reason="r", content="{}"))
    prune(engine, most=Most(salvage=4))
    with reading(engine) as session:
        kept = session.exec(select(Salvage.at).where(Salvage.partition == 0)).all()
        assert sorted((NOW - at) // DAY_MS for at in kept) == [0, 10, 20, 30]
        assert len(session.exec(select(Salvage).where(Salvage.partition == 1)).all()) == 10


@pytest.mark.parametrize(("newest", "left"), [(1, 5), (3, 5), (8, 8)])
def test_the_newest_claims_stay(engine: Engine, newest: int, left: int) -> None:
    """However old they are: the push log may end with one of them."""
    ledger.set_up(engine, 1, Ids())
    with writing(engine) as session:
        for number in range(10):
            session.add(PushClaim(id=f"c{number}", at=NOW - number * 30 * DAY_MS))
    prune(engine, most=Most(claims=newest))
    assert ids(engine, PushClaim) == {f"c{number}" for number in range(left)}
