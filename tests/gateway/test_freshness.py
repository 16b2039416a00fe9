"""How old what is known of the customers is."""

from gateway.freshness import Freshness


def test_without_a_word_it_gets_stale() -> None:
    """Its age counts from the start, and from each word after it."""
    fresh = Freshness(30.0, now_s=100.0)
    assert (fresh.loaded, fresh.age_s(110.0), fresh.stale(130.0)) == (False, 10.0, False)
    assert fresh.stale(130.5)
    fresh.heard(131.0)
    assert fresh.loaded
    assert not fresh.stale(161.0)
    assert fresh.stale(161.5)


def test_what_a_file_says_is_as_old_as_its_writers_last_word() -> None:
    """It may be stale as soon as it is read; a word from Redis makes that good."""
    fresh = Freshness(30.0, now_s=100.0)
    fresh.read(3600.0, now_s=101.0)
    assert (fresh.loaded, fresh.from_disk, fresh.stale(101.0)) == (True, True, True)
    fresh.heard(102.0)
    assert (fresh.from_disk, fresh.stale(102.0)) == (False, False)


def test_a_file_from_the_future_is_as_fresh_as_can_be() -> None:
    """A clock that was set back makes nothing fresher than now."""
    fresh = Freshness(30.0, now_s=100.0)
    fresh.read(-3600.0, now_s=100.0)
    assert fresh.age_s(100.0) == 0.0
    assert fresh.stale(130.5)
