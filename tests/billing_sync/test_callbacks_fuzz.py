"""Whatever reaches the production address gets HTTP 200 with a result code, and without a valid
signature nothing is written."""

import asyncio
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event
from starlette.types import Message

from billing_sync.koogallery.codes import ResultCode
from billing_sync.store.engine import connect, open_engine, sqlite_url
from tests.asgi import http_scope
from tests.billing_sync.koogallery.test_v1_fields import LEAST
from tests.billing_sync.marketplace import sign
from tests.billing_sync.v1_marketplace import V1Marketplace, stamp, token

COMMON = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
V2: list[dict[str, Any]] = [
    {"activity": "newInstance", "businessId": "b", "orderId": "o", "orderLineId": "l"},
    {"activity": "queryInstance", "instanceId": "i,j"},
    {"activity": "updateInstanceStatus", "instanceId": "i", "status": "FREEZE"},
    {"activity": "releaseInstance", "instanceId": "i"},
    {"activity": "upgradeInstance", "instanceId": "i", "orderId": "o", "orderLineId": "l"},
    {
        "activity": "refreshInstance",
        "scene": "RENEWAL",
        "orderId": "o",
        "orderLineId": "l",
        "instanceId": "i",
        "expireTime": "20270101000000",
    },
    {
        "activity": "changeInstanceCheck",
        "instanceId": "i",
        "productInfo": {"productId": "TOKENS", "linearValue": 2},
    },
    {"activity": "orderNotify", "orderId": "o", "orderLineId": "l"},
    {
        "activity": "getLicenseAsync",
        "instanceId": "i",
        "eventId": "e",
        "effectiveTime": "2027-01-01 00:00:00 z",
        "deviceFingerprint": "mac",
    },
    {
        "activity": "refreshLicenseCode",
        "scene": "RENEWAL",
        "license": "PL1",
        "orderId": "o",
        "orderLineId": "l",
        "expireTime": "20270101000000",
    },
    {"activity": "updateLicenseCodeStatus", "license": "PL1", "status": "FREEZE"},
    {"activity": "releaseLicenseCode", "license": "PL1"},
]


class Address:
    """The production address of one merchant, and what it wrote."""

    def __init__(self, engine: Engine) -> None:
        self.market = V1Marketplace(engine)
        self.loop = asyncio.new_event_loop()
        self.writes: list[str] = []
        self.nonces = 0
        event.listen(engine, "before_cursor_execute", self._seen)

    def _seen(self, _c: object, _cursor: object, statement: str, *_rest: object) -> None:
        if not statement.upper().startswith(("SELECT", "BEGIN", "PRAGMA")):
            self.writes.append(statement)

    def gets(self, method: str, query: bytes, body: bytes = b"") -> str:
        """The result code of a call that passed the platform's own checks."""
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = http_scope(method=method, path="/koogallery", query_string=query, headers=[])
        self.loop.run_until_complete(self.market.app(scope, receive, send))
        assert sent[0]["status"] == 200
        headers = {name.lower(): value for name, value in sent[0]["headers"]}
        assert headers[b"content-type"].startswith(b"application/json")
        assert headers[b"body-sign"].startswith(b'sign_type="HMAC-SHA256"')
        answer = json.loads(b"".join(message.get("body", b"") for message in sent[1:]))
        assert 0 < len(answer["resultMsg"]) <= 255
        return str(ResultCode(answer["resultCode"]))

    def posts(self, body: bytes) -> str:
        """The same for a body that the marketplace signed."""
        self.nonces += 1
        now, nonce = self.market.clock.now_ms(), str(self.nonces)
        signed = {"signature": sign(body, now, nonce), "timestamp": str(now), "nonce": nonce}
        return self.gets("POST", urlencode(signed).encode(), body)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    folder: Path = tmp_path_factory.mktemp("fuzz")
    open_engine(sqlite_url(folder / "empty.db")).dispose()
    engine = connect(sqlite_url(Path(shutil.copy(folder / "empty.db", folder / "ledger.db"))))
    made = Address(engine)
    yield made
    made.loop.run_until_complete(made.loop.shutdown_default_executor())
    made.loop.close()
    engine.dispose()


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=80)
    | st.sampled_from(["i", "1", "FREEZE", "20270101000000", "9" * 17, "x" * 65, "\x00", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def mutated(calls: Sequence[Mapping[str, Any]], values: st.SearchStrategy[Any]) -> Any:
    """Calls with some fields changed, left out, or added."""

    def change(call: Mapping[str, Any]) -> Any:
        names = st.sampled_from([*call, "testFlag", "productId", "expireTime", "extra"])
        changes = st.dictionaries(names, values, max_size=3)
        gone = st.sets(st.sampled_from(sorted(call)), max_size=1)
        return st.tuples(changes, gone).map(
            lambda both: {k: v for k, v in {**call, **both[0]}.items() if k not in both[1]}
        )

    return st.sampled_from(calls).flatmap(change)


@COMMON
@given(st.sampled_from(["GET", "POST"]), st.binary(max_size=300), st.binary(max_size=300))
def test_bytes_of_strangers(address: Address, method: str, query: bytes, body: bytes) -> None:
    """Any bytes in query and body: refused, and nothing written."""
    address.writes.clear()
    assert address.gets(method, query, body) in ("000001", "000002")
    assert address.writes == []


@COMMON
@given(mutated(V2, VALUES), st.data())
def test_bodies_of_strangers(address: Address, body: dict[str, Any], data: st.DataObject) -> None:
    """A real call with any signature that is not the right one: refused, and nothing written."""
    now = str(address.market.clock.now_ms())
    words = st.sampled_from([now, "", "0" * 64, "n", now[:10], "-1", "1e3", "é"])
    names = ("signature", "timestamp", "nonce")
    query = urlencode({name: data.draw(words) for name in names}).encode()
    address.writes.clear()
    assert address.gets("POST", query, json.dumps(body).encode()) in ("000001", "000002")
    assert address.writes == []


@COMMON
@given(mutated(LEAST, st.text(max_size=40)), st.text(max_size=50))
def test_queries_of_strangers(address: Address, call: dict[str, str], given_token: str) -> None:
    """The same for V1.0."""
    whole = {**call, "timeStamp": stamp(address.market.clock.now_ms()), "authToken": given_token}
    query = urlencode(whole, errors="surrogatepass").encode()
    address.writes.clear()
    assert address.gets("GET", query) in ("000001", "000002")
    assert address.writes == []


@COMMON
@given(mutated(V2, VALUES) | VALUES)
def test_signed_bodies(address: Address, body: object) -> None:
    """Whatever the marketplace itself may send is judged; nothing breaks in here."""
    raw = json.dumps(body, separators=(",", ":")).encode()
    address.market.clock.advance(ms=1)
    code = address.posts(raw)
    is_upgrade = isinstance(body, dict) and body.get("activity") == "upgradeInstance"
    assert code != "000005" or is_upgrade  # whose order nobody knows: try again


@COMMON
@given(mutated(LEAST, st.text(st.characters(exclude_categories=["Cs"]), max_size=40)))
def test_signed_queries(address: Address, call: dict[str, str]) -> None:
    """The same for V1.0."""
    address.market.clock.advance(ms=1)
    whole = {**call, "timeStamp": stamp(address.market.clock.now_ms())}
    whole.pop("authToken", None)
    whole["authToken"] = token(whole)
    code = address.gets("GET", urlencode(whole).encode())
    assert code != "000005" or call.get("activity") == "getLicense"  # of what is no licence here


@COMMON
@given(st.binary(max_size=200))
def test_signed_bytes(address: Address, raw: bytes) -> None:
    """A good signature over anything at all."""
    assert address.posts(raw) == "000002"
