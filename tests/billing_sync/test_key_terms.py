"""What can be asked of a key, and what a key is called."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.errors import BadQuestion
from billing_sync.key_terms import (
    KeyAsked,
    RotationAsked,
    expiry_of,
    key_asked,
    rotation_asked,
    status_of,
)

NOW = 1_790_000_000_000
HOUR = 3_600_000


def asked(name: str = "", expires: str | None = None, routes: tuple[str, ...] = ()) -> KeyAsked:
    return key_asked("c", name, expires, routes, NOW, deliver=False)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("never", 0),
        ("1s", NOW + 1000),
        ("90m", NOW + 90 * 60_000),
        ("24h", NOW + 24 * HOUR),
        ("90d", NOW + 90 * 24 * HOUR),
        ("2027-01-31T00:00:00Z", 1_801_353_600_000),
        ("2027-01-31T08:00:00+08:00", 1_801_353_600_000),
        ("2027-01-31", 1_801_353_600_000),
    ],
)
def test_an_end(text: str, at: int) -> None:
    """From now on, or a time; without a zone it is UTC."""
    assert expiry_of(text, NOW) == at


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "90",
        "d",
        "-1d",
        "1w",
        "1.5h",
        "٣d",
        "1234567d",
        "2020-01-01",
        "0s",
        "NEVER",
        "9999-12-31T23:59:59-14:00",
    ],
)
def test_no_end(text: str) -> None:
    """Neither unreadable nor over already."""
    with pytest.raises(BadQuestion, match="expires"):
        expiry_of(text, NOW)


@given(st.text(max_size=80))
def test_whatever_is_written_is_an_end_or_refused(text: str) -> None:
    """Nothing else is raised, and no end is in the past."""
    with suppress(BadQuestion):
        at = expiry_of(text, NOW)
        assert at == 0 or at > NOW


def test_a_key_as_asked() -> None:
    """Without anything said it is for all routes and for ever; a route named twice is one."""
    assert asked() == KeyAsked("c", "", 0, (), deliver=False)
    full = asked("laptop", "1h", ("chat", "img", "chat"))
    assert full == KeyAsked("c", "laptop", NOW + HOUR, ("chat", "img"))


@pytest.mark.parametrize("text", ["x" * 65, "a\nb", "\x00", "\u202e"])
def test_names_are_bounded(text: str) -> None:
    """And hold nothing that cannot be shown."""
    with pytest.raises(BadQuestion, match="name"):
        asked(name=text)
    with pytest.raises(BadQuestion, match="routes"):
        asked(routes=(text,))
    for customer_id in (text, ""):
        with pytest.raises(BadQuestion, match="customer_id"):
            key_asked(customer_id, "", None, (), NOW, deliver=False)


def test_routes_are_bounded() -> None:
    """A key for so many is a key for all."""
    with pytest.raises(BadQuestion, match="50 routes"):
        asked(routes=tuple(f"r{number}" for number in range(51)))


def test_a_rotation_as_asked() -> None:
    """A day of overlap, and the old one's end, where nothing is said."""
    assert rotation_asked(None, None, NOW) == RotationAsked(24 * HOUR, None)
    assert rotation_asked("0s", "never", NOW) == RotationAsked(0, 0)
    for overlap in ("", "1", "never", "-1h"):
        with pytest.raises(BadQuestion, match="overlap"):
            rotation_asked(overlap, None, NOW)


def test_a_word_for_every_key() -> None:
    """The strongest reason counts."""
    assert status_of(NOW) == status_of(NOW, expires=NOW + 1) == "active"
    assert status_of(NOW, expires=NOW) == status_of(NOW, expires=NOW, replaced_by=2) == "expired"
    assert status_of(NOW, expires=NOW + 1, replaced_by=2) == "replaced"
    assert status_of(NOW, expires=NOW, revoked=1, replaced_by=2) == "revoked"
