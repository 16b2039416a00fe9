"""Usage that records carry already, set off when it comes in."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlmodel import select

from billing_sync.booking import UsageRow
from billing_sync.models import Ahead
from billing_sync.store import ahead
from billing_sync.store.ahead import Booked
from billing_sync.store.engine import reading, writing


def row(quantity: int, origin: int = 5, instance: str = "i", meter: str = "m") -> UsageRow:
    return UsageRow(9, "c", instance, "chat", meter, "exact", "", origin, quantity)


def put(engine: Engine, quantity: int, origin: int = 5, package: str = "") -> None:
    with writing(engine) as session:
        ahead.put(
            session,
            Ahead(instance_id="i", meter="m", origin=origin, package_id=package, quantity=quantity),
        )


def take(engine: Engine, *rows: UsageRow) -> list[tuple[int, int]]:
    with writing(engine) as session:
        return [(one.recorded, one.plain) for one in ahead.take(session, rows)]


def left(engine: Engine) -> dict[tuple[int, str], int]:
    with reading(engine) as session:
        return {(a.origin, a.package_id): a.quantity for a in session.exec(select(Ahead))}


def test_without_any_nothing_is_set_off(engine: Engine) -> None:
    """As good as always."""
    with writing(engine) as session:
        assert ahead.take(session, [row(3)]) == [Booked(row(3))]
        assert ahead.outstanding(session) == 0


def test_only_its_own_hour_instance_and_meter(engine: Engine) -> None:
    """What is used at another time is new; what came whole is gone."""
    put(engine, 10)
    put(engine, 0, origin=6)
    others = [row(9, origin=6), row(9, instance="j"), row(9, meter="n"), row(9, instance="")]
    assert take(engine, *others) == [(0, 0)] * 4
    assert take(engine, row(4), row(3), row(8)) == [(4, 4), (3, 3), (3, 3)]
    assert left(engine) == {}


def test_what_names_a_package_goes_first(engine: Engine) -> None:
    """The rest is what ordinary packages are still asked for."""
    put(engine, 4)
    put(engine, 6, package="pack")
    assert take(engine, row(8)) == [(8, 2)]
    assert left(engine) == {(5, ""): 2}


amounts = st.lists(st.tuples(st.integers(1, 2), st.integers(1, 9)), max_size=8)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(amounts, amounts, st.integers(0, 8))
def test_nothing_is_set_off_twice(
    engine: Engine, given_: list[tuple[int, int]], used: list[tuple[int, int]], at: int
) -> None:
    """In however many drains: by origin, never more than was ahead or than came in."""
    with writing(engine) as session:
        session.execute(Ahead.__table__.delete())  # type: ignore[attr-defined]
    for origin, quantity in given_:
        put(engine, quantity, origin)
    rows = [row(quantity, origin) for origin, quantity in used]
    taken = take(engine, *rows[:at]) + take(engine, *rows[at:])
    assert all(
        0 <= plain == recorded <= r.quantity
        for (recorded, plain), r in zip(taken, rows, strict=True)
    )
    for origin in (1, 2):
        there = sum(q for o, q in given_ if o == origin)
        came = sum(q for o, q in used if o == origin)
        off = sum(t[0] for t, r in zip(taken, rows, strict=True) if r.origin == origin)
        assert off == min(there, came)
        assert left(engine).get((origin, ""), 0) == there - off
