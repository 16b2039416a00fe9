"""Which trailer fields pass."""

import pytest

from gateway import trailers
from gateway.errors import BadFraming


def test_fields_are_read() -> None:
    """Names in lower case, values without the space around them, Latin-1 and empty ones kept."""
    section = b"X-Sum:  1 \r\nGrpc-Status: 0\r\nX-Empty:\r\nX-Name: \xe9\r\nX-Sum: 2"
    assert trailers.parse(section) == [
        (b"x-sum", b"1"),
        (b"grpc-status", b"0"),
        (b"x-empty", b""),
        (b"x-name", b"\xe9"),
        (b"x-sum", b"2"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        b"Content-Length",
        b"Content_Length",
        b"Transfer-Encoding",
        b"Host",
        b"Authorization",
        b"X-Api-Key",
        b"X-Customer-Id",
        b"x_customer_id",
        b"X-Request-Id",
        b"X-Forwarded-For",
        b"Content-Type",
        b"Content-Encoding",
        b"Set-Cookie",
        b"Cookie",
        b"If-Match",
        b"Connection",
        b"Trailer",
        b"TE",
        b"Upgrade",
        b"Expect",
        b"Access-Control-Allow-Origin",
    ],
)
def test_what_belongs_in_a_head_is_dropped(name: bytes) -> None:
    """It is not merged, and the others go on."""
    assert trailers.parse(name + b": 1\r\nServer-Timing: a") == [(b"server-timing", b"a")]


@pytest.mark.parametrize("line", [b"", b"x", b": y", b"x : y", b" x: y", b"x: y\n", b"x\xff: y"])
def test_other_lines_are_refused(line: bytes) -> None:
    """Whole, and as the line that stands between others."""
    with pytest.raises(BadFraming):
        trailers.parse(b"a: b\r\n" + line + b"\r\nc: d")


@pytest.mark.parametrize(
    "section", [b"", b"X", b"X:", b"X: y\r", b"X: y\r\n", b"X: y\r\n\r", b"\r"]
)
def test_a_beginning_may_go_on(section: bytes) -> None:
    """What can still become a section is waited for."""
    trailers.check_so_far(section)


@pytest.mark.parametrize("section", [b" ", b"X ", b"X: y\n", b"X: y\r\r", b"\n", b"X: y\r\n z"])
def test_a_hopeless_beginning_is_refused(section: bytes) -> None:
    """At once, not at the time-out."""
    with pytest.raises(BadFraming):
        trailers.check_so_far(section)
