"""Usage push at the interface: who may push, and what shape it has."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tallygate.simulator.aksk import SignedRequest, signature
from tallygate.simulator.canonical import canonical
from tallygate.simulator.intake import SUCCESS, Answer, Intake
from tallygate.simulator.marketplace import Marketplace
from tallygate.simulator.models import Instance, Kind, Product
from tallygate.simulator.signing import push_signature
from tests.tallygate.simulator.stage import (
    AK,
    KEY,
    NOW_MS,
    PUSH,
    SK,
    push_headers,
    record,
    settings,
)

DAY_MS = 86_400_000


@pytest.fixture
def marketplace() -> Marketplace:
    made = Marketplace()
    product = Product("chat", "Chat", Kind.ON_DEMAND)
    made.provision(Instance("i-1", "CS1", "CS1-000001", product, "cust-1", NOW_MS))
    return made


@pytest.fixture
def intake(marketplace: Marketplace) -> Intake:
    return Intake(settings(), marketplace)


def signed(body: bytes) -> SignedRequest:
    return SignedRequest("POST", PUSH, "", push_headers(body, NOW_MS, "mkt"), body)


def batch(*records: Mapping[str, object]) -> SignedRequest:
    return signed(canonical({"usage_records": records}).encode())


def without(request: SignedRequest, *names: str, **changes: str) -> SignedRequest:
    kept = {name: value for name, value in request.headers.items() if name not in names}
    return replace(request, headers=kept | changes)


def found(marketplace: Marketplace) -> list[str]:
    return [finding["check"] for finding in marketplace.findings.as_json()]


def test_good_push(intake, marketplace):
    """Stored as received, nothing found."""
    assert intake.take(batch(record("i-1")), NOW_MS) == SUCCESS
    assert [stored.record for stored in marketplace.records] == [record("i-1")]
    assert found(marketplace) == []


def test_bad_data_are_not_judged_here(intake, marketplace):
    """A record that can never be collected is taken all the same (§7.2 rule 1)."""
    bad = record("i-1", usage_value="-1", end_time="never", metering_sn="x" * 99)
    assert intake.take(batch(bad), NOW_MS) == SUCCESS
    assert len(marketplace.records) == 1


@pytest.mark.parametrize("auth", ["signature", "aksk", "both"])
def test_push_auth_says_what_is_needed(marketplace, auth):
    """Each way needs its own headers and no others."""
    intake = Intake(settings(push_auth=auth), marketplace)
    plain = without(batch(record("i-1")), "authorization")
    unsigned = without(batch(record("i-1")), "signature", "ts", "nonce")
    assert (intake.take(plain, NOW_MS) == SUCCESS) == (auth == "signature")
    assert (intake.take(unsigned, NOW_MS) == SUCCESS) == (auth == "aksk")


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (without(batch(record("i-1")), "authorization"), 401, "MKT.0154"),
        (without(batch(record("i-1")), "signature"), 400, "MKT.0101"),
        (without(batch(record("i-1")), "ts"), 400, "MKT.0101"),
        (without(batch(record("i-1")), "nonce"), 400, "MKT.0101"),
        (without(batch(record("i-1")), nonce="x" * 65), 400, "MKT.0101"),
        (without(batch(record("i-1")), signature="AAAA"), 400, "MKT.0102"),
        (without(batch(record("i-1")), signature="é"), 400, "MKT.0102"),
    ],
)
def test_bad_authentication(intake, marketplace, request_, status, code):
    """Refused as §7.3 says, found, and nothing stored."""
    answer = intake.take(request_, NOW_MS)
    assert (answer.status, answer.code) == (status, code)
    assert (found(marketplace), marketplace.records) == (["push-refused"], [])


@pytest.mark.parametrize("ts", [str(NOW_MS - 300_001), str(NOW_MS + 300_001), "1790000000", "now"])
def test_ts_must_be_near(intake, ts):
    """Milliseconds within five minutes, though the signature fits."""
    request = batch(record("i-1"))
    nonce = request.headers["nonce"]
    fitting = push_signature(KEY, ts, nonce, request.body)
    answer = intake.take(without(request, ts=ts, signature=fitting), NOW_MS)
    assert answer.code == "MKT.0199"


def test_nonce_is_used_once(intake):
    """The same request twice is a replay; the same records under another nonce are not."""
    request = batch(record("i-1"))
    assert intake.take(request, NOW_MS) == SUCCESS
    assert intake.take(request, NOW_MS).code == "MKT.0199"
    assert intake.take(batch(record("i-1")), NOW_MS) == SUCCESS


def test_nonces_are_forgotten(intake):
    """What can no longer be replayed needs no memory."""
    for later in range(5):
        now_ms = NOW_MS + later * 200_000
        body = canonical({"usage_records": [record("i-1", later)]}).encode()
        request = SignedRequest("POST", PUSH, "", push_headers(body, now_ms, "mkt"), body)
        assert intake.take(request, now_ms) == SUCCESS
    assert len(intake._nonces) == 4


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "MKT.0101"),
        (b"{", "MKT.0101"),
        (b"[" * 100_000, "MKT.0101"),
        (b"\xff", "MKT.0101"),
        (b"[]", "MKT.0101"),
        (b"{}", "MKT.0101"),
        (b'{"usage_records":[],"more":1}', "MKT.0101"),
        (b'{"usage_records":[]}', "MKT.0100"),
        (b'{"usage_records":{}}', "MKT.0100"),
        (b'{"usage_records":[7]}', "MKT.0101"),
        (b'{"usage_records":[{"usage_value":1e99999999999999999999}]}', "MKT.0101"),
    ],
    ids=range(11),
)
def test_bad_body(intake, body, code):
    """What is no batch of records has its code."""
    assert intake.take(signed(body), NOW_MS).code == code


@pytest.mark.parametrize(
    "fields",
    [{"begin_time": None}, {"usage_value": None}, {"product_id": "chat"}, {"usage_value": ["1"]}],
    ids=str,
)
def test_bad_record_shape(intake, fields):
    """A missing, an unknown or a nested field refuses the push."""
    assert intake.take(batch(record("i-1"), record("i-1", 60, **fields)), NOW_MS).code == "MKT.0101"


def test_thousand_records(intake):
    """A thousand are taken, one more is not."""
    many = [record("i-1", second) for second in range(1001)]
    assert intake.take(batch(*many[:1000]), NOW_MS) == SUCCESS
    assert intake.take(batch(*many), NOW_MS) == Answer(500, "MKT.9003", "more than 1000 records")


def test_unknown_instance_refuses_the_whole_push(intake, marketplace):
    """MKT.9001, and the good record beside it is not stored."""
    answer = intake.take(batch(record("i-1"), record("i-2")), NOW_MS)
    assert (answer.status, answer.code) == (500, "MKT.9001")
    assert marketplace.records == []


def test_21_days(intake):
    """MKT.9004 for a record that began before."""
    old = record("i-1", -21 * 86_400 - 1)
    answer = intake.take(batch(old), NOW_MS)
    assert (answer.status, answer.code) == (500, "MKT.9004")
    assert intake.take(batch(record("i-1", -21 * 86_400)), NOW_MS) == SUCCESS


@pytest.mark.parametrize("sort_keys", [True, False])
def test_order_and_spaces_are_findings(intake, marketplace, sort_keys):
    """Taken, because the signature fits what was sent, but noted."""
    value = {"usage_records": [dict(reversed(record("i-1").items()))]}
    body = json.dumps(value, sort_keys=sort_keys, separators=None if sort_keys else (",", ":"))
    assert intake.take(signed(body.encode()), NOW_MS) == SUCCESS
    assert found(marketplace) == ["push-order"]


def test_unsigned_host_is_a_finding(intake, marketplace):
    """The vendor's own clients sign the host."""
    request = batch(record("i-1"))
    value = signature(request, ["x-sdk-date"], SK)
    authorization = f"SDK-HMAC-SHA256 Access={AK}, SignedHeaders=x-sdk-date, Signature={value}"
    assert intake.take(without(request, authorization=authorization), NOW_MS) == SUCCESS
    assert found(marketplace) == ["push-auth"]


def test_long_messages_are_cut(intake):
    """error_msg has at most 255 characters."""
    answer: Any = intake.take(batch(record("i" * 5000)), NOW_MS).as_json()
    assert len(answer["error_msg"]) == 255
