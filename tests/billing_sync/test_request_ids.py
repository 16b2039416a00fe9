import pytest
from starlette.types import Receive, Scope, Send
from structlog.contextvars import get_contextvars

from billing_sync.request_ids import NamedRequests

pytestmark = pytest.mark.anyio


async def test_what_is_logged_for_a_request_names_it() -> None:
    """Each has an id of its own while it is served, and nothing else has one."""
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(get_contextvars().get("request_id"))

    async def receive() -> dict[str, object]:
        return {}

    async def send(message: object) -> None: ...

    served = NamedRequests(app, iter(["a", "b"]).__next__)
    for kind in ("lifespan", "http", "http"):
        await served({"type": kind}, receive, send)
    seen.append(get_contextvars().get("request_id"))
    assert seen == [None, "a", "b", None]
