"""The last records of an instance that is released: inside its life, however late its usage comes."""

import pytest
from sqlalchemy import Engine

from metering.windows import HOUR_MS
from tests.billing_sync.books import HOUR, MINUTE, SECOND, START, Books


@pytest.fixture
def books(engine: Engine) -> Books:
    return Books(engine)


def test_a_release_stops_five_seconds_early(books: Books) -> None:
    """So that usage that comes in late still has seconds to stand in."""
    books.buy("i")
    books.use("i", 1000)
    books.release("i", sent_at=START + 300_500)
    assert books.cut(released_only=True) == (1, 0)
    assert books.intervals() == [(0, 295)]
    for _ in range(7):
        books.use("i", 10)
        books.cut(released_only=True)
    assert books.intervals()[1:] == [(295, 296), (296, 297), (297, 298), (298, 299), (299, 300)]
    assert books.buckets() == {"unbillable": 20}
    books.audit()


def test_what_fits_nowhere_is_named_once(books: Books) -> None:
    """Released in the second it started: no interval exists, and closing again changes nothing."""
    books.buy("i", started=START + 500)
    books.use("i", 1000)
    books.release("i", sent_at=START + 900)
    for _ in range(3):
        books.cut(released_only=True)
        books.to_the_next_hour()
        books.close()
    assert books.buckets() == {"unbillable": 1000}
    assert books.records() == []
    assert books.unrecorded() == 0


def test_a_release_just_after_the_hour(books: Books) -> None:
    """The hour that is over and the seconds of the new one, both before the release."""
    books.buy("i")
    books.use("i", 1000)
    books.clock.time_ms = START + HOUR_MS + 2 * SECOND
    books.use("i", 50)
    books.release("i")
    books.clock.advance(seconds=4)
    assert books.cut(released_only=True) == (2, 0)
    assert books.intervals() == [(0, 3597), (3600, 3601)]
    books.audit()


def test_an_hour_never_closed_before_the_release(books: Books) -> None:
    """Hours, a release in between, and usage even after it: each has its place."""
    books.buy("i")
    books.use("i", 1000)
    books.clock.time_ms = START + HOUR_MS + 10 * MINUTE
    books.use("i", 1000)
    books.release("i")
    books.clock.time_ms = START + 2 * HOUR_MS
    books.use("i", 30)  # a gateway that had not heard of it
    books.clock.time_ms = START + 5 * HOUR_MS
    assert books.close() == (3, 0)
    assert books.intervals() == [(0, 3600), (3600, 4195), (4195, 4196)]
    books.audit()


def test_usage_that_comes_in_hours_after_the_release(books: Books) -> None:
    """Booked in today's window, recorded in the seconds the release left free."""
    books.buy("i")
    books.use("i", 1000)
    books.release("i")
    books.cut(released_only=True)
    books.clock.time_ms = START + 7 * HOUR_MS
    books.close()
    books.use("i", 500, window=HOUR)
    books.clock.advance(ms=HOUR_MS)
    assert books.close() == (1, 0)
    assert books.intervals() == [(0, 595), (595, 596)]
    books.audit()


def test_late_usage_of_an_old_instance_without_records_is_near_its_end(books: Books) -> None:
    """Not at its start, which may be longer ago than the marketplace takes."""
    books.buy("i", started=START - 60 * 24 * HOUR_MS)
    books.release("i")
    books.clock.time_ms = START + 3 * HOUR_MS
    books.close()
    books.use("i", 500, window=HOUR)
    books.to_the_next_hour()
    books.close()
    assert books.intervals() == [(595, 596)]


def test_a_release_by_a_clock_ahead_of_ours(books: Books) -> None:
    """No interval ends in our future; the rest waits for seconds to come."""
    books.buy("i", started=books.clock.now_ms() - 2 * SECOND)
    books.use("i", 1000)
    books.release("i", sent_at=books.clock.now_ms() + 20 * SECOND)
    books.cut(released_only=True)
    assert books.intervals() == [(598, 599)]
    books.use("i", 10)
    books.use("i", 10, window=HOUR + 1)
    books.cut(released_only=True)
    assert books.intervals() == [(598, 599), (599, 600)]
    books.use("i", 10)
    assert books.cut(released_only=True) == (0, 1)
    books.clock.advance(seconds=1)
    assert books.cut(released_only=True) == (1, 0)
    assert books.buckets() == {}
    books.audit()


def test_a_cut_for_released_ones_leaves_the_others(books: Books) -> None:
    """They are recorded with their hour."""
    books.buy("i")
    books.buy("gone")
    books.use("i", 1000)
    books.use("gone", 1000)
    books.release("gone")
    assert books.cut(released_only=True) == (1, 0)
    assert books.records("i") == []
