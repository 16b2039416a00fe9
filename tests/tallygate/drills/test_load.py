"""The customers of a drill: what they ask, what they keep, and what they survive."""

from collections.abc import Callable, Iterator
from itertools import count
from random import Random

import anyio
import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from tallygate.demo.upstream import StubUpstream
from tallygate.drills.books import Books
from tallygate.drills.calls import Call, Caller, Manner, decide, make
from tallygate.drills.load import Load
from tests.servers import Received, upstream
from tests.tallygate.serving import serving

ADA = Caller("ada", "k", "/v1/chat/completions")
BOB = Caller("bob", "k", "/v1/messages", anthropic=True)
WHOLE = (Manner.JSON, Manner.STREAM, Manner.STREAM_USAGE, Manner.SLOW_JSON, Manner.SLOW_STREAM)

pytestmark = pytest.mark.anyio


class Numbered:
    """Gives each reply of the stub an id, as a gateway does."""

    def __init__(self) -> None:
        self._stub = StubUpstream()
        self._ids = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def numbered(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-request-id", b"r-%d" % next(self._ids)))
            await send(message)

        await self._stub(scope, receive, numbered)


@pytest.fixture
def url() -> Iterator[str]:
    """A stub that answers like an LLM API."""
    with serving(Numbered()) as base_url:
        yield base_url


def call(manner: Manner, caller: Caller = ADA, delay_ms: int = 0) -> Call:
    return Call(caller, manner, words=3, tokens=9, delay_ms=delay_ms, patience_s=0.02)


async def made(url: str, *calls: Call) -> Books:
    books = Books()
    async with httpx.AsyncClient(trust_env=False) as http:
        for each in calls:
            await make(http, url, each, books)
    return books


@pytest.mark.parametrize("caller", [ADA, BOB])
@pytest.mark.parametrize("manner", WHOLE)
async def test_a_whole_reply_is_kept_with_its_words(
    url: str, manner: Manner, caller: Caller
) -> None:
    """Those that were sent and those that came back, whatever the reply says of them."""
    books = await made(url, call(manner, caller))
    (seen,) = books.complete.values()
    assert seen == (caller.customer_id, 3, 9)
    assert (books.cut, books.torn, books.left, books.unreachable) == (0, 0, 0, 0)


@pytest.mark.parametrize("manner", [Manner.LEAVES_STREAM, Manner.LEAVES_EARLY])
async def test_who_leaves_keeps_nothing(url: str, manner: Manner) -> None:
    """In mid-stream or before the reply."""
    books = await made(url, call(manner, delay_ms=30))
    assert (books.left, books.complete) == (1, {})


REPLIES: dict[str, Callable[[Received], None]] = {
    "a refusal": lambda request: request.reply(
        b"{}", b"Retry-After: 5", b"X-Request-Id: r-1", status=b"503 Busy"
    ),
    "a refusal without a hint": lambda request: request.reply(b"{}", status=b"503 Busy"),
    "no reply": lambda request: request.hang_up(),
}


@pytest.mark.parametrize("name", REPLIES)
async def test_what_goes_wrong_is_counted(name: str) -> None:
    """A refusal by its status and id, a connection that breaks by when it did."""
    with upstream(REPLIES[name]) as server:
        books = await made(server.url, call(Manner.JSON))
    assert books.complete == {}
    hint = name == "a refusal"
    assert books.cut == (name == "no reply")
    assert books.refused[503] == (name != "no reply")
    assert books.refused_ids == ({"r-1"} if hint else set())
    assert books.without_retry_after == (name == "a refusal without a hint")


def torn(request: Received) -> None:
    request.open_stream()
    request.chunk(b'data: {"choices": []}\n\n')
    request.hang_up()


def not_ended(request: Received) -> None:
    request.open_stream()
    request.chunk(b'data: {"choices": []}\n\n')
    request.chunk(b"")


@pytest.mark.parametrize("handler", [torn, not_ended])
async def test_a_torso_is_not_taken_for_the_whole(handler: Callable[[Received], None]) -> None:
    """A stream that breaks off, and one that ends without its last event."""
    with upstream(handler) as server:
        books = await made(server.url, call(Manner.STREAM))
    assert (books.torn, books.complete) == (1, {})


async def test_nobody_listens() -> None:
    """That is counted, too."""
    books = await made("http://127.0.0.1:1", call(Manner.JSON))
    assert books.unreachable == 1


async def test_two_replies_with_one_id_are_noticed() -> None:
    """Ids are what a drill is judged by; so is a reply without any."""

    def same(request: Received) -> None:
        request.reply(b'{"x": 1}', b"X-Request-Id: r-1")

    with upstream(same) as server:
        books = await made(server.url, call(Manner.JSON), call(Manner.JSON))
    assert books.repeated_ids == {"r-1"}
    with upstream(lambda request: request.reply(b'{"x": 1}')) as server:
        books = await made(server.url, call(Manner.JSON))
    assert (books.without_id, books.complete) == (1, {})


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not condition():  # noqa: ASYNC110  (books have no events)
            await anyio.sleep(0.01)


async def test_the_load_goes_on_whatever_becomes_of_its_calls(url: str) -> None:
    """Where nobody listens at first, and where there is no address at all."""
    urls: list[str | None] = [None, "http://127.0.0.1:1", url]
    load = Load(lambda: urls[0], [ADA, BOB], 100, Random(1))
    async with load.running():
        await until(lambda: load.books.unreachable >= 5)
        urls.pop(0)
        await until(lambda: load.books.unreachable >= 10)
        urls.pop(0)
        await until(lambda: bool(load.books.complete))
    books = load.books
    ended = len(books.complete) + books.left + books.unreachable + books.cut + books.torn
    assert ended == books.begun


def test_a_seed_decides_the_calls() -> None:
    """The same dice, the same calls; in time every manner comes up."""
    first, again = ([decide(ADA, dice) for _ in range(200)] for dice in (Random(7), Random(7)))
    assert first == again
    assert {each.manner for each in first} == set(Manner)
