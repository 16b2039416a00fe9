"""Closing under crashes, in parallel, and in any order: the books balance."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlmodel import SQLModel

from billing_sync.closing import Made
from billing_sync.models import Instance, UsageRecord, UsageWindow
from billing_sync.store.engine import writing
from metering.catalogue import Product
from metering.windows import HOUR_MS
from tests.billing_sync.books import CATALOGUE, METER, MINUTE, START, Books


@pytest.fixture
def books(engine: Engine) -> Books:
    return Books(engine)


class Breaking(dict[str, Product]):
    """A catalogue that fails at the n-th question."""

    def __init__(self, after: int) -> None:
        super().__init__(CATALOGUE)
        self.left = after

    def get(self, key: str, default: Any = None) -> Any:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("the power went")
        return super().get(key, default)


@pytest.mark.parametrize("after", range(6))
def test_a_crash_leaves_nothing(books: Books, after: int) -> None:
    """Wherever it happens inside the transaction, the next close starts from the same state."""
    for name in ("i", "j", "k"):
        books.buy(name)
        books.buy(f"pack-{name}", "STOP", started=START - HOUR_MS)
        books.use(name, 1000)
    books.to_the_next_hour()
    books.catalogue = Breaking(after)
    with pytest.raises(RuntimeError):
        books.close()
    assert books.all(UsageRecord) == []
    assert books.closed_through() == 0
    assert all(row.recorded == 0 for row in books.all(UsageWindow))
    assert all(row.recorded_until == 0 for row in books.all(Instance))
    books.catalogue = CATALOGUE
    assert books.close() == (3, 0)


def test_two_closers_at_once(books: Books) -> None:
    """Between them each hour is recorded once."""
    for number in range(10):
        books.buy(f"i{number}")
        books.use(f"i{number}", 1000)
    books.to_the_next_hour()
    with ThreadPoolExecutor(4) as pool:
        work: list[Callable[[], Made | None]] = [books.close, books.cut] * 2
        made = [job.result() for job in [pool.submit(one) for one in work]]
    assert sum(each.records for each in made if each is not None) == 10
    assert len(books.all(UsageRecord)) == 10


actions = st.lists(
    st.one_of(
        st.tuples(st.just("use"), st.sampled_from("ij"), st.integers(1, 9000), st.integers(-3, 1)),
        st.tuples(st.just("pass"), st.integers(1, 20_000)),
        st.tuples(st.just("pass"), st.integers(1, 3 * HOUR_MS)),
        st.tuples(st.just("close")),
        st.tuples(st.just("cut"), st.booleans()),
        st.tuples(st.just("buy"), st.sampled_from(["PACK", "STOP", "STOP-2"])),
        st.tuples(st.just("release"), st.sampled_from("ij"), st.integers(-60_000, 60_000)),
        st.tuples(st.just("freeze"), st.sampled_from("ij")),
    ),
    max_size=25,
)


@settings(max_examples=26, deadline=None, suppress_health_check=list(HealthCheck))
@given(script=actions, unit=st.sampled_from([1, 7, 1000, 30_000_000]), started=st.integers(0, 5000))
def test_whatever_happens_the_books_balance(
    engine: Engine, script: list[tuple[Any, ...]], unit: int, started: int
) -> None:
    """Any order of usage, closes, cuts, packages and releases: nothing lost, nothing twice."""
    with writing(engine) as session:
        for table in reversed(SQLModel.metadata.sorted_tables):
            session.execute(table.delete())
    token = Product(product_id="TOKENS", meter=METER, unit=unit)
    books = Books(engine, {**CATALOGUE, "TOKENS": token})
    for name in "ij":
        books.buy(name, started=START + 10 * MINUTE - started)
    before: dict[str, set[str]] = {}  # the records an instance had when its release came in
    for number, action in enumerate(script):
        _play(books, action, before, number)
        for name in "ij":
            books.audit(name, unit=unit)
    for name in sorted({"i", "j"} - before.keys()):
        _play(books, ("release", name, 0), before, 0)
    books.clock.advance(ms=4 * HOUR_MS)
    books.close()
    for name in "ij":
        books.audit(name, unit=unit)
        assert books.unrecorded(name) == 0
        released_ms = next(i.released for i in books.all(Instance) if i.id == name)
        after = [r for r in books.records(name) if r.metering_sn not in before[name]]
        assert all(record.end <= released_ms for record in after)


def _play(books: Books, action: tuple[Any, ...], before: dict[str, set[str]], number: int) -> None:
    match action:
        case ("use", name, quantity, ahead):
            books.use(name, quantity, window=books.clock.now_ms() // HOUR_MS + ahead)
        case ("pass", ms):
            books.clock.advance(ms=ms)
        case ("close",):
            books.close()
        case ("cut", released_only):
            books.cut(released_only=released_only)
        case ("buy", product_id):
            books.buy(f"pack-{number}", product_id, started=books.clock.now_ms())
        case ("release", name, offset) if name not in before:
            before[name] = {record.metering_sn for record in books.records(name)}
            books.release(name, sent_at=books.clock.now_ms() + offset)
        case ("freeze", name) if name not in before:
            books.change(name, status="frozen")
