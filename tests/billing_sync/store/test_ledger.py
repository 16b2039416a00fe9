"""Partitions and their chain in SQL."""

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from billing_sync.models import Drain, Partition
from billing_sync.store import ledger
from billing_sync.store.engine import reading, writing
from tests.fakes import Ids


@pytest.fixture
def chain(engine: Engine) -> Engine:
    """Three partitions."""
    ledger.set_up(engine, 3, Ids())
    return engine


def test_partitions_are_made_once(chain: Engine) -> None:
    """Each with its own epoch and start; a later start changes nothing."""
    with reading(chain) as session:
        before = ledger.places(session)
    assert before.keys() == {0, 1, 2}
    assert len({text for place in before.values() for text in place}) == 6
    ledger.set_up(chain, 3, Ids("other"))
    with reading(chain) as session:
        assert ledger.places(session) == before
        assert ledger.place(session, 1) == before[1]
        assert ledger.closed_through(session) == {0: 0, 1: 0, 2: 0}


@pytest.mark.parametrize("partitions", [2, 4])
def test_their_number_is_fixed(chain: Engine, partitions: int) -> None:
    """Customers would be looked for in the wrong one."""
    with pytest.raises(ledger.PartitionsDiffer, match=f"{partitions} in the configuration"):
        ledger.set_up(chain, partitions, Ids())


def test_the_chain_moves_once(chain: Engine) -> None:
    """Only from where it stands."""
    with writing(chain) as session:
        last = ledger.place(session, 1).last
        assert ledger.advance(session, 1, prev=last, drain_id="d")
        assert not ledger.advance(session, 1, prev=last, drain_id="e")
        assert ledger.place(session, 1).last == "d"
        assert ledger.place(session, 0).last != "d"


def remember(engine: Engine, drain_id: str, **positions: int) -> dict[str, int]:
    with writing(engine) as session:
        link = Drain(id=drain_id, partition=1, prev="p", epoch="e", at=1, positions="")
        ledger.remember_drain(session, link, positions)
    with reading(engine) as session:
        return ledger.checkpoints(session, 1)


def test_checkpoints_only_move_forward(chain: Engine) -> None:
    """Per lane; each drain says from where to where it moved them. Other partitions have their own."""
    assert remember(chain, "d1", a=5, b=3) == {"a": 5, "b": 3}
    assert remember(chain, "d2", a=4, c=0) == {"a": 5, "b": 3}
    assert remember(chain, "d3", a=9) == {"a": 9, "b": 3}
    with reading(chain) as session:
        assert ledger.checkpoints(session, 0) == {}
        found = {row.id: row.positions for row in session.exec(select(Drain))}
        assert found == {"d1": '{"a": [0, 5], "b": [0, 3]}', "d2": "{}", "d3": '{"a": [5, 9]}'}
        assert len(list(session.exec(select(Partition)))) == 3
