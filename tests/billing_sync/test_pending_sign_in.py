"""A begun sign-in in its browser's cookie: sealed, for ten minutes, for this installation."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.errors import SignInRefused
from billing_sync.pending_sign_in import LIFE_MS, Pending, opened, sealed

SECRET = b"installation secret"
NOW = 1_790_000_000_000
BEGUN = Pending("state", "verifier", "tenant", "instance", "app", NOW + LIFE_MS)
COOKIE = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_there_and_back() -> None:
    """Fit for a cookie, and nothing of it to be read."""
    cookie = sealed(SECRET, BEGUN, os.urandom(12))
    assert opened(SECRET, cookie, NOW) == BEGUN
    assert set(cookie) <= COOKIE


@pytest.mark.parametrize("at", [NOW + LIFE_MS, NOW - 1])
def test_over(at: int) -> None:
    """Also where a clock says that it is longer than it can be."""
    with pytest.raises(SignInRefused):
        opened(SECRET, sealed(SECRET, BEGUN, os.urandom(12)), at)


@given(st.text(max_size=200))
def test_any_other_text(cookie: str) -> None:
    """Is refused."""
    with pytest.raises(SignInRefused):
        opened(SECRET, cookie, NOW)


@given(st.integers(0), st.sampled_from(sorted(COOKIE)))
def test_a_changed_letter(place: int, letter: str) -> None:
    """Or a cookie of another installation."""
    cookie = sealed(SECRET, BEGUN, b"0" * 12)
    at = place % (len(cookie) - 1)  # the last one's bits may be padding
    if cookie[at] == letter:
        return
    with pytest.raises(SignInRefused):
        opened(SECRET, cookie[:at] + letter + cookie[at + 1 :], NOW)
    with pytest.raises(SignInRefused):
        opened(b"another", cookie, NOW)
