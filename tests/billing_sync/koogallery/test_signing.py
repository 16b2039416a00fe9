"""Signatures: against vectors, against a hand-written signer, and against tampering."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.errors import BadEvent, BadSignature
from billing_sync.koogallery.signing import (
    NonceMemory,
    SignedQuery,
    canonical_json,
    push_signature,
    verify,
)
from tests.billing_sync.marketplace import ACCESS_KEY, sign, vector

NOW = 1_790_000_000_000
BODY = b'{"activity":"newInstance","orderId":"CS1"}'

V2_VECTORS = [
    "V2 URL signature",
    "SYNTHETIC V2 URL signature newInstance",
    "SYNTHETIC V2 URL signature refreshInstance RENEWAL",
    "SYNTHETIC V2 URL signature releaseInstance",
]


def signed(body: bytes = BODY, timestamp: int = NOW, nonce: str = "n1") -> SignedQuery:
    return SignedQuery(sign(body, timestamp, nonce), str(timestamp), nonce)


@pytest.mark.parametrize("name", V2_VECTORS)
def test_vectors(name: str) -> None:
    """Every V2.0 vector whose key is known passes, and gives back its own timestamp."""
    case = vector(name)
    stamp, body = case["input"]["timestamp"], case["input"]["canonical_json"].encode()
    query = SignedQuery(case["expected"], stamp, case["input"]["nonce"])
    assert verify(case["key"], query, body, now_ms=int(stamp)) == int(stamp)


def test_push_vector() -> None:
    """The usage push is signed over ts, nonce and the bytes that are sent."""
    case = vector("Usage push (new) signature header")
    given_input = case["input"]
    made = push_signature(
        case["key"], given_input["ts"], given_input["nonce"], given_input["body"].encode()
    )
    assert made == case["expected"]


def test_hex_of_either_case() -> None:
    """Upper and lower case are the same signature."""
    upper = signed()
    lower = SignedQuery(upper.signature.lower(), upper.timestamp, upper.nonce)
    assert verify(ACCESS_KEY, upper, BODY, NOW) == verify(ACCESS_KEY, lower, BODY, NOW) == NOW


def test_a_respaced_body_passes() -> None:
    """A body that was sorted and compact when signed may arrive spaced, unsorted and with nulls."""
    compact = '{"activity":"newInstance","memo":"云/é","orderId":"CS1"}'.encode()
    spaced = '{ "orderId": "CS1", "x": null, "memo": "云\\/\\u00e9", "activity": "newInstance" }'
    assert verify(ACCESS_KEY, signed(compact), spaced.encode(), NOW) == NOW


def test_an_unsorted_body_signed_as_it_is_passes() -> None:
    """The raw bytes count first, whatever their order."""
    raw = b'{"orderId":"CS1", "activity":"newInstance"}'
    assert verify(ACCESS_KEY, signed(raw), raw, NOW) == NOW


@pytest.mark.parametrize("off", [-60_000, 0, 60_000])
def test_sixty_seconds_either_way(off: int) -> None:
    """A timestamp up to 60 s in the past or the future is taken."""
    assert verify(ACCESS_KEY, signed(timestamp=NOW + off), BODY, NOW) == NOW + off


@pytest.mark.parametrize("off", [-60_001, 60_001])
def test_more_than_sixty_seconds(off: int) -> None:
    """Beyond that the request is refused as a bad parameter, even when well signed."""
    with pytest.raises(BadEvent, match="timestamp"):
        verify(ACCESS_KEY, signed(timestamp=NOW + off), BODY, NOW)


def test_ten_digits_are_seconds() -> None:
    """A timestamp in seconds is signed as it stands and understood as seconds."""
    assert verify(ACCESS_KEY, signed(timestamp=NOW // 1000), BODY, NOW) == NOW


@pytest.mark.parametrize(
    "stamp", ["", "abc", "-179000000", "1790000000.0", "9" * 30, "１７９００００００００００"]
)
def test_a_timestamp_that_is_none(stamp: str) -> None:
    """What is no number of milliseconds is a bad parameter, never an exception."""
    with pytest.raises(BadEvent, match="timestamp"):
        verify(ACCESS_KEY, SignedQuery("x", stamp, "n"), BODY, NOW)


@pytest.mark.parametrize("nonce", ["", "n" * 300])
def test_a_nonce_that_is_none(nonce: str) -> None:
    """A missing or endless nonce is a bad parameter."""
    with pytest.raises(BadEvent, match="nonce"):
        verify(ACCESS_KEY, signed(nonce=nonce), BODY, NOW)


@pytest.mark.parametrize("signature", ["", "00", "é", "\ud800", "f" * 64, "f" * 10_000])
def test_a_wrong_signature(signature: str) -> None:
    """Any other text is a wrong signature."""
    with pytest.raises(BadSignature):
        verify(ACCESS_KEY, SignedQuery(signature, str(NOW), "n1"), BODY, NOW)


def test_another_key() -> None:
    """Who signs with another key is refused."""
    with pytest.raises(BadSignature):
        verify("another-key", signed(), BODY, NOW)


@given(st.binary(max_size=200), st.text(min_size=1, max_size=20), st.integers(0, 60_000))
def test_nothing_can_be_changed(body: bytes, nonce: str, later: int) -> None:
    """A signature fits one body, one nonce and one timestamp."""
    query = SignedQuery(signed().signature, str(NOW + later), nonce)
    if (body, nonce, later) == (BODY, "n1", 0):
        return
    with pytest.raises(BadSignature):
        verify(ACCESS_KEY, query, body, NOW)


@pytest.mark.parametrize("body", [b"\xff", b"{", b"[" * 60_000, b'"\\ud800"'])
def test_bodies_without_canonical_form(body: bytes) -> None:
    """Broken UTF-8, broken JSON, a depth bomb and a lone surrogate have no canonical form."""
    assert canonical_json(body) is None


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=5), lambda s: st.lists(s, max_size=3)
        ),
        max_size=5,
    )
)
def test_the_canonical_form_is_one(data: dict[str, object]) -> None:
    """However a body is ordered and spaced, its canonical form is the same."""
    spaced = json.dumps(dict(reversed(data.items())), indent=2).encode()
    compact = json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()
    assert canonical_json(spaced) == canonical_json(compact)


def test_a_nonce_counts_once() -> None:
    """The second use within two minutes is refused; afterwards the timestamp is too old anyway."""
    memory = NonceMemory()
    memory.admit("n", NOW)
    with pytest.raises(BadSignature, match="before"):
        memory.admit("n", NOW + 120_000)
    memory.admit("n", NOW + 120_001)


def test_the_memory_is_bounded() -> None:
    """Beyond its limit the oldest nonces are forgotten."""
    memory = NonceMemory(limit=3)
    for number in range(10):
        memory.admit(f"n{number}", NOW)
    assert len(memory) == 3
    with pytest.raises(BadSignature):
        memory.admit("n9", NOW)


def test_repeats_may_be_allowed() -> None:
    """By setting, a marketplace that re-sends its own bytes is let through."""
    memory = NonceMemory(refuse_repeats=False)
    memory.admit("n", NOW)
    memory.admit("n", NOW)
    assert len(memory) == 0
