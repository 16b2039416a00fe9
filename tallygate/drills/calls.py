"""One call of a drill: what it asks, how it is made, and what its customer keeps of it.

Nothing is taken from the gateway's word but the request id: tokens are the words that were sent and
the words that came back.
"""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any, Final

import anyio
import httpx

from tallygate.drills.books import Books, Seen

_WORD: Final = b"tick"  # each token the stub upstream answers is one of these
_WORDS: Final = ("tell", "me", "how", "much", "all", "of", "this", "will", "cost", "me", "please")
_LINES_UNTIL_LEAVING: Final = 6


class Manner(StrEnum):
    """How a customer calls."""

    JSON = "json"
    STREAM = "stream"
    STREAM_USAGE = "stream_usage"  # asks for the usage at the end of the stream
    SLOW_JSON = "slow_json"
    SLOW_STREAM = "slow_stream"
    LEAVES_STREAM = "leaves_stream"  # hangs up in mid-stream
    LEAVES_EARLY = "leaves_early"  # hangs up before the reply


_STREAMS: Final = (
    Manner.STREAM,
    Manner.STREAM_USAGE,
    Manner.SLOW_STREAM,
    Manner.LEAVES_STREAM,
)
_SLOW: Final = (Manner.SLOW_JSON, Manner.SLOW_STREAM, Manner.LEAVES_STREAM, Manner.LEAVES_EARLY)


@dataclass(frozen=True, slots=True)
class Caller:
    """A customer of the throw-away installation; `path` is one he may call."""

    customer_id: str
    key: str = field(repr=False)
    path: str
    anthropic: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One call, decided."""

    caller: Caller
    manner: Manner
    words: int
    tokens: int
    delay_ms: int
    patience_s: float

    @property
    def body(self) -> dict[str, Any]:
        """The request's JSON."""
        body: dict[str, Any] = {
            "model": "drill",
            "messages": [{"role": "user", "content": " ".join(_WORDS[: self.words])}],
            "max_tokens": self.tokens,
        }
        if self.manner in _STREAMS:
            body["stream"] = True
        if self.manner is Manner.STREAM_USAGE and not self.caller.anthropic:
            body["stream_options"] = {"include_usage": True}
        return body

    @property
    def headers(self) -> dict[str, str]:
        """The customer's key, and how slowly the stub shall answer."""
        slowly = {"X-Stub-Delay-Ms": str(self.delay_ms)} if self.delay_ms else {}
        return {"Authorization": f"Bearer {self.caller.key}", **slowly}


def decide(caller: Caller, dice: Random) -> Call:
    """A call at random."""
    manner = dice.choice(list(Manner))
    slow = manner in _SLOW
    return Call(
        caller=caller,
        manner=manner,
        words=dice.randint(1, len(_WORDS)),
        tokens=dice.randint(10, 40) if slow else dice.randint(1, 24),
        delay_ms=dice.randint(5, 25) if slow else 0,
        patience_s=dice.uniform(0.005, 0.1),
    )


async def make(http: httpx.AsyncClient, url: str, call: Call, books: Books) -> None:
    """Make the call and keep what came of it. No failure of the other side is raised."""
    if call.manner is Manner.LEAVES_EARLY:
        with anyio.move_on_after(call.patience_s) as scope:
            await _make(http, url, call, books)
        books.left += scope.cancelled_caught
    else:
        await _make(http, url, call, books)


async def _make(http: httpx.AsyncClient, url: str, call: Call, books: Books) -> None:
    answered = False
    try:
        async with http.stream(
            "POST", url + call.caller.path, json=call.body, headers=call.headers
        ) as reply:
            answered = reply.status_code == 200
            if answered:
                await _read(reply, call, books)
            else:
                books.was_refused(reply.status_code, reply.headers)
                await reply.aread()
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
        books.unreachable += 1
    except AttributeError:  # anyio on uvloop: the other side closed while it was connecting
        books.unreachable += 1
    except httpx.HTTPError:
        books.torn += answered
        books.cut += not answered


async def _read(reply: httpx.Response, call: Call, books: Books) -> None:
    came = bytearray()
    pieces = 0
    async for piece in reply.aiter_raw():
        came += piece
        pieces += 1
        if call.manner is Manner.LEAVES_STREAM and pieces >= _LINES_UNTIL_LEAVING:
            books.left += 1
            return
    if _whole(bytes(came), call):
        seen = Seen(call.caller.customer_id, call.words, came.count(_WORD))
        books.saw(reply.headers, seen)
    else:
        books.torn += 1


def _whole(body: bytes, call: Call) -> bool:
    """Whether a reply that ended well also says that it is whole."""
    if call.manner in _STREAMS:
        return b"message_stop" in body if call.caller.anthropic else body.endswith(b"[DONE]\n\n")
    try:
        return isinstance(json.loads(body), dict)
    except ValueError:
        return False
