"""What decides anything is told from what only passes, and what is written badly from both."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.decisive import REPLY, REQUEST, only_usual_options, reply_apart, request_apart
from gateway.errors import GatewayError
from gateway.headers import passed_on
from gateway.raw_heads import read_reply, read_request

START = b"GET / HTTP/1.1\r\n"


def test_a_request_is_taken_apart() -> None:
    """Lines that decide stay as they are; those that pass are written anew."""
    head = START + b"Host: gw\r\nX-A:b\t\r\nAPI-Key: k\r\nX-Request-Id: 1\r\nhost: x\r\n\r\n"
    parts = request_apart(head, b"caller", 100)
    assert parts is not None
    assert parts.shape == b"caller\r\nGET / HTTP/1.1\r\nHost: gw\r\nhost: x"
    assert (parts.credentials, parts.passing) == (b"API-Key: k", b"x-a: b\r\n")


def test_a_reply_is_taken_apart() -> None:
    """Its length is cut out, and no line can be taken for the gap."""
    head = b"HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length:\t12 \r\nX-Request-Id: 1\r\n\r\n"
    parts = reply_apart(head)
    assert parts is not None
    assert (parts.shape, parts.passing) == (b"HTTP/1.1 200 OK\r\n\x00", b"date: d\r\n")
    assert (parts.length, parts.dated) == (12, True)
    assert reply_apart(head.replace(b"Content-Length:\t12 ", b"\x00")) is None


def test_names_that_upstreams_fold_do_not_pass() -> None:
    """WSGI takes `_` for `-`."""
    for name in (b"x-forwarded-for", b"x_forwarded_for", b"te", b"x_customer_id", b"Host"):
        assert not REQUEST.passes(name)
    assert not REPLY.passes(b"content_length")
    assert REQUEST.passes(b"traceparent")
    assert REPLY.passes(b"X_Any")


def test_names_are_remembered_within_bounds() -> None:
    """Whoever invents more only has them looked at again."""
    for number in range(5000):
        assert REQUEST[b"x-%d" % number] == b"x-%d: " % number
    assert len(REQUEST) <= 4096
    assert REQUEST[b"y" * 65] == "unclear"


def test_connection_may_only_name_what_goes_no_further_anyway() -> None:
    """Otherwise a field that would pass does not."""
    assert only_usual_options([(b"connection", b"Keep-Alive, close"), (b"x", b"y")])
    assert only_usual_options([(b"connection", b"TE"), (b"connection", b" , upgrade")])
    assert not only_usual_options([(b"connection", b"close"), (b"connection", b"x-a")])


LINES = st.one_of(
    st.from_regex(rb"\A[A-Za-z_-]{1,5}:[ \t]?[ -~]{0,8}\Z"),
    st.sampled_from(
        [b"Host: gw", b"Connection: close", b"X\r\n", b"X: a\rb", b"X: a\nb", b"a:\x7f"]
    ),
    st.binary(max_size=6),
)


@given(st.lists(LINES, max_size=6))
def test_what_passes_is_written_as_our_reader_wants_it(lines: list[bytes]) -> None:
    """And is what it finds there: every field that is not dropped and decides nothing."""
    fields = b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    for kinds, start, parts in (
        (REQUEST, START, request_apart(START + fields, b"", 100)),
        (REPLY, b"HTTP/1.1 200 OK\r\n", reply_apart(b"HTTP/1.1 200 OK\r\n" + fields)),
    ):
        if parts is None:
            continue
        try:
            read = read_request if kinds is REQUEST else read_reply
            headers = read(start + fields).headers
        except GatewayError:
            continue  # for one that decides, which is always read
        passing = [b"%b: %b\r\n" % each for each in headers if kinds.passes(each[0])]
        assert parts.passing == b"".join(passing)
        if only_usual_options(headers):
            left = [each for each in passed_on(headers, frozenset()) if kinds.passes(each[0])]
            assert [b"%b: %b\r\n" % each for each in left] == passing


@given(st.lists(LINES, max_size=6))
def test_nothing_that_is_written_badly_passes(lines: list[bytes]) -> None:
    """Without the lines that decide, which are read, our reader accepts what passes."""
    head = START + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    parts = request_apart(head, b"", 100)
    if parts is not None:
        assert len(read_request(START + b"Host: gw\r\n" + parts.passing + b"\r\n").headers) < 8
