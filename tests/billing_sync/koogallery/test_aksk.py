"""AK/SK signing against three published vectors, and as httpx applies it to real requests."""

import hashlib
import re
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from billing_sync.koogallery.aksk import AkSkAuth, authorization, canonical_request, sdk_date
from tests.billing_sync.marketplace import vector
from tests.fakes import FakeClock


def test_koogallery_vector() -> None:
    """The published request to the license API has the published signature."""
    case = vector("SDK-HMAC-SHA256 KooGallery license/activate")
    request = case["input"]
    made = authorization(
        ("test", "123"), request["method"], request["url"], request["headers"], b""
    )
    names = request["signedHeaders"]
    assert made == (
        f"SDK-HMAC-SHA256 Access=test, SignedHeaders={names}, Signature={case['expected']}"
    )


def test_guide_vector() -> None:
    """The request of the signing guide has its canonical hash and its signature."""
    case = vector("SDK-HMAC-SHA256 official guide")
    request = case["input"]
    ak, sk = re.match(r"(\S+) / (\S+)", case["key"]).groups()  # type: ignore[union-attr]
    parts = (request["method"], request["url"], request["headers"], b"")
    canonical = canonical_request(*parts).encode()
    assert hashlib.sha256(canonical).hexdigest() == request["canonical_request_sha256"]
    assert authorization((ak, sk), *parts).endswith(f"Signature={case['expected']}")


def test_gateway_vector() -> None:
    """The canonical request of the API gateway's guide has the published hash."""
    case = vector("SDK-HMAC-SHA256 APIG canonical request hash")
    request = case["input"]
    url = f"https://{request['host']}{request['path']}?{request['query']}"
    headers = {"host": request["host"], "x-sdk-date": request["x-sdk-date"]}
    canonical = canonical_request(request["method"], url, headers, b"")
    assert hashlib.sha256(canonical.encode()).hexdigest() == case["expected"]


def test_the_path_ends_with_a_slash_and_is_encoded_once() -> None:
    """`/a b` and `/a%20b` are one path, closed by a slash for signing only."""
    texts = [canonical_request("GET", f"https://h/{path}", {}, b"") for path in ("a b", "a%20b/")]
    assert texts[0] == texts[1]
    assert texts[0].splitlines()[1] == "/a%20b/"


@given(st.lists(st.tuples(st.text(min_size=1, max_size=5), st.text(max_size=5)), max_size=5))
def test_query_arguments_are_sorted(pairs: list[tuple[str, str]]) -> None:
    """The order of arguments does not matter, and each is found again in the canonical text."""
    there = httpx.URL("https://h/p", params=pairs)
    back = httpx.URL("https://h/p", params=list(reversed(pairs)))
    canonical = canonical_request("GET", str(there), {}, b"").splitlines()[2]
    assert canonical == canonical_request("GET", str(back), {}, b"").splitlines()[2]
    found = [tuple(map(unquote, part.split("="))) for part in canonical.split("&") if part]
    assert sorted(found) == sorted(pairs)


def test_sdk_date() -> None:
    """Times are UTC to the second."""
    assert sdk_date(1_710_686_557_999) == "20240317T144237Z"


async def seen(request: Request) -> JSONResponse:
    return JSONResponse({"headers": dict(request.headers), "body": (await request.body()).decode()})


@pytest.mark.anyio
async def test_httpx_signs_what_it_sends() -> None:
    """The header that arrives is the signature over the body, host and date that arrive."""
    transport = httpx.ASGITransport(Starlette(routes=[Route("/p", seen, methods=["POST"])]))
    auth = AkSkAuth("AK", "SK", FakeClock())
    async with httpx.AsyncClient(transport=transport, base_url="https://mkt.example") as client:
        headers = {"content-type": "application/json", "nonce": "n"}
        reply = await client.post("/p?b=2&a=1", content=b'{"a":1}', headers=headers, auth=auth)
    arrived = reply.json()
    signed = {name: arrived["headers"][name] for name in ("content-type", "host", "x-sdk-date")}
    assert arrived["headers"]["authorization"] == authorization(
        ("AK", "SK"), "POST", "https://mkt.example/p?b=2&a=1", signed, arrived["body"].encode()
    )
    assert signed["host"] == "mkt.example"


def test_the_secret_shows_nowhere() -> None:
    """Neither repr nor str of the auth object tells the key."""
    auth = AkSkAuth("access", "very-secret", FakeClock())
    assert "very-secret" not in repr(auth) + str(auth)
