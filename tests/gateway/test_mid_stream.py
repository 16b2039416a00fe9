"""A stream ends in the middle when its package is used up."""

import json
import time
from typing import Any

import pytest

from metering.usage import Grade, Outcome
from tests.gateway.lender import FakeBank
from tests.gateway.test_limiting import ACCOUNT, JSON, limited, pack
from tests.servers import Received

pytestmark = pytest.mark.usefixtures("shell")

ASKED = (
    b'{"model": "m", "max_tokens": 5, "stream": true, "stream_options": {"include_usage": true}}'
)


def event(tokens: int) -> bytes:
    """A chunk of a chat completion that says what was used so far."""
    used = {"prompt_tokens": 0, "completion_tokens": tokens}
    return b"data: %b\n\n" % json.dumps({"choices": [], "usage": used}).encode()


def streams(request: Received) -> None:
    """Says 10 tokens more with each event, for ever."""
    request.open_stream()
    for number in range(1, 1000):
        if request.closed:
            return
        request.chunk(event(10 * number))
        time.sleep(0.005)
    request.chunk(b"")


def stopped(path: str, package: Any, left: int = 300) -> tuple[list[bytes], Any]:
    """The events of a stream whose package holds so much, and the record."""
    bank = FakeBank(left={ACCOUNT: left})
    with limited(bank, package=package, handler=streams) as (running, limits):
        reply, body = running.ask("POST", path, ASKED, JSON)
        assert reply.status == 200
        record = running.record()
        (purse,) = limits.desk.active
        used = record.quantities["tokens_total"].value
        assert (purse.used, purse.reserved) == (used, 0)  # type: ignore[union-attr]
    return body.split(b"\n\n"), record


def test_the_last_event_is_an_error() -> None:
    """As OpenAI writes it; what was used until then is recorded, and nothing else."""
    events, record = stopped("/v1/chat/completions", pack(stop_mid_stream=True))
    assert events[-1] == b""
    error = json.loads(events[-2].removeprefix(b"data: "))["error"]
    assert error["code"] == "package_used_up"
    assert error["request_id"] == record.request_id
    last = json.loads(events[-3].removeprefix(b"data: "))
    assert record.outcome is Outcome.STOPPED
    assert record.quantities["tokens_total"].value == last["usage"]["completion_tokens"]
    assert 300 < record.quantities["tokens_total"].value < 2000


def test_anthropic_has_words_of_its_own_for_it() -> None:
    """`event: error`."""
    events, _ = stopped("/v1/messages", pack(stop_mid_stream=True))
    name, _, data = events[-2].partition(b"\n")
    assert name == b"event: error"
    said = json.loads(data.removeprefix(b"data: "))
    assert (said["type"], said["error"]["code"]) == ("error", "package_used_up")


def test_without_the_setting_a_stream_goes_on() -> None:
    """It is over when the upstream says so."""

    def short(request: Received) -> None:
        request.open_stream()
        for number in range(1, 80):
            request.chunk(event(10 * number))
        request.chunk(b"")

    bank = FakeBank(left={ACCOUNT: 300})
    with limited(bank, package=pack(), handler=short) as (running, _):
        running.ask("POST", "/v1/chat/completions", ASKED, JSON)
        record = running.record()
    assert record.outcome is Outcome.COMPLETE
    assert record.quantities["tokens_total"] == (790, Grade.EXACT)
