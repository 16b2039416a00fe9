"""A JSON reply is held until it is whole, and then says its usage as KooGallery wants it."""

import json

import pytest

from gateway.json_bodies import MAX_JSON
from gateway.normal_json import NormalJson
from gateway.readings import Readings
from tests.gateway.replies import BODIES


def run(chunks: list[bytes]) -> tuple[bytes, Readings]:
    """What the client gets, and what was read."""
    readings = Readings("auto", {})
    body = NormalJson(readings)
    out = b"".join([body.feed(chunk) for chunk in chunks])
    return out + body.finish(), readings


@pytest.mark.parametrize(("document", "expected"), BODIES.values(), ids=BODIES.keys())
def test_every_dialect_says_it_alike(document: object, expected: dict[str, int]) -> None:
    """In one piece or in many; what else the reply says stays."""
    sent = json.dumps(document).encode()
    out, readings = run([sent])
    assert run([sent[i : i + 1] for i in range(len(sent))])[0] == out
    read = {meter: q.value for meter, q in readings.quantities(complete=True).items()}
    assert read == expected
    if isinstance(document, list):
        assert out == sent
        return
    changed = json.loads(out)
    usage = changed.pop("usage")
    assert usage["prompt_tokens"] == expected["tokens_in"]
    assert usage["completion_tokens"] == expected.get("tokens_out", 0)
    assert usage["total_tokens"] == expected["tokens_total"]
    assert isinstance(document, dict)
    assert usage | document.get("usage", {}) == usage
    assert changed == {name: value for name, value in document.items() if name != "usage"}


@pytest.mark.parametrize("body", [b"", b"{}", b'{"usage":{}}', b"<html>", b'{"usage":{"prompt_t'])
def test_without_usage_nothing_is_said(body: bytes) -> None:
    """It goes on as it came."""
    assert run([body[:4], body[4:]])[0] == body


def test_a_byte_order_mark_goes_where_something_changes() -> None:
    """JSON has none (RFC 8259 §8.1)."""
    assert run([b'\xef\xbb\xbf{"a":1}'])[0] == b'\xef\xbb\xbf{"a":1}'
    assert run([b'\xef\xbb\xbf{"eval_count":1,"prompt_eval_count":2}'])[0].startswith(b"{")


def test_one_too_large_passes_unread() -> None:
    """What was held goes on at once, then every piece as it comes."""
    readings = Readings("auto", {})
    body = NormalJson(readings)
    head = b'{"usage":{"prompt_tokens":5},"x":"'
    assert body.feed(head) == b""
    filler = b"y" * MAX_JSON
    assert body.feed(filler) == head + filler
    assert body.feed(b'"}') == b'"}'
    assert body.finish() == b""
    assert readings.quantities(complete=True) == {}
