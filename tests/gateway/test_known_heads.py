"""Heads that were seen before amount to what they amounted to, as long as that still holds."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admission import Directory
from gateway.credentials import Networks
from gateway.errors import BadRequest, GatewayError, InstanceFrozen, Unauthenticated
from gateway.framing import CHUNKED
from gateway.gate import Gate, Served
from gateway.known_heads import Caller, KnownHeads, NotProxied
from gateway.parsing import read_reply
from gateway.routing import RouteTable
from gateway.settings import Route
from metering import keys
from metering.catalogue import Product
from metering.entitlement import EntitledInstance, EntitlementSnapshot, InstanceStatus

PEPPER = b"pepper"
HERE, THERE = Caller("192.0.2.1", "http", b" 1"), Caller("192.0.2.2", "http", b" 2")
HEAD = b"POST /v1/x HTTP/1.1\r\nHost: gw\r\nX-Api-Key: sk\r\nContent-Length: %b\r\n\r\n"
PLAIN = HEAD % b"5"
OWNED = EntitlementSnapshot(
    "c",
    "Name",
    (keys.digest(PEPPER, b"sk"),),
    (EntitledInstance("i", "T", InstanceStatus.ACTIVE),),
)


class Counting:
    """A gate that counts how often it was asked."""

    def __init__(self, customer: EntitlementSnapshot = OWNED, **known: int) -> None:
        self.directory = Directory(PEPPER)
        self.directory.put(customer)
        route = Route(name="chat", path="/v1", upstream=["http://a/base", "http://b"])
        table = RouteTable([route], [Product(product_id="T", routes=["chat"], meter="requests")])
        self.gate = Gate(Served(table, self.directory, Networks([]), Networks([])))
        self.asked = 0
        self.heads = KnownHeads(self.passage, self.directory, **known)

    def passage(self, head):  # type: ignore[no-untyped-def]
        self.asked += 1
        return self.gate.passage(head)

    def see(self, *raws: bytes, caller: Caller = HERE) -> int:
        """How often the gate is asked for these heads."""
        before = self.asked
        for raw in raws:
            self.heads.request(raw, caller)
        return self.asked - before


def test_a_head_is_kept_when_it_comes_again() -> None:
    """From the third time on nobody has to read it."""
    assert Counting().see(*[PLAIN] * 9) == 2


def test_the_length_is_each_requests_own() -> None:
    """Heads that differ in it are one head, and get their own framing."""
    known = Counting()
    known.see(PLAIN, PLAIN)
    assert known.see(HEAD % b"7") == 0
    assert [known.heads.request(HEAD % b"%d" % n, HERE)[1] for n in (0, 5, 123456)] == [
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
        assert [known.heads.request(raw, HERE)[1] for _ in range(4)] == [framing] * 4


def test_who_sends_it_counts() -> None:
    """X-Forwarded-For says so to the upstream."""
    known = Counting()
    known.see(*[PLAIN] * 3)
    assert known.see(PLAIN, caller=THERE) == 1
    head = known.heads.request(PLAIN, THERE)[0].asked[0]
    assert b"x-forwarded-for: 192.0.2.2\r\n" in head.before


def test_each_upstream_has_its_head() -> None:
    """With its own host and path; id and length are cut out."""
    known, _ = Counting().heads.request(PLAIN, HERE)
    first, second = known.asked
    assert first.before.startswith(b"POST /base/v1/x HTTP/1.1\r\nhost: a\r\n")
    assert second.before.startswith(b"POST /v1/x HTTP/1.1\r\nhost: b\r\n")
    assert first.before.endswith(b"x-request-id: ")
    assert first.between.endswith(b"\r\ncontent-length: ")
    assert first.end == b"\r\n\r\n"


def test_nothing_that_was_kept_holds_a_key() -> None:
    """Only the memory's own key does, which is the head itself."""
    known, _ = Counting().heads.request(PLAIN, HERE)
    assert "x-api-key" not in repr(known).lower()
    assert known.passage.outgoing.head.headers == []


def test_a_frozen_instance_is_refused_though_its_head_is_known() -> None:
    """The verdict is looked at anew each time."""
    known = Counting()
    known.see(*[PLAIN] * 3)
    frozen = EntitledInstance("i", "T", InstanceStatus.FROZEN)
    known.directory.put(replace(OWNED, instances=(frozen,)))
    with pytest.raises(InstanceFrozen):
        known.heads.request(PLAIN, HERE)
    known.directory.put(OWNED)
    assert known.see(PLAIN) == 1


def test_a_revoked_key_is_refused_though_its_head_is_known() -> None:
    """At once."""
    known = Counting()
    known.see(*[PLAIN] * 3)
    known.directory.put(replace(OWNED, key_digests=()))
    with pytest.raises(Unauthenticated):
        known.heads.request(PLAIN, HERE)


def test_a_key_that_changes_hands_is_charged_to_its_new_owner() -> None:
    """Also where its old owner is left as he was."""
    known = Counting()
    known.see(*[PLAIN] * 3)
    known.directory.put(replace(OWNED, customer_id="d"))
    assert known.heads.request(PLAIN, HERE)[0].passage.admitted.customer_id == "d"


def test_another_customers_change_disturbs_nobody() -> None:
    """It is asked again only for those it concerns."""
    known = Counting()
    known.see(*[PLAIN] * 3)
    known.directory.put(EntitlementSnapshot("d", "D", ("digest",)))
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
    """The oldest go first."""
    known = Counting(max_bytes=20_000)
    for n in range(100):
        known.see(*[PLAIN.replace(b"/v1/x", b"/v1/%d" % n)] * 2)
    assert 0 < len(known.heads) < 20
    assert known.see(PLAIN.replace(b"/v1/x", b"/v1/99")) == 0
    assert known.see(PLAIN.replace(b"/v1/x", b"/v1/0")) == 1


def test_a_long_head_is_not_kept() -> None:
    """It is read each time."""
    known = Counting()
    assert known.see(*[PLAIN.replace(b"Host", b"X-Long: %b\r\nHost" % (b"a" * 5000))] * 4) == 4


def test_a_replys_head_is_kept() -> None:
    """By its bytes, for replies to requests of its kind."""
    known, _ = Counting().heads.request(PLAIN, HERE)
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-A: b\r\n\r\n"
    reply = known.replies.read(raw, read_reply(raw))
    assert known.replies.kept[raw] is reply
    assert (reply.status, reply.framing, reply.reusable) == (200, 3, True)
    assert known.replies_injected.kept == {}


@given(st.lists(st.sampled_from([PLAIN, HEAD % b"6", HEAD % b"x", PLAIN.replace(b"sk", b"no"), PLAIN.replace(b"POST", b"PUT")]), max_size=30))  # fmt: skip
def test_what_is_kept_is_what_would_be_read(raws: list[bytes]) -> None:
    """Whatever came before, a head amounts to what it amounts to for one who never saw any."""
    known = Counting()
    for raw in raws:
        assert outcome(known.heads, raw) == outcome(Counting().heads, raw)


def outcome(heads: KnownHeads, raw: bytes) -> object:
    try:
        known, framing = heads.request(raw, HERE)
    except GatewayError as error:
        return type(error)
    return known.passage, known.asked, framing
