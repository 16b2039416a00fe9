"""SDK-HMAC-SHA256: the published vectors, and every reason to refuse."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tallygate.simulator.aksk import (
    SignedRequest,
    canonical_request,
    refusal,
    signature,
    signs_host,
)
from tests.tallygate.simulator.stage import AK, NOW_MS, SK, aksk_headers

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "vectors.json").read_text())[
    "aksk"
]
PATH, QUERY = "/api/order/query", "orderId=CS1&note=a%20b"


def request_of(vector: dict[str, Any]) -> SignedRequest:
    return SignedRequest(
        vector["method"],
        vector["path"],
        vector["query"],
        vector["headers"],
        vector["body"].encode(),
    )


@pytest.mark.parametrize(
    "vector", [v for v in VECTORS if "signature" in v], ids=lambda v: v["name"]
)
def test_published_signatures(vector):
    """What the vendor printed is what we compute."""
    assert signature(request_of(vector), vector["signed"], vector["sk"]) == vector["signature"]


@pytest.mark.parametrize(
    "vector", [v for v in VECTORS if "canonical_sha256" in v], ids=lambda v: v["name"]
)
def test_published_canonical_requests(vector):
    """The canonical request has the published hash."""
    text = canonical_request(request_of(vector), vector["signed"])
    assert hashlib.sha256(text.encode()).hexdigest() == vector["canonical_sha256"]


def good(body: bytes = b"{}") -> SignedRequest:
    headers = aksk_headers("GET", PATH, QUERY, body, NOW_MS, "mkt.example.com")
    return SignedRequest("GET", PATH, QUERY, headers, body)


def judged(request: SignedRequest, now_ms: int = NOW_MS) -> str:
    return refusal(request, AK, SK, now_ms) or ""


def with_header(name: str, value: str) -> SignedRequest:
    request = good()
    return replace(request, headers={**request.headers, name: value})


def test_good_request():
    """A well-signed request is the seller's."""
    assert judged(good()) == ""


def test_spaces_in_a_query_may_be_plus_or_percent():
    """`+` and `%20` are the same canonical query."""
    assert judged(replace(good(), query="orderId=CS1&note=a+b")) == ""


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        (with_header("authorization", ""), "Authorization is not"),
        (with_header("authorization", "Bearer x"), "Authorization is not"),
        (with_header("host", "elsewhere"), "signature does not fit"),
        (replace(good(), body=b"{ }"), "signature does not fit"),
        (replace(good(), path="/other"), "signature does not fit"),
        (replace(good(), query="orderId=CS2&note=a%20b"), "signature does not fit"),
        (replace(good(), method="POST"), "signature does not fit"),
        (with_header("x-sdk-date", "yesterday"), "X-Sdk-Date must be yyyyMMdd"),
    ],
)
def test_spoilt_requests(spoilt, reason):
    """Whatever was changed after signing is noticed."""
    assert reason in judged(spoilt)


def test_foreign_access_key():
    """Another seller's AK is unknown."""
    assert refusal(good(), "other", SK, NOW_MS) == "the AK is unknown"


def test_wrong_secret_key():
    """A signature with another SK does not fit."""
    assert "does not fit" in (refusal(good(), AK, "other", NOW_MS) or "")


@pytest.mark.parametrize("minutes", [-16, 16])
def test_stale_date(minutes):
    """A quarter of an hour is the tolerance, both ways."""
    assert "15 minutes" in judged(good(), NOW_MS + minutes * 60_000)


def test_unsigned_date():
    """The date must be among the signed headers."""
    request = good()
    headers = dict(request.headers)
    headers["authorization"] = headers["authorization"].replace("host;x-sdk-date", "host")
    assert "must be among" in judged(replace(request, headers=headers))


def test_signed_header_that_is_absent():
    """A header named as signed must be in the request."""
    request = good()
    headers = dict(request.headers)
    headers["authorization"] = headers["authorization"].replace("host;", "host;x-stage;")
    assert "x-stage is not in the request" in judged(replace(request, headers=headers))


def test_unsigned_payload():
    """A body declared unsigned may be any, but only when the declaration itself is signed."""
    names = ["host", "x-sdk-content-sha256", "x-sdk-date"]
    plain = good()
    headers = {**plain.headers, "x-sdk-content-sha256": "UNSIGNED-PAYLOAD"}
    request = replace(plain, headers=headers)
    value = signature(request, names, SK)
    start = f"SDK-HMAC-SHA256 Access={AK}, SignedHeaders="
    headers["authorization"] = f"{start}{';'.join(names)}, Signature={value}"
    assert judged(replace(request, body=b"anything")) == ""
    undeclared = {**good().headers, "x-sdk-content-sha256": "UNSIGNED-PAYLOAD"}
    assert "does not fit" in judged(replace(plain, headers=undeclared, body=b"anything"))


def test_signs_host():
    """An unsigned host can be told."""
    request = good()
    assert signs_host(request)
    headers = dict(request.headers)
    headers["authorization"] = headers["authorization"].replace("host;", "")
    assert not signs_host(replace(request, headers=headers))
