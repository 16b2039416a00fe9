"""What makers give, and the ids of licences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.licences import (
    MAX_FILE,
    LicenceFile,
    LicenceRefused,
    MakerFailed,
    Reason,
    licence_id,
    made_of,
    moment,
)


def test_a_string_and_a_file() -> None:
    """Characters up to their bound, and files with a name."""
    text = made_of("ä" * 1024)
    assert (text.kind, text.file_name, text.content.decode()) == ("CHARACTERS", "", "ä" * 1024)
    file = made_of(LicenceFile("许可 1.lic", b"\x00\xff"))
    assert (file.kind, file.file_name, file.content) == ("FILE", "许可 1.lic", b"\x00\xff")
    assert made_of(("a.lic", b"x")).sha256 == (
        "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    )


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "x" * 1025,
        "\ud800",
        b"bytes",
        ("", b"x"),
        ("a/b", b"x"),
        ('a"b', b"x"),
        ("a\r\nb", b"x"),
        ("..", b"x"),
        ("n" * 256, b"x"),
        ("a", b""),
        ("a", b"x" * (MAX_FILE + 1)),
        ("a", "x"),
        (1, b"x"),
        ("a", b"x", 3),
        {"characters": "x"},
    ],
)
def test_what_is_no_licence(given: object) -> None:
    """A maker's mistake is said; nothing is stored."""
    with pytest.raises(MakerFailed):
        made_of(given)


def test_reasons_are_result_codes() -> None:
    """And a reason speaks for itself."""
    assert str(LicenceRefused(Reason.QUOTA_USED_UP)) == "quota used up"
    assert LicenceRefused(Reason("000903"), "a\nb").args == ("a b",)


@given(st.text(max_size=64), st.text(max_size=64), st.text(max_size=64), st.text(max_size=64))
def test_ids_tell_wishes_apart(event: str, device: str, other: str, another: str) -> None:
    """The same wish has one id, another one another, wherever event and device meet."""
    same = (event, device) == (other, another)
    assert (licence_id(event, device) == licence_id(other, another)) == same
    assert len(licence_id(event, device)) <= 64
    assert "." not in licence_id(event, device)


def test_moments() -> None:
    """Never is None, and milliseconds are kept."""
    assert moment(0) is None
    at = moment(1_698_402_615_123)
    assert at is not None
    assert at.isoformat() == "2023-10-27T10:30:15.123000+00:00"
