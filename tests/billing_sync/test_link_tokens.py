"""Links to customers' pages: what was signed comes back, and nothing else is believed."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from billing_sync.errors import BadLink
from billing_sync.link_tokens import MAX_TOKEN, Link, UsageLinks, read, signing_key, token_of

KEY = signing_key(b"installation secret")
TEXT = st.text(st.characters(codec="utf-8"), max_size=60)
LINKS = st.builds(
    Link, TEXT, TEXT, st.integers(0, 2**40), st.integers(min_value=0, max_value=2**31)
)


@given(LINKS)
def test_what_was_signed_comes_back(link: Link) -> None:
    """Whatever ids look like; and the token is fit to stand in an address."""
    token = token_of(KEY, link)
    assert read(KEY, token) == link
    assert token.isascii()
    assert set("/?#%&= ").isdisjoint(token)


@given(LINKS, st.integers(0), st.characters(min_codepoint=33, max_codepoint=126))
def test_a_changed_letter(link: Link, place: int, letter: str) -> None:
    """Anywhere, the last bits of the signature included."""
    token = token_of(KEY, link)
    at = place % len(token)
    assume(token[at] != letter)
    with pytest.raises(BadLink):
        read(KEY, token[:at] + letter + token[at + 1 :])


@given(LINKS, LINKS)
def test_parts_of_two_links(one: Link, other: Link) -> None:
    """The signature of one does not fit the other."""
    assume(one != other)
    with pytest.raises(BadLink):
        read(KEY, token_of(KEY, one).split(".")[0] + "." + token_of(KEY, other).split(".")[1])


@given(LINKS, st.binary(min_size=1, max_size=40))
def test_another_secret(link: Link, secret: bytes) -> None:
    """Links of another installation open nothing here."""
    assume(secret != b"installation secret")
    with pytest.raises(BadLink):
        read(signing_key(secret), token_of(KEY, link))


@given(st.text(max_size=200))
def test_anything_else(token: str) -> None:
    """Is refused, never a fault."""
    with pytest.raises(BadLink):
        read(KEY, token)


@pytest.mark.parametrize("token", ["", ".", "a.b.c", "=.=", "é.ü", "." * 5000, "x" * MAX_TOKEN])
def test_what_is_no_token(token: str) -> None:
    """However odd."""
    with pytest.raises(BadLink):
        read(KEY, token)


def test_addresses() -> None:
    """The same link for the same instance whenever it is made; the secret is in no repr."""
    links = UsageLinks.of("https://meter.example.com/", b"installation secret")
    url = links.url(Link("c", "i"))
    assert url == links.url(Link("c", "i"))
    assert url.startswith("https://meter.example.com/usage/")
    assert links.read(url.rpartition("/")[2]) == Link("c", "i")
    assert links.debug_url == "https://meter.example.com/usage/debug"
    assert str(KEY) not in repr(links)
