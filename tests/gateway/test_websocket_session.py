"""What a session is recorded as."""

import pytest
from pydantic import SecretStr

from gateway.admission import Directory
from gateway.admitted import Admitted
from gateway.credentials import Networks
from gateway.gate import Gate, Served
from gateway.passage import RequestHead
from gateway.routing import RouteTable
from gateway.settings import Customer, Route, StaticInstance
from gateway.websocket_session import Session, size_of
from metering.usage import Account, Charge, Outcome
from tests.gateway.running import KEY, TOKENS
from tests.gateway.test_websocket_head import ASKED

NOW_MS = 1_790_000_000_000


@pytest.fixture
def ws_gate() -> Gate:
    """Knows the route `chat` at /v1 and the customer `cust-1`, who bought tokens."""
    table = RouteTable([Route(name="chat", path="/v1", upstream=["http://up"])], [TOKENS])
    bought = [StaticInstance(id="inst-1", product="T")]
    customer = Customer(id="cust-1", keys=[SecretStr(KEY)], instances=bought)
    directory = Directory(b"pepper", [customer])
    return Gate(Served(table, directory, Networks([]), Networks([])), lambda: 0)


def session(gate: Gate) -> Session:
    """One that the gate let in."""
    headers = [*ASKED, (b"x-api-key", KEY.encode())]
    return Session(gate.passage(RequestHead("GET", b"/v1/x", headers, "", "http")), "id")


def test_the_size_of_a_message_is_its_payload() -> None:
    """Bytes, not characters."""
    assert [size_of(message) for message in ("", "a", "é", "世", b"abc")] == [0, 1, 2, 3, 3]


def test_durations_of_stretches_add_up(ws_gate: Gate) -> None:
    """To the millisecond, however they are cut."""
    counted = session(ws_gate)
    counted.accept(100.0)
    told = []
    for now_s in (100.0004, 100.0008, 101.0012, 107.7777):
        record = counted.record(Outcome.COMPLETE, NOW_MS, now_s, last=False)
        assert record is not None
        told.append(record.quantities["duration_ms"].value)
        counted.go_on(Admitted(Account("cust-1", "chat"), ""))
    assert sum(told) == 7778


def test_a_stretch_is_charged_as_is_said_when_it_begins(ws_gate: Gate) -> None:
    """A renewed instance pays for what follows."""
    counted = session(ws_gate)
    counted.accept(0.0)
    counted.message_in("x")
    first = counted.record(Outcome.COMPLETE, NOW_MS, 1.0, last=False)
    counted.go_on(Admitted(Account("cust-1", "chat", (Charge("inst-9", "tokens_total"),)), ""))
    second = counted.record(Outcome.COMPLETE, NOW_MS, 2.0)
    assert first is not None
    assert second is not None
    assert [charge.instance_id for charge in first.charges] == ["inst-1"]
    assert [charge.instance_id for charge in second.charges] == ["inst-9"]
    assert (first.request_id, second.request_id) == ("id", "id.1")
    assert counted.opening(NOW_MS).request_id == "id.1"
    values = [record.quantities["messages_in"].value for record in (first, second)]
    assert values == [1, 0]


def test_a_handshake_nobody_answered_is_no_record(ws_gate: Gate) -> None:
    """Unless the client did not wait for the answer."""
    assert session(ws_gate).record(Outcome.COMPLETE, NOW_MS, 1.0) is None
    left = session(ws_gate).record(Outcome.CLIENT_LEFT, NOW_MS, 1.0)
    assert left is not None
    assert (left.status, left.quantities, left.charges) == (499, {}, ())
