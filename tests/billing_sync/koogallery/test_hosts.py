"""Which host is asked first."""

from billing_sync.koogallery.hosts import RETURN_MS, Hosts

ONE, OTHER = "https://one", "https://other"


def test_the_first_is_preferred() -> None:
    """While nothing is known to be away."""
    assert Hosts([ONE, OTHER]).in_turn(0) == [ONE, OTHER]


def test_who_was_away_comes_last() -> None:
    """For ten minutes, or until it answers."""
    hosts = Hosts([ONE, OTHER])
    hosts.away(ONE, 5)
    assert hosts.in_turn(5 + RETURN_MS - 1) == [OTHER, ONE]
    assert hosts.in_turn(5 + RETURN_MS) == [ONE, OTHER]
    hosts.there(ONE)
    assert hosts.in_turn(6) == [ONE, OTHER]


def test_all_away() -> None:
    """Are asked all the same, in their own order."""
    hosts = Hosts([ONE, OTHER])
    hosts.away(OTHER, 0)
    hosts.away(ONE, 1)
    assert hosts.in_turn(2) == [ONE, OTHER]
