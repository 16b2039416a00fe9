"""V1.0 signatures: against vectors, against a hand-written signer, and against tampering."""

from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.errors import BadEvent, BadSignature
from billing_sync.koogallery.v1_signing import auth_token, body_sign, verify
from tests.billing_sync.marketplace import ACCESS_KEY, vector
from tests.billing_sync.v1_marketplace import stamp, token

NOW = 1_790_000_000_123
DAY_MS = 86_400_000
CALL = {"activity": "releaseInstance", "instanceId": "i", "orderId": "o", "timeStamp": stamp(NOW)}


def signed(parameters: dict[str, str]) -> bytes:
    return urlencode({**parameters, "authToken": token(parameters)}).encode()


def check(query: bytes, now_ms: int = NOW) -> dict[str, str]:
    return dict(verify(ACCESS_KEY, query, now_ms, DAY_MS).parameters)


def test_token_vector() -> None:
    """The published token, made and accepted."""
    case = vector("V1 authToken GET newInstance")
    parameters = case["input"]["params"]
    assert auth_token(case["key"], parameters) == case["expected"]
    query = urlencode({**parameters, "authToken": case["expected"]}).encode()
    at = 1_595_835_431_903
    assert verify(case["key"], query, at, DAY_MS) == (parameters, at)


def test_mac_vector() -> None:
    """The HMAC of public code, through the reply's signature."""
    case = vector("V1 HMAC base64 (public main())")
    assert case["expected"] in body_sign(case["key"], case["input"].encode())


def test_body_sign_vectors() -> None:
    """The header's value to the letter, blanks included."""
    case = vector("V1 Body-Sign header")
    assert body_sign(case["key"], case["input"].encode()) == case["expected"]
    other = vector("SYNTHETIC V1 Body-Sign value #2")
    made = body_sign(other["key"], other["input"]["body"].encode())
    assert made == f'sign_type="HMAC-SHA256", signature= "{other["expected"]}"'


def test_what_comes_out() -> None:
    """The decoded parameters without the token, and the time in ms."""
    proved = verify(ACCESS_KEY, signed(CALL), NOW, DAY_MS)
    assert proved == (CALL, NOW)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.dictionaries(texts, texts, max_size=6), st.sampled_from([quote, quote_plus]))
def test_any_parameters(extra: dict[str, str], quoting: Any) -> None:
    """Whatever is signed passes, with blanks written as `+` or as `%20`, known to us or not."""
    parameters = {name: value for name, value in extra.items() if name} | CALL
    parameters.pop("authToken", None)
    whole = {**parameters, "authToken": token(parameters)}
    query = urlencode(whole, quote_via=quoting).encode()
    assert check(query) == parameters


def test_a_plus_that_is_a_plus() -> None:
    """Base64 that was put into the URL as it is, in a value and in the token itself."""
    for number in range(60):  # until a token has a plus
        parameters = {**CALL, "email": "abc+def/==", "businessId": str(number)}
        pairs = {**parameters, "authToken": token(parameters)}
        raw = "&".join(f"{name}={value}" for name, value in pairs.items())
        assert check(raw.encode()) == parameters
        with_blanks = raw.replace("abc+def", "abc%2Bdef")
        assert check(with_blanks.encode()) == parameters


@given(st.data())
def test_tampering(data: st.DataObject) -> None:
    """Any other byte anywhere is no longer the same call."""
    query = bytearray(signed(CALL))
    place = data.draw(st.integers(0, len(query) - 1))
    query[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != query[place]))
    try:
        assert check(bytes(query)) == CALL  # another spelling of the same
    except (BadEvent, BadSignature):
        return


@pytest.mark.parametrize("gone", ["authToken", "timeStamp", "instanceId"])
def test_what_is_missing(gone: str) -> None:
    """Without its time a call is 000002, without anything else 000001."""
    whole = {**CALL, "authToken": token(CALL)}
    del whole[gone]
    kind = BadEvent if gone == "timeStamp" else BadSignature
    with pytest.raises(kind, match=gone if gone != "instanceId" else "authToken"):
        check(urlencode(whole).encode())


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (b"timeStamp=20200727073711903&a=1&a=1", "given twice"),
        (b"timeStamp=20200727073711903&%61=1&a=2", "given twice"),
        (b"timeStamp=%FF", "UTF-8"),
        (b"timeStamp=\xff", "UTF-8"),
        (b"timeStamp=1", "yyyyMMdd"),
        (b"timeStamp=20201340073711903", "no date"),
        (b"&" * 101, "more than 100"),
        (b"x" * 65537, "larger"),
        (b"", "timeStamp is missing"),
    ],
    ids=range(9),
)
def test_what_cannot_be_read(query: bytes, reason: str) -> None:
    """Each is refused by a reason, before any token is looked at."""
    with pytest.raises(BadEvent, match=reason):
        check(query)


def test_empty_parts() -> None:
    """A stray `&` is nothing."""
    assert check(b"&" + signed(CALL).replace(b"&", b"&&") + b"&") == CALL


def test_its_age() -> None:
    """As old as the setting says, and at most a minute ahead."""
    query = signed(CALL)
    for now in (NOW + DAY_MS, NOW - 60_000):
        assert check(query, now) == CALL
    with pytest.raises(BadEvent, match="older than 86400 s"):
        check(query, NOW + DAY_MS + 1)
    with pytest.raises(BadEvent, match="ahead"):
        check(query, NOW - 60_001)


def test_a_forger_learns_nothing_of_the_clock() -> None:
    """The token is judged before the age."""
    with pytest.raises(BadSignature):
        check(signed(CALL).replace(b"orderId=o", b"orderId=p"), NOW + 2 * DAY_MS)


def test_another_key() -> None:
    """A token of another seller does not pass."""
    whole = {**CALL, "authToken": token(CALL, "another key")}
    with pytest.raises(BadSignature):
        check(urlencode(whole).encode())
