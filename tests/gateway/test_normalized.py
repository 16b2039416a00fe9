"""Usage as KooGallery wants it, and texts that are counted, through both shells over real sockets."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from metering.catalogue import Product
from metering.usage import Grade, Quantity
from tests.gateway.replies import CHAT_STREAM, CHAT_USAGE, delta, sse
from tests.gateway.running import TOKENS, gateway
from tests.servers import Received, upstream

OLLAMA = b'{"response":"Hi","done":true,"prompt_eval_count":3,"eval_count":4}'
SPOKEN = [
    Product(product_id="C", routes=["chat"], meter="characters"),
    Product(product_id="B", routes=["chat"], meter="input_bytes"),
]

pytestmark = pytest.mark.usefixtures("shell")


def json_reply(request: Received) -> None:
    """An API that says its usage in its own way."""
    request.json(OLLAMA)


def stream_reply(request: Received) -> None:
    """A chat completion that says its usage only when it is asked to."""
    asked = json.loads(request.body).get("stream_options", {}).get("include_usage")
    usage = [{"choices": [], "usage": CHAT_USAGE}] if asked else []
    request.open_stream()
    for event in (delta("Hel"), delta("lo", "stop"), *usage, "[DONE]"):
        request.chunk(sse(event))
    request.chunk(b"")


def test_a_json_reply_says_it_at_the_top() -> None:
    """In chunks, since nobody knows its length before it is whole; the upstream packs nothing."""
    wanted = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    with upstream(json_reply) as up, gateway(up.url, usage={"normalize": True}) as gw:
        reply, body = gw.ask(headers={"Accept-Encoding": "gzip, br"})
        record = gw.record()
        (seen,) = up.requests
    assert json.loads(body) == json.loads(OLLAMA) | {"usage": wanted}
    assert seen.header(b"accept-encoding") == b"identity"
    assert reply.headers["Content-Length"] is None
    assert record.quantities["tokens_total"] == Quantity(7)
    assert record.quantities["bytes_out"] == Quantity(len(body))


def test_a_stream_says_it_before_its_end() -> None:
    """Asked for in the client's place, and not taken out again."""
    with upstream(stream_reply) as up, gateway(up.url, usage={"normalize": True}) as gw:
        _, body = gw.ask("POST", "/v1/chat/completions", b'{"stream":true}', {"Content-Type": "application/json"})  # fmt: skip
        assert gw.quantities()["tokens_total"] == 29
    assert body == CHAT_STREAM


def test_errors_stay_as_they_are() -> None:
    """They use nothing, so there is nothing to say."""

    def refuse(request: Received) -> None:
        request.reply(OLLAMA, b"Content-Type: application/json", status=b"500 Oh")

    with upstream(refuse) as up, gateway(up.url, usage={"normalize": True}) as gw:
        reply, body = gw.ask()
    assert (reply.status, body, reply.headers["Content-Length"]) == (500, OLLAMA, str(len(OLLAMA)))


def asks(given_input: Any) -> bytes:
    """A request with this `input`."""
    return json.dumps({"input": given_input}).encode()


def in_pieces(body: bytes) -> Iterator[bytes]:
    """The same, little by little."""
    for start in range(0, len(body), 5):
        yield body[start : start + 5]


@pytest.mark.parametrize("chunked", [False, True], ids=["sized", "chunked"])
def test_the_text_of_a_request_is_counted(chunked: bool) -> None:
    """Each time anew, whatever the reply says, where it is sold."""
    headers = {"Content-Type": "application/json"}
    if chunked:
        headers["Transfer-Encoding"] = "chunked"
    with upstream(json_reply) as up, gateway(up.url, products=[TOKENS, *SPOKEN]) as gw:
        for text, characters, size in (("你好", 2, 6), ("abc", 3, 3), (7, None, None)):
            gw.kept.records.clear()
            body = asks(text)
            gw.ask("POST", "/v1/x", in_pieces(body) if chunked else body, headers)
            counted = gw.record().quantities
            missing = Quantity(0, Grade.MISSING)
            assert counted["characters"] == (
                missing if characters is None else Quantity(characters)
            )
            assert counted["input_bytes"] == (missing if size is None else Quantity(size))
            assert counted["bytes_in"] == Quantity(len(body))
            assert counted["tokens_total"] == Quantity(7)
        assert [request.body for request in up.requests] == [asks("你好"), asks("abc"), asks(7)]


def test_a_text_is_counted_whatever_the_reply_is() -> None:
    """Speech comes back as sound, and an empty reply says nothing at all; an error uses nothing."""
    replies = [(b"200 OK", b"ID3"), (b"204 No Content", b""), (b"500 Oh", b"no")]
    script = iter(replies)

    def speak(request: Received) -> None:
        status, body = next(script)
        if status.startswith(b"204"):
            request.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            request.reply(body, b"Content-Type: audio/mpeg", status=status)

    with upstream(speak) as up, gateway(up.url, products=[TOKENS, *SPOKEN]) as gw:
        counted = []
        for _ in replies:
            gw.kept.records.clear()
            gw.ask("POST", "/v1/x", asks("abc"), {"Content-Type": "application/json"})
            counted.append(gw.record().quantities.get("characters"))
    assert counted == [Quantity(3), Quantity(3), None]
