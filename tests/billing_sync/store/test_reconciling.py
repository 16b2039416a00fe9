import json

from sqlalchemy import Engine

from billing_sync.models import Checkpoint, Drain, UsageWindow
from billing_sync.store.engine import reading, writing
from billing_sync.store.reconciling import Drained, Sum, checkpoints, drained, sums


def drain(number: int, *lanes: str, partition: int = 0) -> Drain:
    """One at `number`, with something of these lanes."""
    moved = json.dumps({lane: [number - 1, number] for lane in lanes})
    return Drain(
        id=f"d{partition}-{number}",
        partition=partition,
        prev="",
        epoch="e",
        at=number,
        positions=moved,
    )


def test_a_lane_was_drained_when_it_last_moved(engine: Engine) -> None:
    """Only as far back as it matters; and since when drains are remembered."""
    with writing(engine) as session:
        session.add_all([drain(1, "old"), drain(2, "a", "b"), drain(3, "a"), drain(4, "c")])
        session.add(drain(9, "b", partition=1))
    with reading(engine) as session:
        found = drained(session, 0, ["a", "b", "old"], since_ms=2)
        assert found == Drained({"a": 3, "b": 2}, begins=1)
        assert drained(session, 2, ["a"], since_ms=0) is None


def test_use_is_summed_by_its_own_hour(engine: Engine) -> None:
    """Over routes and grades, in the partitions and hours that are asked for."""
    with writing(engine) as session:
        session.add_all(
            UsageWindow(
                window=max(origin, 5),
                origin=origin,
                route=route,
                grade="exact",
                mark="late" if origin < 5 else "",
                partition=partition,
                quantity=quantity,
                customer_id="a",
                instance_id="",
                meter="m",
            )
            for origin, route, partition, quantity in (
                (5, "chat", 0, 1),
                (5, "other", 0, 2),
                (4, "chat", 0, 4),
                (3, "chat", 0, 8),
                (5, "third", 1, 16),
            )
        )
    with reading(engine) as session:
        found = sorted(sums(session, {0}, from_window=4, to_window=6))
    assert found == [Sum(4, "a", "", "m", "late", 4), Sum(5, "a", "", "m", "", 3)]


def test_checkpoints_are_by_partition_and_lane(engine: Engine) -> None:
    """A partition without any is there, too."""
    with writing(engine) as session:
        session.add_all(Checkpoint(partition=p, lane="l", position=p + 7) for p in (0, 1, 2))
    with reading(engine) as session:
        assert checkpoints(session, [1, 3]) == {1: {"l": 8}, 3: {}}
