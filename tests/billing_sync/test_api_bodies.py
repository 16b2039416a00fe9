"""Bodies of the operator's API, whatever they are."""

from typing import Any

import msgspec
import pytest
from starlette.requests import Request
from starlette.types import Message

from billing_sync.api_bodies import body_of
from billing_sync.errors import BadQuestion

pytestmark = pytest.mark.anyio


class Said(msgspec.Struct, forbid_unknown_fields=True):
    """Anything may stand in it."""

    what: Any = None


def request(body: bytes) -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)


async def test_a_body_is_read() -> None:
    """As large as it may be; an empty one as what stands for it."""
    assert (await body_of(request(b'{"what":7}'), Said, 10)).what == 7
    assert (await body_of(request(b""), Said, 10, empty=b"{}")).what is None


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"\xff", b'{"who":7}', b'{"what":"\xff"}', b" " * 20_001,
     b'{"what":' + b"[" * 10_000],
    ids=range(8),
)  # fmt: skip
async def test_a_body_that_is_none(body: bytes) -> None:
    """What is wrong is said, also of one that is nested without end."""
    with pytest.raises(BadQuestion, match="the body"):
        await body_of(request(body), Said, 20_000)
