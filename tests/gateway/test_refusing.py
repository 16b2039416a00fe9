"""A listener that refuses every call."""

from itertools import count

import httpx
import pytest

from gateway.errors import NotCounted
from gateway.refusing import build_refusing
from tests.fakes import FakeClock

pytestmark = pytest.mark.anyio


async def test_every_call_is_refused_and_may_be_repeated() -> None:
    """Whatever it asks for: 503, when to try again, and an id of its own."""
    ids = count(1)
    app = build_refusing(NotCounted, lambda: f"r-{next(ids)}", FakeClock())
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        replies = [await http.get("/"), await http.post("/v1/chat/completions", json={})]
    assert [reply.status_code for reply in replies] == [503, 503]
    assert [reply.headers["x-request-id"] for reply in replies] == ["r-1", "r-2"]
    assert all("retry-after" in reply.headers and "date" in reply.headers for reply in replies)
    assert replies[0].json()["error"]["code"] == "metering_unavailable"
