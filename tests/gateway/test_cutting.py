"""Open calls of customers who may not go on, in both shells and on WebSockets."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from websockets.exceptions import ConnectionClosed

from metering.entitlement import EntitledInstance, EntitledKey, EntitlementSnapshot, InstanceStatus
from metering.keys import digest
from metering.usage import Grade, Outcome
from tests.gateway.running import Running, gateway
from tests.gateway.talking import dial, echo, talker
from tests.servers import Received, Upstream, eventually, upstream

BUYER = "sk-buyer"
ACTIVE, FROZEN = InstanceStatus.ACTIVE, InstanceStatus.FROZEN
PIECE = b'data: {"usage":{"prompt_tokens":2,"completion_tokens":3,"total_tokens":5}}\n\n'


def buyer(status: InstanceStatus = ACTIVE, key: str = BUYER) -> EntitlementSnapshot:
    """The customer of these tests, told of by the control plane."""
    keys = (EntitledKey(key, digest(b"pepper", key)),)
    return EntitlementSnapshot("buyer", "", keys, (EntitledInstance("inst-2", "T", status),))


def told(gw: Running, snapshot: EntitlementSnapshot) -> None:
    """What a worker does at a change."""

    def change() -> None:
        gw.directory.put(snapshot)
        gw.public.cutting.look()

    gw.in_loop(change)


class Streaming:
    """An upstream whose reply ends when the test says so."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.silent = False

    def __call__(self, request: Received) -> None:
        if not self.silent:
            request.open_stream()
            request.chunk(PIECE)
        assert self.go_on.wait(10)
        request.chunk(b"data: [DONE]\n\n")
        request.chunk(b"")


@contextmanager
def streams(policy: str) -> Iterator[tuple[Running, Streaming, Upstream]]:
    handler = Streaming()
    with upstream(handler) as up, gateway(up.url, settings={"streams_on_stop": policy}) as gw:
        gw.directory.put(buyer())
        try:
            yield gw, handler, up
        finally:
            handler.go_on.set()


HEADERS = {"X-Api-Key": BUYER}


def test_a_stream_is_cut_and_what_it_used_is_recorded(shell: str) -> None:
    """The client sees that it is not whole, and nothing is lost or counted twice."""
    with streams("cut") as (gw, _, _), gw.connect() as client:
        client.request("GET", "/v1/x", headers=HEADERS)
        reply = client.getresponse()
        assert reply.readline().startswith(b"data: ")
        told(gw, buyer(FROZEN))
        with pytest.raises(Exception):  # noqa: B017, PT011  (whatever http.client calls a torso)
            reply.read()
        record = gw.record()
        assert (record.outcome, record.status, record.customer_id) == (
            Outcome.STOPPED, 200, "buyer",
        )  # fmt: skip
        assert record.quantities["tokens_total"] == (5, Grade.PARTIAL)
        assert gw.public.cutting.cut == {"instance_frozen": 1}
        assert gw.kept.open == {}
        assert gw.telemetry.upstream_errors == {}


def test_a_stream_may_finish(shell: str) -> None:
    """New calls are refused meanwhile."""
    with streams("finish") as (gw, handler, _), gw.connect() as client:
        client.request("GET", "/v1/x", headers=HEADERS)
        reply = client.getresponse()
        told(gw, buyer(FROZEN))
        assert gw.ask(headers=HEADERS, key=None)[0].status == 403
        handler.go_on.set()
        assert reply.read().endswith(b"[DONE]\n\n")
        record = gw.record()
        assert record.outcome is Outcome.COMPLETE
        assert record.quantities["tokens_total"] == (5, Grade.EXACT)


def test_a_call_without_a_reply_is_answered_why(shell: str) -> None:
    """It has used nothing that anybody could know of."""
    with streams("cut") as (gw, handler, up), gw.connect() as client:
        handler.silent = True
        client.request("GET", "/v1/x", headers=HEADERS)
        eventually(lambda: up.requests)
        told(gw, buyer(FROZEN))
        reply = client.getresponse()
        assert reply.status == 403
        assert b"instance_frozen" in reply.read()
        gw.idle()
        assert (gw.kept.records, gw.kept.open) == ([], {})


def test_who_may_go_on_is_left_alone(shell: str) -> None:
    """Another customer's freeze, a new name, another key beside: none of it ends a call."""
    with streams("cut") as (gw, handler, _), gw.connect() as client:
        client.request("GET", "/v1/x", headers=HEADERS)
        reply = client.getresponse()
        others = (EntitledKey("other", digest(b"pepper", "other")),)
        told(gw, EntitlementSnapshot("else", "", others, (EntitledInstance("e", "T", FROZEN),)))
        known = buyer()
        told(gw, EntitlementSnapshot("buyer", "New", known.keys + others[:0], known.instances))
        handler.go_on.set()
        assert reply.read().endswith(b"[DONE]\n\n")
        assert gw.record().outcome is Outcome.COMPLETE
        assert gw.public.cutting.cut == {}


def test_a_revoked_key_ends_its_calls(shell: str) -> None:
    """Though the customer may call with another one."""
    with streams("cut") as (gw, _, _), gw.connect() as client:
        client.request("GET", "/v1/x", headers=HEADERS)
        reply = client.getresponse()
        reply.readline()
        told(gw, buyer(key="sk-other"))
        assert gw.record().outcome is Outcome.STOPPED
        assert gw.public.cutting.cut == {"invalid_api_key": 1}


def test_a_call_whose_time_is_up_ends() -> None:
    """Nobody has to say anything for that."""
    with streams("cut") as (gw, _, _), gw.connect() as client:
        ends = gw.clock.now_ms() + 1000
        keys = (EntitledKey(BUYER, digest(b"pepper", BUYER), ends),)
        instances = (EntitledInstance("inst-2", "T", ACTIVE),)
        gw.directory.put(EntitlementSnapshot("buyer", "", keys, instances))
        client.request("GET", "/v1/x", headers=HEADERS)
        client.getresponse().readline()
        gw.in_loop(gw.public.cutting.look)
        assert gw.public.cutting.cut == {}
        gw.clock.advance(ms=1000)
        gw.in_loop(gw.public.cutting.look)
        assert gw.record().outcome is Outcome.STOPPED
        assert gw.public.cutting.cut == {"key_expired": 1}


@pytest.mark.parametrize("policy", ["cut", "finish"])
def test_websockets_follow_the_policy(policy: str) -> None:
    """One that is cut is told by 1008 and why; the other goes on."""
    with talker(echo) as up, gateway(up.url, settings={"streams_on_stop": policy}) as gw:
        gw.directory.put(buyer())
        with dial(gw, key=BUYER) as client:
            client.send("x")
            assert client.recv(timeout=10) == "x"
            told(gw, buyer(FROZEN))
            if policy == "cut":
                with pytest.raises(ConnectionClosed):
                    client.recv(timeout=10)
                assert (client.close_code, client.close_reason) == (1008, "instance_frozen")
            else:
                client.send("y")
                assert client.recv(timeout=10) == "y"
        assert gw.record().quantities["messages_in"].value == (1 if policy == "cut" else 2)
        assert gw.kept.open == {}
