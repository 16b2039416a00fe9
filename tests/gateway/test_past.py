"""Counters of workers that are gone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway import past
from gateway.pages import Page, pages
from metering.locks import try_lock
from tests.gateway.test_pages import said


def dead(folder: Path, name: str, number: int) -> Path:
    """The page of a worker that ended."""
    page = Page(folder, name)
    page.publish(said(number))
    page.close()
    return page.path


def total(folder: Path) -> float:
    """What all of them counted."""
    families = past.total(folder)
    return families[0].groups[0].rows[0][1] if families else 0


def test_the_sum_stays_when_pages_go(tmp_path: Path) -> None:
    """However many lives a worker had."""
    living = Page(tmp_path, "living")
    living.publish(said(1000))
    expected = 1000
    for number in range(1, 6):
        dead(tmp_path, f"dead-{number}", number)
        expected += number
        assert total(tmp_path) == expected
        if number % 2:
            assert past.fold(tmp_path)
        assert total(tmp_path) == expected
    past.fold(tmp_path)
    assert pages(tmp_path) == [living.path]
    assert past.fold(tmp_path) == 0
    assert total(tmp_path) == expected


@pytest.mark.parametrize("killed_at", ["replace", "unlink"])
def test_a_kill_between_the_steps_counts_nothing_twice(tmp_path: Path, killed_at: str) -> None:
    """Before and after the past has its name, with the pages still there."""
    dead(tmp_path, "one", 7)
    page = dead(tmp_path, "two", 5)
    raw = page.read_bytes()

    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with _replaced(killed_at, killed), pytest.raises(Killed):
        past.fold(tmp_path)
    assert total(tmp_path) == 12
    past.fold(tmp_path)
    assert total(tmp_path) == 12
    assert pages(tmp_path) == []
    page.write_bytes(raw)  # somebody read it before it went
    assert total(tmp_path) == 12


class _replaced:  # noqa: N801  (a context manager)
    """A method of Path, replaced while the block lasts: the moment of the kill."""

    def __init__(self, name: str, by: Callable[..., None]) -> None:
        self._name, self._by = name, by

    def __enter__(self) -> None:
        self._was = getattr(Path, self._name)
        setattr(Path, self._name, self._by)

    def __exit__(self, *_: object) -> None:
        setattr(Path, self._name, self._was)


def test_one_folds_at_a_time(tmp_path: Path) -> None:
    """The others read what is there."""
    dead(tmp_path, "one", 7)
    lock = try_lock(tmp_path / "lock")
    assert lock is not None
    assert past.fold(tmp_path) == 0
    assert total(tmp_path) == 7


def test_an_unreadable_past_begins_again(tmp_path: Path) -> None:
    """And says so."""
    dead(tmp_path, "one", 7)
    (tmp_path / "past").write_bytes(b"garbage")
    assert total(tmp_path) == 7
    assert past.fold(tmp_path) == 1
    assert total(tmp_path) == 7
