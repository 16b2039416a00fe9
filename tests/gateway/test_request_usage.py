"""Texts and numbers of a request's body are counted, however it comes."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.request_usage import BUILT_IN, MAX_BODY, Asked, RequestUsage
from metering.usage import Quantity


def counted(body: bytes, encoding: bytes = b"", step: int = 0, **meters: Asked) -> dict[str, int]:
    """What is counted in a body that comes in pieces of `step`."""
    usage = RequestUsage(meters or BUILT_IN, encoding)
    for start in range(0, len(body), step or max(len(body), 1)):
        usage.feed(body[start : start + (step or len(body))])
    read = usage.quantities()
    assert all(quantity == Quantity(quantity.value) for quantity in read.values())
    return {meter: quantity.value for meter, quantity in read.items()}


def document(given_input: object) -> bytes:
    """A request with this `input`."""
    return json.dumps({"model": "m", "input": given_input}, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("given_input", "characters", "size"),
    [("", 0, 0), ("hello", 5, 5), ("你好,🙂", 4, 11), (["你好", "ab"], 4, 8), ('a\n"b"', 5, 5)],
)
def test_koogallerys_byte_and_character_items(
    given_input: object, characters: int, size: int
) -> None:
    """The text of `input` as it is meant, not as it is written; of a list of texts, all of them."""
    assert counted(document(given_input)) == {"characters": characters, "input_bytes": size}
    escaped = json.dumps({"input": given_input}).encode()
    assert counted(escaped) == {"characters": characters, "input_bytes": size}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"input": {"text": "hello"}}',
        b'{"input": null}',
        b'{"input": 7}',
        b'{"input": ["a", 1]}',
        b'{"input": []}x',
        b'{"input": "a',
        b'{"input": "\\ud800"}',
        b'{"input": "\xff"}',
        b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:30]),
)
def test_what_is_no_text_is_not_counted(body: bytes) -> None:
    """It is missing then, where it is sold."""
    assert counted(body) == {}


def test_a_path_of_ones_own() -> None:
    """Through objects and lists of objects; numbers too, of larger units."""
    body = json.dumps(
        {
            "input": {"text": "你好"},
            "messages": [{"content": "ab"}, {"content": ["c", "d"]}],
            "seconds": 2.5,
            "n": 4,
        }
    ).encode()
    assert counted(
        body,
        text=Asked(("input", "text"), "characters"),
        said=Asked(("messages", "content"), "bytes"),
        video=Asked(("seconds",), "value", 1000),
        images=Asked(("n",), "value"),
        nothing=Asked(("messages", "missing"), "bytes"),
        deeper=Asked(("n", "m"), "bytes"),
    ) == {"text": 2, "said": 4, "video": 2500, "images": 4}


@given(st.text(max_size=40), st.integers(1, 9), st.sampled_from([b"", b"gzip"]))
def test_any_text_in_any_pieces(text: str, step: int, encoding: bytes) -> None:
    """Packed or not."""
    body = document(text)
    sent = gzip.compress(body) if encoding else body
    wanted = {"characters": len(text), "input_bytes": len(text.encode())}
    assert counted(sent, encoding, step) == wanted


@given(st.binary(max_size=60), st.sampled_from([b"", b"gzip", b"br", b"zstd", b"compress"]))
def test_any_bytes_are_taken(body: bytes, encoding: bytes) -> None:
    """Nothing a client sends raises."""
    assert counted(body, encoding, 7) == counted(body, encoding)


def test_a_body_too_large_is_not_read() -> None:
    """Nor is one that unpacks to too much."""
    body = document("x" * MAX_BODY)
    assert counted(body) == {}
    assert counted(gzip.compress(body), b"gzip") == {}
    fits = document("x" * (MAX_BODY - len(document(""))))
    assert counted(fits)["characters"] == MAX_BODY - len(document(""))
