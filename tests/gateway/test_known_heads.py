"""Heads that were seen before amount to what they amounted to, as long as that still holds."""

import gc
import tracemalloc
import uuid
from dataclasses import replace
from operator import itemgetter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.admission import Directory
from gateway.credentials import Networks
from gateway.errors import (
    BadRequest,
    GatewayError,
    HeadTooLarge,
    KeyExpired,
    KeyNotForRoute,
    Unauthenticated,
)
from gateway.framing import CHUNKED
from gateway.gate import Gate, Served
from gateway.known_heads import Caller, KnownHeads, NotProxied
from gateway.parsing import read_request
from gateway.passage import Passage, RequestHead
from gateway.routing import RouteTable
from gateway.settings import Route
from gateway.standing_errors import InstanceFrozen
from metering import keys
from metering.catalogue import Product
from metering.entitlement import (
    EntitledInstance,
    EntitledKey,
    EntitlementSnapshot,
    InstanceStatus,
)
from tests.fakes import FakeClock

PEPPER = b"pepper"
HERE, THERE = Caller("192.0.2.1", "http", b" 1"), Caller("192.0.2.2", "http", b" 2")
HEAD = b"POST /v1/x HTTP/1.1\r\nHost: gw\r\nX-Api-Key: sk\r\nContent-Length: %b\r\n\r\n"
PLAIN = HEAD % b"5"
OWNED = EntitlementSnapshot(
    "c",
    "Name",
    (EntitledKey("1", keys.digest(PEPPER, b"sk")),),
    (EntitledInstance("i", "T", InstanceStatus.ACTIVE),),
)

OTHER = replace(OWNED, customer_id="d", keys=(EntitledKey("dk", keys.digest(PEPPER, b"dk")),))


class Counting:
    """A gate that counts how often it was asked."""

    def __init__(
        self,
        customer: EntitlementSnapshot = OWNED,
        *,
        forward: bool = False,
        trusted: bool = False,
        **known: int,
    ) -> None:
        self.directory = Directory(PEPPER)
        self.directory.put(customer)
        route = Route(
            name="chat",
            path="/v1",
            upstream=["http://a/base", "http://b"],
            forward_authorization=forward,
            identity=["trusted", "api_key"],
        )
        peers = Networks([HERE.peer] if trusted else [])
        table = RouteTable([route], [Product(product_id="T", routes=["chat"], meter="requests")])
        self.clock = FakeClock()
        self.gate = Gate(Served(table, self.directory, Networks([]), peers), self.clock.now_ms)
        self.asked = 0
        self.heads = KnownHeads(self.passage, self.directory, self.clock.now_ms, **known)  # type: ignore[arg-type]  # sizes

    def is_kept(self, raw: bytes) -> bool:
        """Whether the very same comes back for a head."""
        before = self.heads.request(raw, HERE)[0]
        return before is self.heads.request(raw, HERE)[0]

    def passage(self, head: RequestHead) -> Passage:
        self.asked += 1
        return self.gate.passage(head)

    def see(self, *raws: bytes, caller: Caller = HERE) -> int:
        """How often the gate is asked for these heads."""
        before = self.asked
        for raw in raws:
            self.heads.request(raw, caller)
        return self.asked - before


def test_a_head_is_kept_when_it_comes_again() -> None:
    """From the third time on nobody has to look at it."""
    known = Counting()
    assert known.see(*[PLAIN] * 9) == 1
    assert len(known.heads) == 1
    assert known.heads.request(PLAIN, HERE)[0] is known.heads.request(PLAIN, HERE)[0]


def test_the_length_is_each_requests_own() -> None:
    """Heads that differ in it are one head, and get their own framing."""
    known = Counting()
    known.see(PLAIN, PLAIN)
    assert known.see(HEAD % b"7") == 0
    assert [known.heads.request(HEAD % b"%d" % n, HERE)[2] for n in (0, 5, 123456)] == [
        0,
        5,
        123456,
    ]


@pytest.mark.parametrize("digits", [b"+5", b"5,5", b"", b"5 5", b"0x5", b"9" * 19, b"-1"])
def test_a_length_that_is_none_is_refused_beside_a_known_head(digits: bytes) -> None:
    """Cut out, it would look like the known one."""
    known = Counting()
    known.see(*[PLAIN] * 3)
    with pytest.raises(BadRequest):
        known.heads.request(HEAD % digits, HERE)


def test_a_second_length_is_refused_beside_a_known_head() -> None:
    """Whatever stands where."""
    known = Counting()
    known.see(*[PLAIN] * 3)
    for second in (b"Content-Length: 5", b"content-length: 6", b"CONTENT-LENGTH: 5"):
        with pytest.raises(BadRequest):
            known.heads.request(PLAIN.replace(b"Host", second + b"\r\nHost"), HERE)


def test_a_chunked_body_and_none_are_remembered_too() -> None:
    """And a length in unusual letters."""
    known = Counting()
    bare = b"GET /v1/x HTTP/1.1\r\nHost: gw\r\nX-Api-Key: sk\r\n"
    for line, framing in ((b"", 0), (b"Transfer-Encoding: chunked\r\n", CHUNKED), (b"CONTENT-LENGTH: 3\r\n", 3)):  # fmt: skip
        raw = bare + line + b"\r\n"
        assert [known.heads.request(raw, HERE)[2] for _ in range(4)] == [framing] * 4


def test_who_sends_it_counts() -> None:
    """X-Forwarded-For says so to the upstream."""
    known = Counting()
    known.see(*[PLAIN] * 3)
    assert known.see(PLAIN, caller=THERE) == 1
    head = known.heads.request(PLAIN, THERE)[0].asked[0]
    assert b"x-forwarded-for: 192.0.2.2\r\n" in head.before


def test_each_upstream_has_its_head() -> None:
    """With its own host and path; id and length are cut out."""
    known, *_ = Counting().heads.request(PLAIN, HERE)
    first, second = known.asked
    assert first.before.startswith(b"POST /base/v1/x HTTP/1.1\r\nhost: a\r\n")
    assert second.before.startswith(b"POST /v1/x HTTP/1.1\r\nhost: b\r\n")
    assert first.before.endswith(b"x-request-id: ")
    assert (first.passing, first.after) == (b"\r\n", b"content-length: ")
    assert first.end == b"\r\n\r\n"


def test_nothing_that_was_kept_holds_a_key() -> None:
    """Only the memory's own key does, which is the head itself."""
    known, *_ = Counting().heads.request(PLAIN, HERE)
    assert "x-api-key" not in repr(known).lower()
    assert known.way.outgoing.head.headers == []


def test_a_frozen_instance_is_refused_though_its_head_is_known() -> None:
    """The verdict is looked at anew each time."""
    known = Counting()
    known.see(*[PLAIN] * 3)
    frozen = EntitledInstance("i", "T", InstanceStatus.FROZEN)
    known.directory.put(replace(OWNED, instances=(frozen,)))
    with pytest.raises(InstanceFrozen):
        known.heads.request(PLAIN, HERE)
    known.directory.put(replace(OWNED))
    assert known.see(PLAIN) == 1


def test_a_revoked_key_is_refused_though_its_head_is_known() -> None:
    """At once."""
    known = Counting()
    known.see(*[PLAIN] * 3)
    known.directory.put(replace(OWNED, keys=()))
    with pytest.raises(Unauthenticated):
        known.heads.request(PLAIN, HERE)


def expiring(known: Counting) -> None:
    """The key ends in a second from now."""
    end = known.clock.now_ms() + 1000
    known.directory.put(replace(OWNED, keys=(replace(OWNED.keys[0], expires=end),)))


def test_a_key_that_has_expired_is_refused_though_its_head_is_known() -> None:
    """To the millisecond, with nobody telling; until then the head is known."""
    known = Counting()
    expiring(known)
    assert known.see(*[PLAIN] * 9) == 1
    known.clock.advance(ms=999)
    assert known.see(PLAIN) == 0
    known.clock.advance(ms=1)
    for _ in range(3):
        with pytest.raises(KeyExpired):
            known.heads.request(PLAIN, HERE)


def test_an_expired_key_is_refused_with_another_head_of_its_kind() -> None:
    """What is kept of a customer's requests in common is not asked after its end."""
    known = Counting()
    expiring(known)
    others = [PLAIN.replace(b"Host: gw", b"Host: gw\r\nX-Trace: %d" % n) for n in range(3)]
    known.see(PLAIN, PLAIN)
    assert known.see(others[0]) == 0
    known.clock.advance(seconds=1)
    for head in others:
        with pytest.raises(KeyExpired):
            known.heads.request(head, HERE)


def test_a_key_that_got_a_narrower_scope_is_refused_though_its_head_is_known() -> None:
    """As soon as the worker has heard of it."""
    known = Counting()
    known.see(*[PLAIN] * 3)
    known.directory.put(replace(OWNED, keys=(replace(OWNED.keys[0], routes=("speech",)),)))
    with pytest.raises(KeyNotForRoute):
        known.heads.request(PLAIN, HERE)


def test_a_key_is_used_also_where_its_head_is_known() -> None:
    """In every way a head is found."""
    known = Counting()
    trace = PLAIN.replace(b"Host: gw", b"Host: gw\r\nX-Trace: 1")
    for head in (PLAIN, PLAIN, PLAIN, trace):
        known.heads.request(head, HERE)
        assert known.directory.take_used() == {"1"}


def test_a_key_that_changes_hands_is_charged_to_its_new_owner() -> None:
    """Also where its old owner is left as he was."""
    known = Counting()
    known.see(*[PLAIN] * 3)
    known.directory.put(replace(OWNED, customer_id="d"))
    assert known.heads.request(PLAIN, HERE)[1].customer_id == "d"


def test_another_customers_change_disturbs_nobody() -> None:
    """It is asked again only for those it concerns."""
    known = Counting()
    known.see(*[PLAIN] * 3)
    known.directory.put(EntitlementSnapshot("d", "D", (EntitledKey("2", "digest"),)))
    assert known.see(PLAIN) == 0


def test_what_is_refused_is_not_kept() -> None:
    """Nor what is for others."""
    known = Counting()
    for raw in (PLAIN.replace(b"sk", b"no"), PLAIN.replace(b"/v1", b"/v2")):
        for _ in range(4):
            with pytest.raises((GatewayError, NotProxied)):
                known.heads.request(raw, HERE)
    assert len(known.heads) == 0


def test_memory_is_bounded() -> None:
    """Where more heads come in turn than there is room for, most of those that are kept stay."""
    known = Counting(max_bytes=20_000)
    raws = [PLAIN.replace(b"/v1/x", b"/v1/%d" % n) for n in range(100)]
    for _ in range(4):
        known.see(*raws)
    assert 10 < len(known.heads) < 25
    kept = [known.is_kept(raw) for raw in raws]
    for _ in range(4):
        known.see(*raws)
    assert sum(kept) > 10
    assert any(known.is_kept(raw) and was for raw, was in zip(raws, kept, strict=True))
    assert any(known.is_kept(raw) and not was for raw, was in zip(raws, kept, strict=True))


def test_a_newcomer_is_kept_though_there_is_no_room() -> None:
    """After a few times."""
    known = Counting(max_bytes=20_000)
    known.see(*[PLAIN.replace(b"/v1/x", b"/v1/%d" % n) for n in range(100)] * 2)
    known.see(*[PLAIN] * 9)
    assert known.is_kept(PLAIN)


def test_what_is_kept_costs_no_more_than_is_said() -> None:
    """Which is what the bound goes by."""
    known = Counting()
    raws = [PLAIN.replace(b"sk", b"sk\r\nTraceparent: %055d" % n) for n in range(2000)]
    known.see(*raws)
    gc.collect()
    tracemalloc.start()
    known.see(*raws)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(known.heads) == 2000
    assert used < known.heads.bytes_kept < 2_000 * 1300


def test_a_long_head_is_not_kept() -> None:
    """It is read each time."""
    known = Counting()
    assert known.see(*[PLAIN.replace(b"Host", b"X-Long: %b\r\nHost" % (b"a" * 5000))] * 4) == 4


def test_only_what_decides_is_read() -> None:
    """Fields of another request's own go on as they are, with everything else of a known head."""
    known = Counting()
    known.see(PLAIN)
    other = PLAIN.replace(b"Host", b"Traceparent:00-1 \r\nHost")
    assert known.see(other) == 0
    request, admitted, _ = known.heads.request(other, HERE)
    assert request.asked[0].passing == b"\r\ntraceparent: 00-1\r\n"
    assert admitted.lines.startswith(b"x-customer-id: c\r\n")


def test_two_customers_share_what_is_known_of_their_requests() -> None:
    """Each is charged, and named to the upstream, by its own key."""
    known = Counting()
    known.directory.put(OTHER)
    other = PLAIN.replace(b"sk", b"dk")
    assert known.see(PLAIN, other, PLAIN.replace(b"/x", b"/y")) == 3
    assert known.see(other.replace(b"/x", b"/y")) == 0
    mine, admitted, _ = known.heads.request(other.replace(b"/x", b"/y"), HERE)
    assert admitted.customer_id == "d"
    assert b"x-customer-id: d\r\n" in admitted.lines
    assert b"x-customer" not in b"".join(mine.asked[0])


@pytest.mark.parametrize(
    "line",
    [
        b"X-A : b",
        b" X-A: b",
        b"X-A",
        b"X-A: b\rc",
        b"X-A: b\nc: d",
        b"X-A: \x00",
        b": b",
        b"X\xe9: b",
    ],
)
def test_a_line_that_may_not_pass_is_refused_beside_a_known_head(line: bytes) -> None:
    """Nobody would look at it again."""
    known = Counting()
    known.see(*[PLAIN] * 3)
    with pytest.raises(BadRequest):
        known.heads.request(PLAIN.replace(b"Host", line + b"\r\nHost"), HERE)


def test_too_many_fields_are_refused_beside_a_known_head() -> None:
    """They count, though they only pass."""
    known = Counting()
    known.see(*[PLAIN] * 3)
    known.see(PLAIN.replace(b"Host", b"X: y\r\n" * 97 + b"Host"))
    with pytest.raises(HeadTooLarge):
        known.heads.request(PLAIN.replace(b"Host", b"X: y\r\n" * 98 + b"Host"), HERE)


def test_what_connection_names_does_not_pass() -> None:
    """Though it would otherwise."""
    known = Counting()
    for field in (b"", b"X-Hop: 1\r\n", b"X-Hop: 2\r\n"):
        raw = PLAIN.replace(b"Host", b"Connection: x-hop\r\n%bHost" % field)
        head = known.heads.request(raw, HERE)[0].asked[0]
        assert b"x-hop" not in b"".join(head)


def test_a_route_that_hands_on_keys_hands_on_each_its_own() -> None:
    """So nothing of its heads is shared between them."""
    known = Counting(forward=True)
    known.directory.put(OTHER)
    for key in (b"sk", b"dk", b"sk", b"dk"):
        head = known.heads.request(PLAIN.replace(b"sk", key), HERE)[0].asked[0]
        assert b"x-api-key: %b\r\n" % key in head.before


def test_a_request_id_is_believed_only_of_who_speaks_for_others() -> None:
    """A trusted peer's word counts each time, and so does its absence."""
    known = Counting(trusted=True)
    ours = PLAIN.replace(b"Host", b"X-Request-Id: %s\r\nHost")
    spoken = ours.replace(b"Host", b"X-Customer-Id: c\r\nHost")
    for number in range(4):
        request_id = str(uuid.UUID(int=number))
        told = known.heads.request(spoken.replace(b"%s", request_id.encode()), HERE)[0]
        assert told.request_id == request_id
        alone = known.heads.request(ours.replace(b"%s", request_id.encode()), HERE)[0]
        assert alone.request_id is None
        assert request_id.encode() not in b"".join(alone.asked[0])


def test_an_upstream_is_sent_what_the_passage_says() -> None:
    """In another order, but for fields of one name; also where usage is asked for."""
    known = Counting()
    extra = b"X-A: 1\r\nAccept-Encoding: br, gzip\r\nx-a: 2\r\nAccept-Encoding: zstd\r\nHost"
    raw = PLAIN.replace(b"Host", extra)
    said = read_request(raw)
    head = RequestHead(said.method, said.target, said.headers, HERE.peer, HERE.scheme)
    passage = known.gate.passage(head)
    upstream = passage.route.upstreams[0]
    request, admitted, _ = known.heads.request(raw, HERE)
    for injected, asked in ((False, request.asked[0]), (True, request.injected[0])):
        told = passage.way.outgoing.headers(upstream, "id", injected=injected, length=7)
        before, passing, after, end = asked
        whole = before + b"id" + passing + admitted.lines + after + b"7" + end
        assert sorted(read_request(whole).headers, key=itemgetter(0)) == sorted(
            told, key=itemgetter(0)
        )


def test_a_chunked_body_that_was_collected_has_a_length() -> None:
    """It is sent all at once."""
    raw = PLAIN.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked")
    request = Counting().heads.request(raw, HERE)[0]
    assert request.asked[0].after == b"transfer-encoding: chunked\r\n"
    assert request.injected[0].after == b"content-length: "
    assert request.injected[0].end == b"\r\n\r\n"


LINES = st.sampled_from(
    [
        b"Host: gw", b"host: gw:80", b"X-Api-Key: sk", b"X-Api-Key: no", b"Authorization: Bearer sk",
        b"Content-Length: 5", b"content-length: 0", b"Content-Length:", b"CONTENT-LENGTH: 5",
        b"Content-Length: ", b"Transfer-Encoding: chunked", b"Connection: close", b"Connection: X-A",
        b"Connection: te", b"TE: trailers", b"Expect: 100-continue", b"X-A: 1", b"x-a:2", b"X_A: \t3 ",
        b"X-Request-Id: 1", b"X_Request_Id: 2", b"X-Customer-Name: n", b"X-Customer-Id: c",
        b"X_Customer_Id: d", b"X-Forwarded-For: 1", b"Accept-Encoding: br, gzip", b"X-A : 4", b" X-A: 5",
        b"X-A: \x01", b"X-A", b"X-" + b"a" * 70 + b": b", b"Content-Type: application/json",
    ]
)  # fmt: skip
STARTS = st.sampled_from([b"POST /v1/x HTTP/1.1", b"POST /v1/x HTTP/1.0", b"GET /v1/x HTTP/1.1"])


@settings(deadline=None, max_examples=300)
@given(
    STARTS,
    st.lists(LINES, max_size=2),
    st.lists(st.lists(LINES, max_size=2), max_size=6),
    st.booleans(),
    st.booleans(),
)
def test_what_heads_have_in_common_is_what_would_be_read(
    start: bytes, lines: list[bytes], others: list[list[bytes]], trusted: bool, forward: bool
) -> None:
    """Whatever fields came before, in whatever letters and order."""
    known = Counting(trusted=trusted, forward=forward)
    lines = [start, b"Host: gw", b"X-Api-Key: sk", *lines]
    for other in others * 2:
        raw = b"\r\n".join([*lines, *other, b"", b""])
        fresh = Counting(trusted=trusted, forward=forward)
        assert outcome(known.heads, raw) == outcome(fresh.heads, raw)


SPELT = [
    b"X-Api-Key: sk",
    b"x-api-key: sk",
    b"X-Api-Key: dk",
    b"Authorization: Bearer sk",
    b"authorization: Bearer dk",
    b"AUTHORIZATION: Bearer dk",
    b"Authorization: sk",
    b"Authorization: ",
    b"X-Api-Key: no",
    b"X-Api-Key: s\nk",
    b"X-Api-Key: s\r\n k",
]


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(SPELT), st.integers(0, 3)), max_size=3), max_size=8
    ),
    st.booleans(),
    st.booleans(),
)
def test_customers_are_told_apart(
    heads: list[list[tuple[bytes, int]]], trusted: bool, forward: bool
) -> None:
    """By the lines that say who calls, wherever they stand in heads that are otherwise the same."""
    known = Counting(trusted=trusted, forward=forward)
    known.directory.put(OTHER)
    for said in heads * 2:
        lines = [b"Host: gw", b"X-A: 1", b"Content-Type: a/b"]
        for line, at in said:
            lines.insert(at, line)
        raw = b"\r\n".join([b"GET /v1/x HTTP/1.1", *lines, b"", b""])
        fresh = Counting(trusted=trusted, forward=forward)
        fresh.directory.put(OTHER)
        assert outcome(known.heads, raw) == outcome(fresh.heads, raw)


@given(st.lists(st.sampled_from([PLAIN, HEAD % b"6", HEAD % b"x", PLAIN.replace(b"sk", b"no"), PLAIN.replace(b"POST", b"PUT")]), max_size=30))  # fmt: skip
def test_what_is_kept_is_what_would_be_read(raws: list[bytes]) -> None:
    """Whatever came before, a head amounts to what it amounts to for one who never saw any."""
    known = Counting()
    for raw in raws:
        assert outcome(known.heads, raw) == outcome(Counting().heads, raw)


def outcome(heads: KnownHeads, raw: bytes) -> object:
    try:
        known, admitted, framing = heads.request(raw, HERE)
    except GatewayError as error:
        return type(error)
    who = admitted, admitted.lines, known.request_id, known.recent is None
    return who, known.way, framing, known[3:8], known.asked, known.injected
