"""Sessions: found by their token alone, over in time, ended for good."""

import os

from billing_sync.web.sessions import LIFE_MS, Sessions, same


def test_a_session() -> None:
    """Is found by its token until it is over."""
    sessions = Sessions(os.urandom)
    token = sessions.open("operator", 1000)
    found = sessions.find(token, 1000 + LIFE_MS - 1)
    assert found is not None
    assert (found.subject, found.opened) == ("operator", 1000)
    assert sessions.find(token, 1000 + LIFE_MS) is None
    assert sessions.find(token + "0", 1000) is None
    assert sessions.find("\udcff", 1000) is None


def test_two_sessions_share_nothing() -> None:
    """Neither token nor what their forms carry, which is not the token either."""
    sessions = Sessions(os.urandom)
    one, two = sessions.open("a", 0), sessions.open("a", 0)
    first, second = sessions.find(one, 0), sessions.find(two, 0)
    assert first is not None
    assert second is not None
    assert len({one, two, first.csrf, second.csrf}) == 4
    assert first.csrf not in repr(first)


def test_signing_out() -> None:
    """Ends it, also for whoever kept the cookie."""
    sessions = Sessions(os.urandom)
    token = sessions.open("a", 0)
    sessions.close(token)
    sessions.close(token)
    assert sessions.find(token, 0) is None


def test_the_oldest_give_way() -> None:
    """Memory is bounded."""
    sessions = Sessions(os.urandom, most=2)
    tokens = [sessions.open("a", 0) for _ in range(3)]
    assert [sessions.find(token, 0) is not None for token in tokens] == [False, True, True]


def test_tokens_are_kept_as_digests() -> None:
    """A dump of memory tables lets nobody in."""
    sessions = Sessions(os.urandom)
    assert sessions.open("a", 0) not in str(sessions._open)


def test_texts_are_compared_whole() -> None:
    """Also those that are no text at all."""
    assert same("ä", "ä")
    assert not same("a", "ab")
    assert not same("\udc80", "?")
