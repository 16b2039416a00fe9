"""A close goes page by page: bounded memory, and a crash between two pages harms nothing."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from billing_sync.models import Partition, UsageWindow
from billing_sync.store import stops
from billing_sync.store.engine import writing
from metering.windows import HOUR_MS
from tests.billing_sync.books import CATALOGUE, HOUR, START, Books

NAMES = [f"i{number}" for number in range(7)]


@pytest.fixture
def books(engine: Engine) -> Books:
    """Seven instances with two hours of use, by two grades."""
    books = Books(engine)
    for name in NAMES:
        books.buy(name)
        books.use(name, 1000)
        books.use(name, 11, route="images")
    books.to_the_next_hour()
    for name in NAMES:
        books.use(name, 500)
    books.to_the_next_hour()
    return books


def audit(books: Books) -> None:
    """Every instance has a record for each hour."""
    for name in NAMES:
        assert books.intervals(name) == [(0, 3600), (3600, 7200)]
        assert [record.quantity for record in books.records(name)] == [1011, 500]
        books.audit(name)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 6, 9, 20, 21, 22, 4000])
def test_a_page_of_any_size(books: Books, rows: int) -> None:
    """The same records, also where an instance has more than a page holds."""
    books.page = rows
    assert books.close() == (14, 0)
    audit(books)
    assert books.closed_through() == START + 2 * HOUR_MS
    assert books.close() is None


@pytest.mark.parametrize("rows", [1, 4, 4000])
def test_a_cut_goes_by_pages_too(books: Books, rows: int) -> None:
    """What is left over is not asked for for ever."""
    books.page = rows
    books.change("i3", product_id="UNHEARD-OF")
    assert books.cut() == (12, 2)
    assert books.cut() == (0, 2)


class Killed(Exception):
    """The process ends here."""


class Dying:
    """A catalogue that kills the process at the n-th product it is asked for."""

    def __init__(self, after: int) -> None:
        self.left = after

    def get(self, key: str, default: object = None) -> object:
        self.left -= 1
        if self.left < 0:
            raise Killed
        return CATALOGUE.get(key)

    def values(self) -> Iterator[object]:
        return iter(CATALOGUE.values())


@pytest.mark.parametrize("after", range(1, 7))
def test_a_crash_between_pages(books: Books, after: int) -> None:
    """Done pages stay done, the rest is made up for, and nothing stands twice."""
    books.page = 3
    books.catalogue = Dying(after)  # type: ignore[assignment]
    with pytest.raises(Killed):
        books.close()
    done = [name for name in NAMES if books.records(name)]
    assert done == NAMES[:after]
    assert books.closed_through() == 0
    books.catalogue = CATALOGUE
    for name in NAMES:  # of the hour that was being closed, and of the one that is open
        books.use(name, 40, window=HOUR)
        books.use(name, 2)
    made = books.close()
    assert made is not None
    assert made.records == 2 * (7 - after)
    audit(books)
    books.to_the_next_hour()
    assert books.close() == (7, 0)
    for name in NAMES:
        assert [record.quantity for record in books.records(name)] == [1011, 500, 42]
        books.audit(name)


def test_what_comes_in_between_two_pages_is_late(books: Books) -> None:
    """It is not slipped behind the pages that are done: it stands in the next record."""
    books.page = 3
    books.catalogue = Dying(2)  # type: ignore[assignment]
    with pytest.raises(Killed):
        books.close()
    (row,) = books.all(Partition)
    assert (row.closing, row.closed_through) == (START + 2 * HOUR_MS, 0)
    books.catalogue = CATALOGUE
    books.use("i0", 40, window=HOUR)
    assert [w.window for w in books.all(UsageWindow) if w.mark == "late"] == [HOUR + 2]


def test_billing_that_stops_between_two_pages(books: Books) -> None:
    """The pages that are done stay; the window is not closed until billing goes on."""
    books.page = 3
    books.catalogue = Dying(2)  # type: ignore[assignment]
    with pytest.raises(Killed):
        books.close()
    with writing(books.engine) as session:
        stops.stop(session, "set back", 0)
    books.catalogue = CATALOGUE
    assert books.close() is None
    assert [name for name in NAMES if books.records(name)] == NAMES[:2]
    with writing(books.engine) as session:
        stops.lift(session)
    assert books.close() == (10, 0)
    audit(books)
