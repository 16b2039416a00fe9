import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.access_log import Line, asked_only
from metering.usage import Grade, Quantity
from tallygate.config import ConfigInvalid, parse
from tallygate.config_schema import LogSettings
from tallygate.onlooking import writer_of
from tests.installations import (
    ANY_PORT,
    KEY,
    Served,
    configuration,
    eventually,
    set_up_ledger,
    tallygate,
    valkey_on_tcp,
    write,
)
from tests.servers import upstream
from tests.tallygate.collecting_spans import attributes, collector

TRACE = "0af7651916cd43dd8448eb211c80319c"
LINE = Line(
    1_790_000_000_123,
    "r-1",
    "cust-1",
    "chat",
    200,
    "complete",
    "",
    asked_only("GET", b"/v1/a%0Ab%1b[31m%C2%9b?key=1", ()),
    {"requests": Quantity(1), "tokens_in": Quantity(0, Grade.MISSING)},
)


def test_a_line_looks_like_those_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON; a path cannot forge another one."""
    writer_of("gateway-1", LogSettings(format="json"))([LINE, LINE])
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first == second
    assert first.pop("pid") > 0
    assert list(first)[:4] == ["time", "level", "event", "logger"]
    assert first == {
        "time": "2026-09-21T14:13:20.123Z",
        "level": "info",
        "event": "call",
        "logger": "tallygate.access",
        "process": "gateway-1",
        "request_id": "r-1",
        "customer_id": "cust-1",
        "route": "chat",
        "method": "GET",
        "path": "/v1/a\nb\\x1b[31m\\x9b",
        "status": 200,
        "outcome": "complete",
        "bytes_in": 0,
        "bytes_out": 0,
        "grade": "missing",
        "quantities": {"requests": 1, "tokens_in": 0},
    }


def test_people_get_a_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    """One for each call, whatever stands in its path."""
    writer_of("gateway-1", LogSettings(format="pretty"))([LINE, LINE])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "call" in lines[0]
    assert "\x1b" not in lines[0]


@pytest.fixture
def fine() -> Iterator[str]:
    reply = b'{"usage": {"prompt_tokens": 3, "completion_tokens": 4}}'
    with upstream(lambda request: request.json(reply)) as running:
        yield running.url


def test_a_worker_tells_those_who_look_on(tmp_path: Path, fine: str) -> None:
    """Lines of calls between those of its log, spans to the collector; all are there at its end."""
    folder = tmp_path / "x"
    with valkey_on_tcp(tmp_path) as redis, collector() as collected:
        gateway = {"listen": ANY_PORT, "admin_listen": ANY_PORT, "access_log": {"sample": 1.0}}
        traces = {"endpoint": collected.url, "sample": 0.0}
        config = configuration(fine, redis=redis, gateway=gateway, tracing=traces)
        path = write(folder, config)
        set_up_ledger(path)
        with tallygate("gateway", "-c", str(path), folder=folder) as command:
            served = Served(folder, command, None)  # type: ignore[arg-type]
            _call(served.gateway, {})
            _call(served.gateway, {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
            eventually(lambda: '"call"' in command.stderr)
            assert command.end(signal.SIGTERM) == 0
        calls = [event for event in command.events() if event["logger"] == "tallygate.access"]
        (span,) = collected.spans
    assert [call.get("trace_id") for call in calls] == [None, TRACE]
    assert {call["process"] for call in calls} == {"gateway"}
    assert span.trace_id.hex() == TRACE
    assert attributes(span)["tallygate.request_id"] == calls[1]["request_id"]
    assert KEY not in command.stderr


def _call(url: str, headers: dict[str, str]) -> None:
    import httpx

    sent = {"Authorization": f"Bearer {KEY}", **headers}
    with httpx.Client(trust_env=False, timeout=30) as http:
        assert http.post(f"{url}/v1/x", json={}, headers=sent).status_code == 200


def problems(text: str, folder: Path) -> list[str]:
    """What is wrong with a configuration."""
    with pytest.raises(ConfigInvalid) as raised:
        parse(text, {}, base=folder)
    return list(raised.value.problems)


def test_traces_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said before anything starts, with what to do."""
    absent: Any = None
    monkeypatch.setitem(sys.modules, "opentelemetry", absent)
    for name in [each for each in sys.modules if each.startswith("opentelemetry.")]:
        monkeypatch.delitem(sys.modules, name)
    (said,) = problems("tracing: {endpoint: http://127.0.0.1:4318/v1/traces}", tmp_path)
    assert "pip install 'tallygate[otel]'" in said


def test_spans_that_go_nowhere(tmp_path: Path) -> None:
    """A share without an endpoint is a mistake."""
    (said,) = problems("tracing: {sample: 0.1}", tmp_path)
    assert said.startswith("tracing.endpoint")
