"""Which databases may be named, and that a password is never said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from tallygate.database_urls import SCHEME, wrong_with

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    "rest",
    [
        "u:p%40ss%2Fw@db.example.com:5432/ledger",
        "u@h/ledger",
        "h/ledger?sslmode=verify-full&sslrootcert=/etc/ca.pem",
        "u:p@[::1]:5432/ledger",
        "u@/ledger?host=/run/postgresql",
        "u:p@/ledger?host=a:5432&host=b:5432",
        "u:p@h/ledger?options=-c%20search_path%3Dbilling",
    ],
)
def test_what_may_be_tried(rest: str) -> None:
    """With password, port, TLS, a socket, several hosts, options."""
    assert wrong_with(f"{SCHEME}://{rest}") is None


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("postgres", "write embedded or postgresql+psycopg://"),
        (f"postgresql://u:{SECRET}@h/db", "write embedded or postgresql+psycopg://"),
        (f"postgresql+psycopg2://u:{SECRET}@h/db", "write embedded or postgresql+psycopg://"),
        (f"sqlite:////{SECRET}", "write embedded or postgresql+psycopg://"),
        (f"{SCHEME}://", "host or database is missing"),
        (f"{SCHEME}://u:{SECRET}@h", "host or database is missing"),
        (f"{SCHEME}://u:{SECRET}@h/", "host or database is missing"),
        (f"{SCHEME}://u:{SECRET}@/db", "host or database is missing"),
        (f"{SCHEME}://u:{SECRET}@h/a/b", "host or database is missing"),
        (f"{SCHEME}://u:{SECRET}@h:99999/db", "in a password %"),
        (f"{SCHEME}://u:{SECRET}@h:0/db", "in a password %"),
        (f"{SCHEME}://u:{SECRET}/1@h/db", "in a password %"),
        (f"{SCHEME}://u:{SECRET}#1@h/db", "in a password %"),
        (f"{SCHEME}://u:{SECRET}@1@h/db", "in a password %"),
        (f"{SCHEME}://u:{SECRET} 1@h/db", "in a password %"),
        (f"{SCHEME}://u@h/db?password={SECRET}", "before the @"),
        (f"{SCHEME}://u@h/db?sslpassword={SECRET}", "before the @"),
        (f"{SCHEME}://u@h/db?{SECRET}", "in a password %"),
    ],
)
def test_what_may_not(url: str, word: str) -> None:
    """And what to write instead."""
    said = wrong_with(url)
    assert said is not None
    assert word in said
    assert SECRET not in said


@given(st.text(max_size=40))
def test_what_is_let_through_can_be_read(rest: str) -> None:
    """By the library that connects; anything else has its line and no other error."""
    url = f"{SCHEME}://{rest}"
    if wrong_with(url) is None:
        assert make_url(url).database
