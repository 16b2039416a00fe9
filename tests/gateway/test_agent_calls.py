"""Calls of the Agents gateway through both shells: believed once they are proved, and not before."""

import json
from typing import Any

import pytest

from gateway.agents import AgentApp, Agents, Verdict
from metering.catalogue import Product, agents_account
from metering.usage import Charge
from tests.fakes import FakeClock
from tests.gateway.agent_tokens import APP, MINUTE_MS, SECRET, called, said_at, token
from tests.gateway.running import KEY, TOKENS, gateway
from tests.servers import Received, upstream

ID, OTHER = "6ba7b810-9dad-41d1-80b4-00c04fd430c8", "00000000-0000-4000-8000-000000000002"
NOW = FakeClock().now_ms()
AGENTS = Agents([AgentApp(APP, SECRET.encode())])
CONSTANT = Agents(constant=(b"x-merchant", b"s3cret"))
REPLY = b'{"usage":{"prompt_tokens":2,"completion_tokens":3,"total_tokens":5}}'
WHO = {"customer": "domain-1", "name": "Example", "request_id": ID}

pytestmark = pytest.mark.usefixtures("shell")


def answer(request: Received) -> None:
    """An API that says its usage."""
    request.json(REPLY)


def test_a_proved_call_is_its_customers() -> None:
    """Nobody told us of him, and he has bought nothing; what he used is counted, not charged by us."""
    with upstream(answer) as up, gateway(up.url, agents=AGENTS) as gw:
        reply, _ = gw.ask(headers=called(token(said_at(NOW)), **WHO), key=None)
        record = gw.record()
        (seen,) = up.requests
    assert (reply.status, reply.headers["X-Request-Id"]) == (200, ID)
    assert (record.request_id, record.customer_id, record.repeat) == (ID, "domain-1", False)
    assert record.charges == (Charge(agents_account("T", "domain-1"), "tokens_total"),)
    assert record.quantities["tokens_total"].value == 5
    assert seen.header(b"x-customer-id") == b"domain-1"
    assert seen.header(b"x-customer-name") == b"Example"
    assert seen.header(b"x-request-id") == ID.encode()
    assert seen.header(b"authorization") is None


@pytest.mark.parametrize(
    ("charged_by", "instance_id"),
    [(None, agents_account("T", "cust-1")), ("agents_gateway", "inst-1"), ("merchant", "inst-1")],
)
def test_who_charges_is_the_products_word(charged_by: Any, instance_id: str) -> None:
    """Unsaid, the Agents gateway does, whatever the customer has; his key is charged by us."""
    product = TOKENS.model_copy(update={"charged_by": charged_by})
    with upstream(answer) as up, gateway(up.url, agents=AGENTS, products=[product]) as gw:
        gw.ask(headers=called(token(said_at(NOW)), customer="cust-1", request_id=ID), key=None)
        assert gw.record().charges == (Charge(instance_id, "tokens_total"),)
        gw.kept.records.clear()
        reply, _ = gw.ask()
        if charged_by == "agents_gateway":  # nobody would charge it
            assert reply.status == 403
        else:
            assert gw.record().charges == (Charge("inst-1", "tokens_total"),)


@pytest.mark.parametrize(
    ("payload", "secret", "verdict"),
    [
        (said_at(NOW), "another", "bad_signature"),
        (said_at(NOW - 6 * MINUTE_MS), SECRET, "expired"),
        (said_at(NOW + 2 * MINUTE_MS), SECRET, "future"),
        (said_at(NOW, api_key="another"), SECRET, "unknown_app"),
        ({"sub": "somebody"}, SECRET, "malformed"),
    ],
)
def test_what_is_not_proved_is_not_believed(payload: Any, secret: str, verdict: str) -> None:
    """Told so without a word of the secret, counted, and nothing goes upstream."""
    with upstream(answer) as up, gateway(up.url, agents=AGENTS) as gw:
        reply, body = gw.ask(headers=called(token(payload, secret), **WHO), key=None)
        gw.idle()
        assert up.requests == []
        proofs = dict(gw.public._gate.proofs)
    assert (reply.status, json.loads(body)["error"]["code"]) == (401, "agent_unproved")
    assert reply.headers["X-Request-Id"] != ID
    assert proofs == {Verdict(verdict): 1}


def test_identity_beside_a_customers_key_is_dropped() -> None:
    """Whoever has a key calls for himself."""
    headers = {"X-Customer-Id": "domain-1", "X-Customer-Name": "Evil", "X-Request-Id": ID}
    with upstream(answer) as up, gateway(up.url, agents=AGENTS) as gw:
        gw.ask(headers=headers)
        record = gw.record()
        (seen,) = up.requests
    assert (record.customer_id, record.request_id != ID) == ("cust-1", True)
    assert seen.header(b"x-customer-id") == b"cust-1"
    assert seen.header(b"x-customer-name") == b"Example"


def test_a_route_may_believe_nobody() -> None:
    """`identity` says which proofs count."""
    with upstream(answer) as up, gateway(up.url, agents=AGENTS, identity=["api_key"]) as gw:
        reply, body = gw.ask(headers=called(token(said_at(NOW)), **WHO), key=None)
    assert (reply.status, json.loads(body)["error"]["code"]) == (401, "invalid_api_key")


def test_a_proof_without_a_customer_is_no_call() -> None:
    """Nobody could say whose use it was."""
    with upstream(answer) as up, gateway(up.url, agents=AGENTS) as gw:
        for _ in range(4):
            reply, body = gw.ask(headers=called(token(said_at(NOW))), key=None)
            assert (reply.status, json.loads(body)["error"]["code"]) == (400, "bad_identity")


def test_an_id_that_comes_again_is_flagged_and_counted() -> None:
    """Of a proved call; ten minutes long, and only where the first one was counted."""
    with upstream(answer) as up, gateway(up.url, agents=AGENTS) as gw:
        calls = [(WHO, 0), (WHO | {"request_id": OTHER}, 0), (WHO, 599_000), (WHO, 10**7)]
        for who, later_ms in calls:
            gw.clock.time_ms = NOW + later_ms
            gw.ask(headers=called(token(said_at(NOW + later_ms)), **who), key=None)
        gw.idle()
        records = gw.kept.records
        metrics = {
            sample.name: sample.value
            for family in gw.public.agent_metrics().collect()
            for sample in family.samples
        }
    assert [record.repeat for record in records] == [False, False, True, False]
    assert {record.quantities["tokens_total"].value for record in records} == {5}
    assert metrics["gateway_repeats_total"] == 1
    assert metrics["gateway_agent_proofs_total"] == 4


def test_a_call_that_used_nothing_may_come_again() -> None:
    """The Agents gateway tries again after an error of the upstream."""
    replies = [b"503 Service Unavailable", b"200 OK"]

    def fail_once(request: Received) -> None:
        request.reply(REPLY, b"Content-Type: application/json", status=replies.pop(0))

    with upstream(fail_once) as up, gateway(up.url, agents=AGENTS) as gw:
        for _ in range(2):
            gw.ask(headers=called(token(said_at(NOW)), **WHO), key=None)
        gw.idle()
        assert [(r.status, r.repeat) for r in gw.kept.records] == [(503, False), (200, False)]


def test_ids_of_customers_own_choice_are_not_watched() -> None:
    """They are not believed in the first place."""
    with upstream(answer) as up, gateway(up.url, agents=AGENTS) as gw:
        for _ in range(2):
            gw.ask(headers={"X-Request-Id": ID})
        gw.idle()
        assert [record.repeat for record in gw.kept.records] == [False, False]


def test_a_verdict_is_not_remembered_beyond_the_token() -> None:
    """The very same head, many times before its end and once after it."""
    headers = called(token(said_at(NOW)), customer="cust-1")
    with upstream(answer) as up, gateway(up.url, agents=AGENTS) as gw:
        for _ in range(5):
            assert gw.ask(headers=headers, key=None)[0].status == 200
        gw.clock.advance(ms=6 * MINUTE_MS - 1)
        assert gw.ask(headers=headers, key=None)[0].status == 200
        gw.clock.advance(ms=1)
        assert gw.ask(headers=headers, key=None)[0].status == 401


@pytest.mark.parametrize("forward", [False, True])
def test_the_constant_header(forward: bool) -> None:
    """It proves as well, and only a route that forwards credentials shows it to the upstream."""
    sent = {"X-Merchant": "s3cret", "X-Customer-Id": "domain-1", "X-Request-Id": ID}
    with (
        upstream(answer) as up,
        gateway(up.url, agents=CONSTANT, forward_authorization=forward) as gw,
    ):
        assert gw.ask(headers=sent, key=None)[0].status == 200
        assert gw.ask(headers=sent | {"X-Merchant": "wrong"}, key=None)[0].status == 401
        assert gw.record().customer_id == "domain-1"
        (seen,) = up.requests
    assert seen.header(b"x-merchant") == (b"s3cret" if forward else None)


def test_a_header_that_proves_is_looked_at_beside_known_heads() -> None:
    """Who is known by his key cannot bring another's word past what is remembered of him."""
    plain = {"X-Trace": "1"}
    with upstream(answer) as up, gateway(up.url, agents=CONSTANT) as gw:
        for _ in range(4):
            gw.ask(headers=plain)
        gw.ask(headers=plain | {"X-Merchant": "wrong"})
        gw.ask(headers=plain | {"X-Merchant": "s3cret", "X-Customer-Id": "domain-1"})
        gw.ask(headers=plain | {"X_Merchant": "wrong"})
        gw.idle()
        customers = [record.customer_id for record in gw.kept.records]
        assert all(seen.header(b"x-merchant") is None for seen in up.requests)
        assert all(seen.header(b"x_merchant") is None for seen in up.requests)
    assert customers == ["cust-1"] * 5 + ["domain-1", "cust-1"]


def test_an_open_call_outlives_its_token() -> None:
    """What was proved when it began is enough, also where calls are cut."""

    def slowly(request: Received) -> None:
        request.open_stream()
        request.chunk(b"data: 1\n\n")
        gw.in_loop(lambda: gw.clock.advance(ms=10 * MINUTE_MS))
        gw.in_loop(gw.public.cutting.look)
        request.chunk(b"data: 2\n\n")
        request.chunk(b"")

    cuts = {"streams_on_stop": "cut"}
    with upstream(slowly) as up, gateway(up.url, agents=AGENTS, settings=cuts) as gw:
        _, body = gw.ask(headers=called(token(said_at(NOW)), customer="cust-1"), key=None)
        record = gw.record()
    assert body == b"data: 1\n\ndata: 2\n\n"
    assert record.outcome == "complete"
    assert record.charges == (Charge(agents_account("T", "cust-1"), "tokens_total"),)


def test_what_the_merchant_charges_must_be_bought_by_who_is_known() -> None:
    """By explicit word only; strangers' use is counted for later."""
    ours = Product(product_id="OURS", routes=["chat"], meter="requests", charged_by="merchant")
    with upstream(answer) as up, gateway(up.url, agents=AGENTS, products=[ours]) as gw:
        known, _ = gw.ask(headers=called(token(said_at(NOW)), customer="cust-1"), key=None)
        stranger, _ = gw.ask(headers=called(token(said_at(NOW)), **WHO), key=None)
        assert (known.status, stranger.status) == (403, 200)
        assert gw.record().charges == ()


def test_a_new_secret_counts_at_once() -> None:
    """Taken over between two calls; what was remembered under the old one is forgotten."""
    fresh = Agents([AgentApp(APP, b"a new secret")])
    with upstream(answer) as up, gateway(up.url, agents=AGENTS) as gw:
        old = called(token(said_at(NOW)), customer="cust-1")
        new = called(token(said_at(NOW), "a new secret"), customer="cust-1")
        assert [gw.ask(headers=old, key=None)[0].status for _ in range(4)] == [200] * 4
        served = gw.public._gate.served._replace(agents=fresh)
        gw.in_loop(lambda: gw.public.serve(served))
        assert [gw.ask(headers=each, key=None)[0].status for each in (old, new)] == [401, 200]


def test_both_spellings_of_trust_keep_their_order() -> None:
    """A proof counts before a key that comes beside it: the Agents gateway passes on what it got."""
    with upstream(answer) as up, gateway(up.url, agents=AGENTS) as gw:
        headers = called(token(said_at(NOW)), **WHO) | {"X-Api-Key": KEY}
        gw.ask(headers=headers, key=None)
        assert gw.record().customer_id == "domain-1"
        (seen,) = up.requests
    assert seen.header(b"x-api-key") is None
