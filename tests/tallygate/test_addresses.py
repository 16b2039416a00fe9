"""host:port as listeners take it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.addresses import Address, is_this_machine, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:8080", Address("::1", 8080)),
        ("0.0.0.0:65535", Address("0.0.0.0", 65535)),
    ],
)
def test_an_address_is_host_and_port(text: str, address: Address) -> None:
    """Names, IPv4 and bracketed IPv6; port 0 lets the system choose; it prints as it was written."""
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8080",
        ":8080",
        "host:",
        "host:http",
        "host:65536",
        "host:-1",
        "host:٣",
        "host:123456",
        "::1:8080",
        "[::1]",
        "[host]:80",
        "[::1:80",
        "a b:80",
        "http://host:80",
    ],
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    """What is not host:port raises ValueError."""
    with pytest.raises(ValueError, match=r".+"):
        parse_address(text)


@given(st.text(max_size=20))
def test_text_gives_an_address_or_a_value_error(text: str) -> None:
    """No other exception escapes, and what is accepted is read again as the same."""
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("", False),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
    ],
)
def test_this_machine(host: str, here: bool) -> None:
    """Loopback and its name; no name is looked up."""
    assert is_this_machine(host) is here
