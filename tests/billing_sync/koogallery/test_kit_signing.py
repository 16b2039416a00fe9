"""How calls of the Kit are proved: the vector, what pages leave open, and tampering."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.errors import BadEvent, BadSignature
from billing_sync.koogallery.kit_signing import KitHeaders, verify_v1, verify_v2
from tests.billing_sync.kit_marketplace import KIT_KEY, beijing, x_sign
from tests.billing_sync.marketplace import vector
from tests.billing_sync.v1_marketplace import token

NOW = 1_790_000_000_000
DAY_MS = 86_400_000
BODY = b'{"flag":1,"userList":[{"userName":"b","name":"a"}]}'


def headers(raw: bytes = BODY, timestamp: str = str(NOW), nonce: str = "n1") -> KitHeaders:
    return KitHeaders(x_sign(raw, timestamp, nonce), timestamp, nonce)


def test_the_vector() -> None:
    """No hash of the body inside; upper case or lower."""
    case = vector("Kit V2 x-sign tenantSync")
    stamp, raw = case["input"]["x-timestamp"], case["input"]["canonical_json"].encode()
    for sign in (case["expected"], case["expected"].lower()):
        given_headers = KitHeaders(sign, stamp, case["input"]["x-nonce"])
        verify_v2(case["key"], given_headers, raw, int(stamp))
        with pytest.raises(BadSignature):
            verify_v2("another", given_headers, raw, int(stamp))


@pytest.mark.parametrize(
    "sent",
    [
        b'{ "userList": [{"userName":"b","name":"a"}], "x": null, "flag": 1 }',
        b'{"userList":[{"userName":"b","name":"a"}],"flag":1}',
    ],
)
def test_spaces_order_and_nulls_on_the_way(sent: bytes) -> None:
    """What was signed is sorted outside; inside as it is, or sorted as well."""
    verify_v2(KIT_KEY, headers(), sent, NOW)
    inside = b'{"flag":1,"userList":[{"name":"a","userName":"b"}]}'
    verify_v2(KIT_KEY, headers(inside), sent, NOW)
    with pytest.raises(BadSignature):
        verify_v2(KIT_KEY, headers(), sent.replace(b'"b"', b'"c"'), NOW)


@pytest.mark.parametrize("off", [-60_000, 60_000])
def test_a_minute_in_both_directions(off: int) -> None:
    """And not a millisecond more."""
    verify_v2(KIT_KEY, headers(), BODY, NOW + off)
    with pytest.raises(BadEvent, match="60 s"):
        verify_v2(KIT_KEY, headers(), BODY, NOW + off + (1 if off > 0 else -1))


@pytest.mark.parametrize(
    "wrong",
    [
        KitHeaders(),
        headers(timestamp=""),
        headers(timestamp="soon"),
        headers(timestamp="٣" * 13),
        headers(nonce=""),
        headers(nonce="n" * 257),
    ],
)
def test_headers_that_are_not_there(wrong: KitHeaders) -> None:
    """Time and nonce are parameters that are wrong, not signatures."""
    with pytest.raises(BadEvent):
        verify_v2(KIT_KEY, wrong, BODY, NOW)


@pytest.mark.parametrize("sign", ["", "0" * 64, "é" * 64, "x" * 100_000])
def test_signatures_that_are_wrong(sign: str) -> None:
    """Whatever they look like."""
    with pytest.raises(BadSignature):
        verify_v2(KIT_KEY, KitHeaders(sign, str(NOW), "n1"), BODY, NOW)


def test_a_nonce_cannot_give_its_zero_away() -> None:
    """Nonce and time are signed as one text: the same call would have another nonce."""
    sign = x_sign(BODY, str(NOW), "n10")
    verify_v2(KIT_KEY, KitHeaders(sign, str(NOW), "n10"), BODY, NOW)
    with pytest.raises(BadEvent):
        verify_v2(KIT_KEY, KitHeaders(sign, f"0{NOW}", "n1"), BODY, NOW)


@given(st.binary(max_size=40))
def test_any_body(raw: bytes) -> None:
    """The right signature passes whatever the bytes are, and another one never."""
    verify_v2(KIT_KEY, headers(raw), raw, NOW)
    with pytest.raises(BadSignature):
        verify_v2(KIT_KEY, headers(raw + b"x"), raw, NOW)


def v1_body(**fields: Any) -> dict[str, Any]:
    return {"flag": 1, "tenantId": "t+ 1", "timeStamp": beijing(NOW)} | fields


def check(body: dict[str, Any], proof: str, now: int = NOW) -> None:
    verify_v1(KIT_KEY, proof, body, now, DAY_MS)


def test_v1_tokens() -> None:
    """Made of the fields; lists that are lists are signed as they are written."""
    users = '[{"userName":"a&b=c"}]'
    texts = {"flag": "1", "tenantId": "t+ 1", "timeStamp": beijing(NOW), "userList": users}
    check(v1_body(userList=users), token(texts, KIT_KEY))
    check(v1_body(userList=json.loads(users), gone=None), token(texts, KIT_KEY))
    for wrong in ("", token(texts, "another"), token({**texts, "flag": "0"}, KIT_KEY), "é" * 300):
        with pytest.raises(BadSignature):
            check(v1_body(userList=users), wrong)


def test_v1_fields_that_are_empty() -> None:
    """Whether they are signed, no page says."""
    texts = {"flag": "1", "tenantId": "t+ 1", "timeStamp": beijing(NOW)}
    check(v1_body(instanceId=""), token(texts, KIT_KEY))
    check(v1_body(instanceId=""), token({**texts, "instanceId": ""}, KIT_KEY))


def test_v1_times() -> None:
    """As old as the setting says, and hardly ahead."""
    texts = {"flag": "1", "tenantId": "t+ 1", "timeStamp": beijing(NOW)}
    proof = token(texts, KIT_KEY)
    check(v1_body(), proof, NOW + DAY_MS)
    check(v1_body(), proof, NOW - 60_000)
    for now, word in ((NOW + DAY_MS + 1, "old"), (NOW - 60_001, "ahead")):
        with pytest.raises(BadEvent, match=word):
            check(v1_body(), proof, now)
    for stamp in (None, "", 7, "soon"):
        with pytest.raises(BadEvent, match="timeStamp"):
            check(v1_body(timeStamp=stamp), proof)


def test_v1_bodies_that_are_nested_deep() -> None:
    """Whatever could be read can be judged: at every depth there is an answer."""
    for depth in range(800, 1000, 3):
        nested: Any = []
        for _ in range(depth):
            nested = [nested]
        with pytest.raises((BadEvent, BadSignature)):
            check(v1_body(x=nested), "no token")
