"""The life of one request, without a socket."""

import json
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from gateway.admission import Directory
from gateway.credentials import Networks
from gateway.errors import Headers, UpstreamProtocol
from gateway.exchange import Exchange
from gateway.gate import Gate, Served
from gateway.passage import RequestHead, UpstreamRequest
from gateway.routing import RouteTable
from gateway.settings import Customer, Route, StaticInstance
from metering.catalogue import Product
from metering.usage import Charge, Grade, Outcome, Quantity

ID = "00000000-0000-4000-8000-000000000001"
NOW = 1_790_000_000_000
JSON = (b"content-type", b"application/json")
SSE = (b"content-type", b"text/event-stream")
TOKENS = Product(product_id="T", routes=["chat"], meter="tokens_total")
USAGE = b'{"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}'
STREAM = json.dumps({"model": "m", "stream": True, "messages": []}).encode()


def opened(*headers: tuple[bytes, bytes], method: str = "POST", **route: Any) -> Exchange:
    """An exchange of the customer `c`, who owns instance `i` of the tokens sold on this route."""
    settings = {"name": "chat", "path": "/v1", "upstream": ["http://up:9000/base"]} | route
    instances = [StaticInstance(id="i", product="T")]
    customer = Customer(id="c", name="示例", keys=[SecretStr("sk")], instances=instances)
    table = RouteTable([Route.model_validate(settings)], [TOKENS])
    directory = Directory(b"pepper", [customer])
    gate = Gate(Served(table, directory, Networks([]), Networks([])), lambda: 0)
    sent: Headers = [(b"host", b"gw"), (b"authorization", b"Bearer sk"), *headers]
    head = RequestHead(method, b"/v1/chat/completions?x=1", sent, "192.0.2.1", "https")
    return gate.open(head, ID)


def asked(exchange: Exchange, collected: bytes | None = None) -> UpstreamRequest:
    """What its first upstream is asked for."""
    return exchange.upstream_request(exchange.route.upstreams[0], collected)


def sent_up(*headers: tuple[bytes, bytes], **route: Any) -> Headers:
    """The headers the upstream gets."""
    return asked(opened(*headers, **route)).headers


def test_the_upstream_learns_who_calls() -> None:
    """Everything the gateway adds, and the target under the upstream's base path."""
    request = asked(opened((b"accept", b"*/*"), (b"content-length", b"2")))
    assert (request.method, request.origin) == ("POST", "http://up:9000")
    assert request.target == b"/base/v1/chat/completions?x=1"
    assert request.headers == [
        (b"host", b"up:9000"),
        (b"accept", b"*/*"),
        (b"x-forwarded-for", b"192.0.2.1"),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", b"gw"),
        (b"x-request-id", ID.encode()),
        (b"x-customer-id", b"c"),
        (b"x-customer-name", b"%E7%A4%BA%E4%BE%8B"),
        (b"content-length", b"2"),
    ]


def test_the_customers_key_stays_here() -> None:
    """All three headers are dropped, also beside each other, unless the route forwards them."""
    same = [(b"x-api-key", b"sk"), (b"api_key", b"sk")]
    names = {name for name, _ in sent_up(*same)}
    assert not names & {b"authorization", b"x-api-key", b"api-key", b"api_key"}
    forwarded = sent_up(*same, forward_authorization=True)
    assert (b"authorization", b"Bearer sk") in forwarded
    assert (b"x-api-key", b"sk") in forwarded


def test_claims_of_identity_from_outside_are_replaced() -> None:
    """Ours stand alone, whatever Connection says about them."""
    headers = sent_up(
        (b"x_customer_id", b"evil"),
        (b"x-request-id", b"evil"),
        (b"connection", b"x-customer-id, x-request-id, content-length"),
        (b"content-length", b"2"),
    )
    assert b"evil" not in b" ".join(value for _, value in headers)
    names = [name for name, _ in headers]
    assert all(names.count(name) == 1 for name in (b"x-request-id", b"x-customer-id"))
    assert (b"content-length", b"2") in headers


def test_a_body_without_framing_is_no_body() -> None:
    """Nothing is announced to the upstream that the client did not announce."""
    assert not opened(method="GET").has_body
    names = {name for name, _ in sent_up(method="GET")}
    assert not names & {b"content-length", b"transfer-encoding"}


def test_a_chunked_body_stays_chunked() -> None:
    """The framing is written anew, with the same meaning."""
    exchange = opened((b"transfer-encoding", b"Chunked"))
    assert exchange.has_body
    assert (b"transfer-encoding", b"chunked") in asked(exchange).headers


def test_a_stream_is_asked_for_its_usage() -> None:
    """The changed body gets a new length and a reply that needs no unpacking."""
    exchange = opened(
        JSON, (b"accept-encoding", b"gzip, br"), (b"content-length", b"%d" % len(STREAM))
    )
    assert exchange.wants_buffering
    exchange.request_chunk(STREAM)
    request = asked(exchange, STREAM)
    assert request.body is not None
    assert json.loads(request.body)["stream_options"] == {"include_usage": True}
    assert (b"content-length", b"%d" % len(request.body)) in request.headers
    assert (b"accept-encoding", b"identity") in request.headers
    assert [name for name, _ in request.headers].count(b"content-length") == 1


def test_a_buffered_body_that_needs_no_change_goes_as_it_came() -> None:
    """Same bytes, same framing."""
    exchange = opened(JSON, (b"transfer-encoding", b"chunked"))
    request = asked(exchange, b'{"messages": []}')
    assert request.body == b'{"messages": []}'
    assert (b"transfer-encoding", b"chunked") in request.headers


def test_codings_we_cannot_read_are_not_asked_for() -> None:
    """Except where nothing is read at all."""
    coding = (b"accept-encoding", b"gzip, compress")
    assert (b"accept-encoding", b"gzip") in sent_up(coding)
    assert coding in sent_up(coding, usage={"dialect": "none"})


def test_a_reply_goes_back_as_it_is() -> None:
    """Less the hop's own headers, with our request id, cookies apart and in order."""
    exchange = opened()
    headers = exchange.response_head(
        200,
        [
            (b"set-cookie", b"a=1"),
            (b"connection", b"keep-alive, x-hop"),
            (b"x-hop", b"1"),
            (b"keep-alive", b"timeout=5"),
            (b"content-length", b"5"),
            (b"x-request-id", b"theirs"),
            (b"set-cookie", b"b=2"),
        ],
    )
    assert headers == [
        (b"set-cookie", b"a=1"),
        (b"content-length", b"5"),
        (b"set-cookie", b"b=2"),
        (b"x-request-id", ID.encode()),
    ]


def test_a_json_reply_ends_as_one_record() -> None:
    """Requests and bytes are exact, tokens are what the reply says, the instance is charged."""
    exchange = opened(JSON, (b"content-length", b"2"))
    exchange.request_chunk(b"{}")
    asked(exchange)
    exchange.response_head(200, [JSON, (b"content-length", b"%d" % len(USAGE))])
    handed = exchange.response_chunk(USAGE[:9]) + exchange.response_chunk(USAGE[9:])
    assert exchange.reply_is_whole
    handed += exchange.response_end(complete=True)
    record = exchange.end(Outcome.COMPLETE, NOW)
    assert handed == USAGE
    assert record is not None
    assert (record.request_id, record.time_ms, record.route) == (ID, NOW, "chat")
    assert (record.customer_id, record.status) == ("c", 200)
    assert record.outcome is Outcome.COMPLETE
    assert record.charges == (Charge("i", "tokens_total"),)
    assert record.quantities == {
        "requests": Quantity(1),
        "bytes_in": Quantity(2),
        "bytes_out": Quantity(len(USAGE)),
        "tokens_in": Quantity(3),
        "tokens_out": Quantity(4),
        "tokens_total": Quantity(7),
    }


def test_an_injected_event_is_taken_out_and_counted() -> None:
    """The client's bytes are those it would have got, so their length is unknown beforehand."""
    content = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
    extra = b'data: {"choices":[],' + USAGE[1:] + b"\n\n"
    done = b"data: [DONE]\n\n"
    exchange = opened(JSON, (b"content-length", b"%d" % len(STREAM)))
    asked(exchange, STREAM)
    total = len(content + extra + done)
    headers = exchange.response_head(200, [SSE, (b"content-length", b"%d" % total)])
    assert b"content-length" not in {name for name, _ in headers}
    handed = b"".join(exchange.response_chunk(piece) for piece in (content, extra, done))
    handed += exchange.response_end(complete=True)
    record = exchange.end(Outcome.COMPLETE, NOW)
    assert handed == content + done
    assert record is not None
    assert record.quantities["tokens_total"] == Quantity(7)
    assert record.quantities["bytes_out"] == Quantity(len(content + done))


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_an_upstreams_refusal_uses_nothing(status: int) -> None:
    """It is recorded for the audit trail, even when it talks of usage."""
    exchange = opened()
    exchange.response_head(status, [JSON])
    assert exchange.response_chunk(USAGE) == USAGE
    exchange.response_end(complete=True)
    record = exchange.end(Outcome.COMPLETE, NOW)
    assert record is not None
    assert (record.status, record.quantities, record.charges) == (status, {}, ())


def test_without_a_reply_there_is_no_record() -> None:
    """Nothing was served, the gateway answers by itself."""
    exchange = opened()
    asked(exchange)
    assert exchange.end(Outcome.UPSTREAM_CUT, NOW) is None


def test_a_client_that_left_unanswered_stands_in_the_audit_trail() -> None:
    """It cost nobody anything that we know of."""
    record = opened().end(Outcome.CLIENT_LEFT, NOW)
    assert record is not None
    assert (record.status, record.quantities, record.charges) == (499, {}, ())


def test_a_cut_stream_counts_what_was_reported_as_partial() -> None:
    """The last figures are marked as such."""
    exchange = opened()
    exchange.response_head(200, [SSE])
    exchange.response_chunk(b"data: " + USAGE + b"\n\n")
    record = exchange.end(Outcome.UPSTREAM_CUT, NOW)
    assert record is not None
    assert record.quantities["tokens_total"] == Quantity(7, Grade.PARTIAL)
    assert record.quantities["requests"] == Quantity(1)


def test_what_is_read_after_the_client_left_is_not_handed_to_it() -> None:
    """bytes_out stops, the usage does not."""
    exchange = opened()
    exchange.response_head(200, [SSE])
    exchange.response_chunk(b": hello\n\n")
    exchange.client_left()
    exchange.response_chunk(b"data: " + USAGE + b"\n\ndata: [DONE]\n\n")
    exchange.response_end(complete=True)
    record = exchange.end(Outcome.CLIENT_LEFT, NOW)
    assert record is not None
    assert record.quantities["bytes_out"] == Quantity(len(b": hello\n\n"))
    assert record.quantities["tokens_total"] == Quantity(7)


def test_expected_usage_that_is_not_there_is_missing() -> None:
    """A body that is no JSON passes untouched."""
    exchange = opened()
    exchange.response_head(200, [JSON])
    assert exchange.response_chunk(b"<html>") == b"<html>"
    exchange.response_end(complete=True)
    record = exchange.end(Outcome.COMPLETE, NOW)
    assert record is not None
    assert record.quantities["tokens_total"] == Quantity(0, Grade.MISSING)


@pytest.mark.parametrize(
    ("method", "status", "headers", "kept"),
    [
        ("HEAD", 200, [(b"content-length", b"99")], True),
        ("GET", 304, [(b"content-length", b"99")], False),
        ("GET", 204, [], False),
        ("GET", 200, [(b"content-length", b"0")], True),
    ],
)
def test_replies_without_a_body_lack_no_usage(
    method: str, status: int, headers: Headers, kept: bool
) -> None:
    """Their length stays where servers send it without taking it for a promise."""
    exchange = opened(method=method)
    passed = exchange.response_head(status, [JSON, *headers])
    assert (b"content-length" in {name for name, _ in passed}) == kept
    assert not exchange.reply_has_body
    exchange.response_end(complete=True)
    record = exchange.end(Outcome.COMPLETE, NOW)
    assert record is not None
    assert set(record.quantities) == {"requests", "bytes_in", "bytes_out"}


def test_an_impossible_reply_leaves_no_record() -> None:
    """The gateway answers in its place."""
    exchange = opened()
    with pytest.raises(UpstreamProtocol):
        exchange.response_head(999, [])
    assert exchange.end(Outcome.UPSTREAM_CUT, NOW) is None


def test_the_customers_key_is_in_no_repr() -> None:
    """Whoever logs a head or a request does not log the key."""
    head = RequestHead("GET", b"/", [(b"x-api-key", b"sk-secret")], "192.0.2.1", "http")
    request = asked(opened(forward_authorization=True))
    assert "secret" not in repr(head)
    assert "Bearer" not in repr(request)


@pytest.mark.parametrize("order", list(permutations(Outcome)))
def test_whatever_ends_first_writes_the_only_record(order: tuple[Outcome, ...]) -> None:
    """Later ends, and replies that go on, change nothing."""
    exchange = opened()
    exchange.response_head(200, [JSON])
    exchange.response_chunk(USAGE)
    records = [exchange.end(outcome, NOW) for outcome in order]
    exchange.response_chunk(b"late")
    assert exchange.response_end(complete=True) == b""
    assert [record.outcome for record in records if record is not None] == [order[0]]


@given(st.lists(st.binary(max_size=50)), st.lists(st.binary(max_size=50)))
def test_bytes_are_counted_however_they_are_cut(sent: list[bytes], got: list[bytes]) -> None:
    """Sums over the pieces, nothing else."""
    exchange = opened((b"transfer-encoding", b"chunked"))
    for piece in sent:
        exchange.request_chunk(piece)
    exchange.response_head(200, [(b"content-type", b"application/octet-stream")])
    handed = b"".join([exchange.response_chunk(piece) for piece in got])
    handed += exchange.response_end(complete=True)
    record = exchange.end(Outcome.COMPLETE, NOW)
    assert handed == b"".join(got)
    assert record is not None
    assert record.quantities["bytes_in"] == Quantity(sum(map(len, sent)))
    assert record.quantities["bytes_out"] == Quantity(len(handed))
