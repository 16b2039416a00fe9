"""Load on one port: wrk as a flood, `pace.py` at a steady rate, and single calls to see that it works."""

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from loadtests.compare import wrk
from loadtests.compare.processes import DidNotStart, on_cores
from loadtests.compare.scenarios import EVENTS, PATH, Scenario, call_body

_READY_S: Final = 60.0
_LATE_S: Final = 60.0  # past the end of a run nobody is waited for longer


class Wrong(Exception):
    """A reply was not what the scenario asks for, or a load generator failed."""


def flood(
    scenario: Scenario, port: int, seconds: int, folder: Path, cores: Iterable[int]
) -> wrk.Flood:
    """A run of wrk. Raises Wrong."""
    path = folder / f"{scenario.name}.lua"
    path.write_text(wrk.script(scenario))
    url = f"http://127.0.0.1:{port}"
    argv = ["wrk", "-t1", f"-c{scenario.connections}", f"-d{seconds}s"]
    try:
        return wrk.parse(_run([*argv, "--timeout", "60s", "-s", str(path), url], seconds, cores))
    except wrk.Unreadable as problem:
        raise Wrong(str(problem)) from problem


def pace(
    scenario: Scenario, port: int, rate: float, seconds: int, folder: Path, cores: Iterable[int]
) -> dict[str, Any]:
    """A run of `pace.py`; what it says. Raises Wrong."""
    path = folder / "request.bin"
    path.write_bytes(request(scenario, port))
    script = str(Path(__file__).with_name("pace.py"))
    options = ["--port", str(port), "--rate", f"{rate:.3f}", "--seconds", str(seconds)]
    said: dict[str, Any] = json.loads(
        _run([sys.executable, "-I", script, *options, "--request", str(path)], seconds, cores)
    )
    return said


def request(scenario: Scenario, port: int) -> bytes:
    """The bytes of a call."""
    body = call_body(scenario)
    fields = {
        "Host": f"127.0.0.1:{port}",
        **wrk.headers(scenario),
        "Content-Length": str(len(body)),
    }
    lines = [f"POST {PATH} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def probe(scenario: Scenario, port: int) -> int:
    """Call until it answers, and look at the answer; its length in bytes. Raises Wrong, DidNotStart."""
    limit = time.monotonic() + _READY_S
    said = "nothing"
    while time.monotonic() < limit:
        with suppress(OSError, http.client.HTTPException):
            status, body = _call(scenario, port)
            if status == 200:
                _check(scenario, body)
                return len(body)
            said = f"{status} {body[:200]!r}"
        time.sleep(0.1)
    raise DidNotStart(f"port {port} answers {said}")


def _call(scenario: Scenario, port: int) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", PATH, call_body(scenario), wrk.headers(scenario))
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def _check(scenario: Scenario, body: bytes) -> None:
    if b'"usage"' not in body:
        raise Wrong(f"a reply without usage: {body[-200:]!r}")
    if scenario.answering == "sse" and body.count(b"data: {") < EVENTS:
        raise Wrong(f"a stream of {body.count(b'data: {')} events")


def _run(argv: list[str], seconds: int, cores: Iterable[int]) -> str:
    try:
        with on_cores(cores):
            done = subprocess.run(  # noqa: S603  (wrk, and our own script)
                argv, capture_output=True, text=True, timeout=seconds + _LATE_S, check=True
            )
    except subprocess.TimeoutExpired:
        raise Wrong(f"{argv[0]} did not end") from None
    except subprocess.CalledProcessError as failed:
        raise Wrong(f"{argv[0]}: {failed.stderr.strip()[-300:]}") from failed
    return done.stdout
