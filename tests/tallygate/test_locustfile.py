"""The load test's own bookkeeping, with locust as users start it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tallygate.demo.upstream import StubUpstream, Totals
from tests.tallygate.serving import serving

LOCUSTFILE = Path(__file__).parents[2] / "loadtests" / "locustfile.py"
KEYS = {"anna": "key-anna", "bob": "key-bob"}
TOKEN = "admin-token-of-the-test"

Distort = Callable[[dict[str, int]], dict[str, int]]


class FakeGateway:
    """One stub upstream per key, so that it knows each customer's usage; 401 for other keys."""

    def __init__(self, distort: Distort = dict) -> None:
        self.stubs = {customer: StubUpstream() for customer in KEYS}
        self.usage_api = Starlette(routes=[Route("/api/v1/usage", self._usage)])
        self._distort = distort

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        bearer = dict(scope["headers"])[b"authorization"].decode().removeprefix("Bearer ")
        stub = next((self.stubs[c] for c, key in KEYS.items() if key == bearer), None)
        await (stub or Response(status_code=401))(scope, receive, send)

    def totals(self) -> list[Totals]:
        return [stub.totals for stub in self.stubs.values()]

    async def _usage(self, request: Request) -> Response:
        if request.headers["authorization"] != f"Bearer {TOKEN}":
            return Response(status_code=401)
        used = vars(self.stubs[request.query_params["customer"]].totals)
        total = {meter: str(value) for meter, value in self._distort(dict(used)).items()}
        return JSONResponse({"data": [], "total": total})


@contextmanager
def locust(*more: str, gateway: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """A headless locust against `gateway`."""
    command = [
        sys.executable,
        "-m",
        "locust",
        "-f",
        str(LOCUSTFILE),
        "--headless",
        "--only-summary",
    ]
    with subprocess.Popen(
        [*command, "--host", gateway, "--users", "3", "--spawn-rate", "100", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environ},
    ) as process:
        yield process


KEYS_TEXT = ",".join(f"{customer}:{key}" for customer, key in KEYS.items())


def run(gateway: FakeGateway, *more: str, keys: str = KEYS_TEXT) -> tuple[int, str]:
    """Exit code and output of a short run against `gateway` and its usage API."""
    with (
        serving(gateway) as url,
        serving(gateway.usage_api) as admin,
        locust(
            *("--run-time", "1s", "--admin-url", admin, *more),
            gateway=url,
            TALLYGATE_API_KEYS=keys,
            TALLYGATE_ADMIN_TOKEN=TOKEN,
        ) as process,
    ):
        output, _ = process.communicate(timeout=60)
    return process.returncode, output


def lost_one(usage: dict[str, int]) -> dict[str, int]:
    """A gateway that loses one token once it has counted something."""
    return usage | {"tokens_out": max(0, usage["tokens_out"] - 1)}


def test_a_run_whose_counts_agree_ends_with_0() -> None:
    """Both customers, both kinds of call, every meter; what was used before does not matter."""
    gateway = FakeGateway()
    for earlier in gateway.totals():
        earlier.requests, earlier.tokens_in, earlier.tokens_out = 5, 50, 500
    code, output = run(gateway)
    assert code == 0, output
    for customer, stub in gateway.stubs.items():
        row = [
            customer,
            "requests",
            str(stub.totals.requests - 5),
            str(stub.totals.requests - 5),
            "0",
        ]
        assert row in [line.split() for line in output.splitlines()]
        assert stub.totals.requests > 5
    assert "chat SSE" in output
    assert "chat JSON" in output
    assert "key-anna" not in output


def test_a_run_whose_counts_differ_ends_with_1() -> None:
    """One token is enough, and the table says where."""
    code, output = run(FakeGateway(lost_one), "--json-share", "0", "--settle-seconds", "1")
    assert code == 1, output
    rows = [line.split() for line in output.splitlines()]
    assert [row[0] for row in rows if row[1:2] == ["tokens_out"] and row[-1] == "-1"] == [
        "anna",
        "bob",
    ]
    assert "chat JSON" not in output


def test_ctrl_c_closes_the_books_too() -> None:
    """An interrupted run is compared, and fails on a difference."""
    gateway = FakeGateway(lost_one)
    with (
        serving(gateway) as url,
        serving(gateway.usage_api) as admin,
        locust(
            *("--admin-url", admin, "--admin-token", TOKEN, "--api-keys", KEYS_TEXT),
            *("--settle-seconds", "1"),
            gateway=url,
        ) as process,
    ):
        while process.poll() is None and not all(t.requests for t in gateway.totals()):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert (process.returncode, "usage API" in output) == (1, True), output


def test_a_run_in_which_nothing_succeeds_ends_with_1() -> None:
    """Zero calls agree with zero usage, but prove nothing."""
    code, output = run(FakeGateway(), keys="anna:wrong-key")
    assert code == 1
    assert "nothing to compare" in output


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--admin-token", "wrong"), "check --admin-token"),
        (("--admin-url", "http://127.0.0.1:1"), "check --admin-url"),
    ],
)
def test_a_run_whose_books_cannot_be_opened_does_not_begin(
    more: tuple[str, ...], told: str
) -> None:
    """Nothing is sent when nothing could be compared."""
    gateway = FakeGateway()
    code, output = run(gateway, *more)
    assert (code, told in output) == (1, True), output
    assert [totals.requests for totals in gateway.totals()] == [0, 0]


@pytest.mark.parametrize(
    "more",
    [
        ("--api-keys", "anna"),
        ("--api-keys", ""),
        ("--json-share", "2"),
        ("--admin-url", "localhost"),
    ],
)
def test_wrong_options_are_one_line(more: tuple[str, ...]) -> None:
    """Status 2 and what to write, before anything is sent."""
    with locust("--api-keys", "a:b", *more, gateway="http://127.0.0.1:1") as process:
        output, _ = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in output) == (2, False)
    assert f"{more[0]} must be" in output
