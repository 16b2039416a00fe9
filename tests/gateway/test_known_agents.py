"""Heads of the Agents gateway that are like others: what is known of them, and what never is."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.admission import Directory
from gateway.admitted import Admitted
from gateway.agents import AgentApp, Agents
from gateway.credentials import Networks
from gateway.errors import BadIdentity, GatewayError, Unauthenticated
from gateway.gate import Gate, Served
from gateway.known_heads import Caller, KnownHeads
from gateway.known_request import KnownRequest
from gateway.passage import Passage, RequestHead
from gateway.routing import RouteTable
from gateway.settings import Route
from metering import keys
from metering.catalogue import Product
from metering.entitlement import EntitledInstance, EntitledKey, EntitlementSnapshot, InstanceStatus
from tests.fakes import FakeClock
from tests.gateway.agent_tokens import APP, MINUTE_MS, SECRET, said_at, token

PEPPER = b"pepper"
HERE = Caller("192.0.2.1", "http", b" 1")
ID = b"6ba7b810-9dad-41d1-80b4-00c04fd430c8"
NOW = FakeClock().now_ms()
GOOD = b"Authorization: Bearer " + token(said_at(NOW))
FORGED = b"Authorization: Bearer " + token(said_at(NOW), "another")
OWNED = EntitlementSnapshot(
    "c",
    "Name",
    (EntitledKey("1", keys.digest(PEPPER, b"sk")),),
    (EntitledInstance("i", "T", InstanceStatus.ACTIVE),),
)


class Reading:
    """A gate behind a memory of heads; `asked` counts how often it had to look at a whole one."""

    def __init__(self, *, trusted: bool = False, **route: Any) -> None:
        self.directory = Directory(PEPPER)
        self.directory.put(OWNED)
        given = {"name": "chat", "path": "/v1", "upstream": ["http://a/base", "http://b"]}
        table = RouteTable(
            [Route.model_validate(given | route)],
            [Product(product_id="T", routes=["chat"], meter="requests")],
        )
        agents = Agents([AgentApp(APP, SECRET.encode())], constant=(b"x-merchant", b"s3cret"))
        peers = Networks([HERE.peer] if trusted else [])
        self.clock = FakeClock()
        served = Served(table, self.directory, Networks([]), peers, agents=agents)
        self.gate = Gate(served, self.clock.now_ms)
        self.asked = 0
        self.heads = self.memory()

    def memory(self) -> KnownHeads:
        """One that has seen nothing."""
        return KnownHeads(
            self.passage,
            self.directory,
            self.clock.now_ms,
            credentials=self.gate.served.credentials,
            believing=self.gate,
        )

    def passage(self, head: RequestHead) -> Passage:
        self.asked += 1
        return self.gate.passage(head)

    def request(self, *lines: bytes) -> KnownRequest:
        return self.heads.request(raw(*lines), HERE)[0]

    def admitted(self, *lines: bytes) -> Admitted:
        return self.heads.request(raw(*lines), HERE)[1]


def raw(*lines: bytes) -> bytes:
    return b"\r\n".join([b"GET /v1/x HTTP/1.1", b"Host: gw", *lines, b"", b""])


def told(memory: KnownHeads, head: bytes) -> Any:
    """Everything that a head amounts to, or its refusal."""
    try:
        known, admitted, framing = memory.request(head, HERE)
    except GatewayError as refusal:
        return type(refusal), str(refusal)
    who = replace(admitted, brakes=None), admitted.lines, known.request_id
    watched = known.recent is not None
    return who, watched, framing, known.asked, known.keep_alive, known.way.path


def test_a_call_that_is_like_others_is_not_read_whole() -> None:
    """Whoever it is for, with a token and an id of its own."""
    reading = Reading()
    reading.request(GOOD, b"X-Customer-Id: d1", b"X-Request-Id: " + ID, b"X-Trace: 1")
    asked = reading.asked
    fresh = b"Authorization: Bearer " + token(said_at(NOW - 1))
    known, admitted, _ = reading.heads.request(
        raw(fresh, b"X-Customer-Id: d2", b"X-Trace: 2"), HERE
    )
    assert reading.asked == asked
    assert (admitted.customer_id, admitted.lines) == ("d2", b"x-customer-id: d2\r\n")
    assert b"authorization" not in b"".join(known.asked[0])


def test_a_customers_key_finds_what_a_proof_taught() -> None:
    """And the other way round: each is himself."""
    reading = Reading()
    reading.request(b"X-Api-Key: sk")
    assert reading.admitted(GOOD, b"X-Customer-Id: d1").customer_id == "d1"
    assert reading.admitted(b"X-Api-Key: sk").customer_id == "c"
    with pytest.raises(Unauthenticated):
        reading.request(FORGED, b"X-Customer-Id: d1")
    with pytest.raises(BadIdentity):
        reading.request(GOOD)


def test_a_token_is_looked_at_each_time() -> None:
    """Also where everything else is known."""
    reading = Reading()
    lines = (GOOD, b"X-Customer-Id: c", b"X-Request-Id: " + ID)
    for _ in range(3):
        reading.request(*lines)
    reading.clock.advance(ms=6 * MINUTE_MS)
    with pytest.raises(Unauthenticated):
        reading.request(*lines)


def test_a_gate_that_is_shut_believes_nobody() -> None:
    """Whatever is remembered."""
    reading = Reading()
    reading.request(GOOD, b"X-Customer-Id: c", b"X-Trace: 1")
    reading.gate.shut = True
    with pytest.raises(GatewayError):
        reading.request(GOOD, b"X-Customer-Id: c", b"X-Trace: 2")


LINES = st.lists(
    st.sampled_from(
        [
            GOOD,
            FORGED,
            b"Authorization: Bearer sk",
            b"X-Api-Key: sk",
            b"X-Api-Key: wrong",
            b"X-Merchant: s3cret",
            b"x-merchant: wrong",
            b"X_Merchant: s3cret",
            b"X-Customer-Id: c",
            b"X-Customer-Id: d%20",
            b"x-customer-id:",
            b"X_Customer_Id: evil",
            b"X-Customer-Name: Somebody",
            b"X-Request-Id: " + ID,
            b"X-Request-Id: mine",
            b"X-Trace: 1",
            b"Connection: close",
            b"Connection: X-Merchant, X-Customer-Id",
            b"Accept-Encoding: br",
        ]
    ),
    max_size=6,
)


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("forward", [False, True])
@given(heads=st.lists(LINES, min_size=2, max_size=8))
@settings(max_examples=60, deadline=None)
def test_what_is_known_amounts_to_what_is_read(
    trusted: bool, forward: bool, heads: list[list[bytes]]
) -> None:
    """For any heads in any order: a memory that has seen them all says what a fresh one says."""
    reading = Reading(trusted=trusted, forward_authorization=forward)
    for lines in heads * 2:
        head = raw(*lines)
        assert told(reading.heads, head) == told(reading.memory(), head)
