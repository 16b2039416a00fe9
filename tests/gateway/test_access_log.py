import json
import random
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access_log import (
    MAX_ERRORS_S,
    MAX_WAITING,
    NEVER,
    NOTHING_ASKED,
    OFF,
    AccessLog,
    Line,
    gap,
    worst,
)
from gateway.errors import Unauthenticated
from gateway.onlooker_settings import AccessLogSettings
from gateway.onlookers import Onlookers
from metering.usage import Grade, Quantity
from tests.fakes import FakeClock, usage_record
from tests.gateway.running import Running, gateway
from tests.gateway.talking import dial, echo, talker
from tests.servers import Upstream, upstream

TRACE = "0af7651916cd43dd8448eb211c80319c"
REPLY = b'{"usage": {"prompt_tokens": 3, "completion_tokens": 4}}'


def access_log(sample: float = 0.0, *, errors: bool = False) -> AccessLog:
    settings = AccessLogSettings(sample=sample, errors=errors)
    return AccessLog(settings, random.Random(7).random, FakeClock().now_ms)


def taken(log: AccessLog) -> list[dict[str, Any]]:
    """What waits to be written, as JSON would have it."""
    lines: list[Line] = []
    anyio.run(log.flush, lines.extend)
    found: list[dict[str, Any]] = json.loads(json.dumps([line.fields() for line in lines]))
    return found


@given(st.floats(0, 1, exclude_min=True), st.floats(0, 1, exclude_max=True))
def test_the_next_one_is_always_ahead(share: float, drawn: float) -> None:
    """However small the share."""
    assert 1 <= gap(share, drawn) <= NEVER + 1
    assert gap(1.0, drawn) == 1


def test_a_share_is_sampled() -> None:
    """About as many as were asked for, with no pattern that a caller could fit into."""
    log = access_log(0.1)
    record = usage_record(requests=1)
    chosen = [n for n in range(1, 20_001) if log.wants(record, n) and not log.add(record, n, NOTHING_ASKED)]  # type: ignore[func-returns-value]  # fmt: skip
    assert 1700 < len(chosen) < 2300
    assert len({b - a for a, b in pairwise(chosen)}) > 10


def test_off_means_never() -> None:
    """The number it is compared with is one that no record has."""
    assert (OFF.due, OFF.errors, OFF.on) == (NEVER, False, False)


def test_what_waits_is_bounded() -> None:
    """Lines beyond that are counted, and calls go on."""
    log = access_log(1.0)
    for number in range(1, MAX_WAITING + 11):
        log.add(usage_record(), number, NOTHING_ASKED)
    assert log.dropped == 10
    assert len(taken(log)) == MAX_WAITING
    assert log.dropped == 0


def test_calls_that_went_wrong_are_bounded() -> None:
    """Who floods us with bad calls does not fill the disk."""
    log = access_log(errors=True)
    for _ in range(MAX_ERRORS_S + 5):
        log.refused(Unauthenticated(), "r", "-", None, NOTHING_ASKED)
    assert len(taken(log)) == MAX_ERRORS_S


def test_a_log_that_cannot_be_written_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It is said."""

    def broken(_: Sequence[Line]) -> None:
        raise OSError("no space left")

    log = access_log(1.0)
    log.add(usage_record(), 1, NOTHING_ASKED)
    anyio.run(log.flush, broken)
    assert "the access log cannot be written" in caplog.text


def test_the_worst_grade_is_said() -> None:
    """The one that says how far all of it can be trusted."""
    assert worst({}) == ""
    quantities = {"a": Quantity(1), "b": Quantity(0, Grade.MISSING), "c": Quantity(1, Grade.PARTIAL)}  # fmt: skip
    assert worst(quantities) == "missing"


@pytest.fixture
def up() -> Iterator[Upstream]:
    """Answers with usage; with an error where one is asked for; cuts where that is asked for."""

    def handle(request: Any) -> None:
        if b"fails" in request.target:
            request.reply(b"{}", status=b"500 Oops")
        elif b"cut" in request.target:
            request.hang_up()
        else:
            request.reply(REPLY, b"Content-Type: application/json")

    with upstream(handle) as running:
        yield running


@pytest.fixture(params=["linerate", "linerate that waits", "portable"])
def seen(request: pytest.FixtureRequest, up: Upstream) -> Iterator[tuple[Running, AccessLog]]:
    """A gateway that notes every call, in each of its ways to answer."""
    log = access_log(1.0, errors=True)
    settings = {"shell": request.param.partition(" ")[0]}
    with gateway(up.url, settings=settings, onlookers=Onlookers(log)) as running:
        running.kept.waits = request.param != "linerate"
        yield running, log


def test_what_stands_in_a_line(seen: tuple[Running, AccessLog]) -> None:
    """Who, what, how long, how much; never the query, a key or a body."""
    gw, log = seen
    headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-00"}
    body = b'{"messages": "s3cret"}'
    for _ in range(3):  # the third is let in by a head that is known
        gw.ask("POST", "/v1/chat%20it?key=s3cret", body, headers)
    gw.idle()
    lines = taken(log)
    assert "s3cret" not in str(lines)
    assert "sk-test" not in str(lines)
    for line, record in zip(lines, gw.kept.records, strict=True):
        assert line.pop("request_id") == record.request_id
        assert 0 <= line.pop("upstream_ms") <= line.pop("duration_ms") < 10_000
        assert line == {
            "customer_id": "cust-1",
            "route": "chat",
            "method": "POST",
            "path": "/v1/chat it",
            "status": 200,
            "outcome": "complete",
            "bytes_in": len(body),
            "bytes_out": len(REPLY),
            "grade": "exact",
            "quantities": {m: q.value for m, q in record.quantities.items()},
            "trace_id": TRACE,
        }


def test_calls_that_went_wrong(up: Upstream) -> None:
    """Each has one line, in both shells alike: the upstream's errors, and ours with their codes."""
    said = {}
    for shell in ("linerate", "portable"):
        log = access_log(errors=True)
        with gateway(up.url, settings={"shell": shell}, onlookers=Onlookers(log)) as gw:
            gw.ask("GET", "/v1/fine")
            gw.ask("GET", "/v1/fails?x=1")
            gw.ask("GET", "/v1/cut")
            gw.ask("GET", "/v1/x?x=1", key="wrong")
            gw.ask("GET", "/nowhere?x=1")
            gw.idle()
        kept = ("method", "path", "route", "status", "code", "outcome", "customer_id")
        said[shell] = [{name: line.get(name) for name in kept} for line in taken(log)]
    assert said["linerate"] == said["portable"]
    assert [(line["path"], line["status"], line["code"]) for line in said["linerate"]] == [
        ("/v1/fails", 500, None),
        ("/v1/cut", 502, "upstream_protocol"),
        ("/v1/x", 401, "invalid_api_key"),
        ("/nowhere", 404, "unknown_route"),
    ]
    assert [line["customer_id"] for line in said["linerate"]] == ["cust-1", "cust-1", None, None]


def test_a_websocket_has_a_line() -> None:
    """At the end of its session."""
    log = access_log(1.0)
    with talker(echo) as up, gateway(up.url, onlookers=Onlookers(log)) as gw:
        with dial(gw) as client:
            client.send("hello")
            client.recv(timeout=10)
        gw.record()
    (line,) = taken(log)
    assert (line["status"], line["bytes_in"], line["bytes_out"]) == (101, 5, 5)
    assert line["method"] == "GET"
