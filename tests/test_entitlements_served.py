"""What the marketplace's signed callbacks do to customers of a running installation of four workers."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from metering.clock import SystemClock
from tallygate.demo.upstream import StubUpstream
from tests.installations import (
    ANY_PORT,
    CHAT,
    Served,
    configuration,
    eventually,
    ports_in_a_row,
    serve,
)
from tests.market import KEYS, Market, market
from tests.tallygate.serving import serving

WORKERS = 4
CONNECTIONS = 24  # that stay open, spread over the workers
STREAMS = 8
PRODUCTS = [
    {"product_id": "tokens", "routes": ["chat"], "meter": "tokens_out", "unit": 1000},
    {
        "product_id": "pack",
        "name": "A thousand",
        "package": {"items": [{"of": "tokens", "quota": 1}], "stop_before_excess": True},
    },
]
OFFERS = [
    {"product_id": "tokens", "kind": "ON_DEMAND"},
    {
        "product_id": "pack",
        "kind": "ON_DEMAND_PKG",
        "covers": ["tokens"],
        "stop_before_excess": True,
    },
]


@dataclass
class Caller:
    """A customer's connection to one of the workers."""

    address: str
    key: str
    connection: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        self.connection = http.client.HTTPConnection(self.address, timeout=30)

    def ask(self, delay_ms: int = 0, tokens: int = 3, **more: Any) -> http.client.HTTPResponse:
        """A call; its reply's head."""
        message = {"role": "user", "content": "two words"}
        body = {"model": "m", "messages": [message], "max_tokens": tokens, **more}
        headers = {
            "Authorization": f"Bearer {self.key}",
            "Content-Type": "application/json",
            "X-Stub-Delay-Ms": str(delay_ms),
        }
        self.connection.request("POST", CHAT, json.dumps(body), headers)
        return self.connection.getresponse()

    def verdict(self) -> str:
        """`200`, or the code of a refusal; a call that is open at the moment may be cut."""
        reply = self.ask()
        try:
            text = reply.read()
        except http.client.IncompleteRead:
            self.connection.close()
            return "cut"
        return "200" if reply.status == 200 else str(json.loads(text)["error"]["code"])


@contextmanager
def caller(address: str, key: str) -> Iterator[Caller]:
    """One connection."""
    made = Caller(address, key)
    try:
        yield made
    finally:
        made.connection.close()


@contextmanager
def shop(folder: Path, **gateway: Any) -> Iterator[tuple[Served, Market]]:
    """Four workers and a marketplace that sells tokens."""
    with ExitStack() as stack:
        koo = stack.enter_context(market(folder))
        stub = stack.enter_context(serving(StubUpstream()))
        config = configuration(stub, products=PRODUCTS, customers=[])
        config["gateway"] = {
            "listen": ANY_PORT,
            "admin_listen": f"127.0.0.1:{ports_in_a_row(WORKERS)}",
            "workers": WORKERS,
            **gateway,
        }
        config["koogallery"] = {**KEYS, "base_url": koo.url}
        served = stack.enter_context(serve(folder, config))
        production = f"{served.plane('control')['public']}/koogallery"
        koo.call("PUT", "/settings", {"production_url": production})
        koo.call("PUT", "/products", {"products": OFFERS})
        eventually(lambda: len(served.workers()) == WORKERS)
        yield served, koo
        assert served.command.end() == 0
        assert "Traceback" not in served.command.stderr


def said_by_all(callers: list[Caller], verdict: str) -> float:
    """Seconds until every connection gets this verdict, and no other one after it."""
    begun = time.monotonic()
    eventually(lambda: {caller.verdict() for caller in callers} == {verdict})
    return time.monotonic() - begun


@pytest.mark.parametrize("policy", ["cut", "finish"])
def test_a_freeze_shuts_every_worker_and_an_unfreeze_opens_them(
    tmp_path: Path, policy: str
) -> None:
    """New calls are refused on connections that stay open; streams in flight follow the policy."""
    with shop(tmp_path, streams_on_stop=policy) as (served, koo), ExitStack() as stack:
        (line,) = koo.buy("domain-1", "tokens")
        key = line.app["password"]
        address = urlsplit(served.gateway).netloc
        callers = [stack.enter_context(caller(address, key)) for _ in range(CONNECTIONS)]
        said_by_all(callers, "200")
        answered = [
            served.metric_of(worker, "gateway_requests_total", code="2xx")
            for worker in served.workers()
        ]
        assert min(answered) > 0, "every worker has customers"
        wholes: list[bool] = []

        def stream(started: threading.Barrier) -> None:
            with caller(address, key) as mine, mine.ask(50, 60, stream=True) as reply:
                reply.readline()
                started.wait()
                try:
                    wholes.append(reply.read().endswith(b"data: [DONE]\n\n"))
                except (http.client.HTTPException, OSError):
                    wholes.append(False)

        barrier = threading.Barrier(STREAMS + 1)
        streams = [threading.Thread(target=stream, args=(barrier,)) for _ in range(STREAMS)]
        for each in streams:
            each.start()
        barrier.wait()
        assert koo.act(line.instance_id, "freeze")["resultCode"] == "000000"
        shut = said_by_all(callers, "instance_frozen")
        for each in streams:
            each.join()
        assert wholes == [policy == "finish"] * STREAMS
        stopped = served.metric("gateway_records_total", outcome="stopped")
        assert stopped == (STREAMS if policy == "cut" else 0)
        assert koo.act(line.instance_id, "unfreeze")["resultCode"] == "000000"
        opened = said_by_all(callers, "200")
        print(f"shut after {shut:.3f} s, opened after {opened:.3f} s")  # noqa: T201  (pytest -s)
        assert koo.findings() == []


def test_expiry_renewal_and_release_reach_every_worker(tmp_path: Path) -> None:
    """A renewal that is paid back, one that is paid for, and the end, on connections that stay open."""
    with shop(tmp_path) as (served, koo), ExitStack() as stack:
        (line,) = koo.buy("domain-1", "tokens")
        address = urlsplit(served.gateway).netloc
        callers = [
            stack.enter_context(caller(address, line.app["password"])) for _ in range(CONNECTIONS)
        ]
        said_by_all(callers, "200")
        took = {}
        past = datetime.fromtimestamp(SystemClock().now_ms() // 1000 - 3600, UTC)
        refund = {"scene": "UNSUBSCRIBE_RENEWAL_PERIOD", "expireTime": f"{past:%Y%m%d%H%M%S}"}
        for action, more, verdict in (
            ("refresh", refund, "instance_expired"),
            ("refresh", {}, "200"),
            ("release", {}, "instance_released"),
        ):
            said = koo.call("POST", f"/instances/{line.instance_id}/{action}", more)
            assert said["reply"]["resultCode"] == "000000"
            took[verdict] = said_by_all(callers, verdict)
        print(f"seconds: {took}")  # noqa: T201  (pytest -s)


def test_a_customer_sees_what_is_left_of_his_package(tmp_path: Path) -> None:
    """From purchase to the last figure: the ledger's, by way of the bank, at any worker."""
    with shop(tmp_path) as (served, koo):
        tokens, pack = koo.buy("domain-1", "tokens", "pack")
        key = tokens.app["password"]

        def told(customers_key: str = key) -> dict[str, Any]:
            headers = {"X-Api-Key": customers_key}
            reply = served.http.get(f"{served.gateway}/-/quota", headers=headers)
            assert reply.status_code == 200, reply.text
            shown: dict[str, Any] = reply.json()
            return shown

        def remaining(figure: str) -> bool:
            return [each["remaining"] for each in told()["packages"]] == [figure]

        eventually(lambda: remaining("1.0000"))
        with caller(urlsplit(served.gateway).netloc, key) as mine:
            assert mine.ask(tokens=30).read()
        eventually(lambda: remaining("0.9700"))
        shown = told()
        (package,), (item,) = shown["packages"], shown["items"]
        assert package["package_id"] == pack.instance_id
        assert (package["quota"], package["used"]) == ("1.0000", "0.0300")
        assert (package["name"], item["meter"]) == ("A thousand", "tokens_out")
        assert [each["status"] for each in shown["instances"]] == ["active", "active"]
        (other,) = koo.buy("domain-2", "tokens")
        others = eventually(lambda: served.http.get(
            f"{served.gateway}/-/quota", headers={"X-Api-Key": other.app["password"]}
        ).is_success and told(other.app["password"]))  # fmt: skip
        assert (others["customer_id"], others["packages"]) == ("domain-2", [])
        koo.act(tokens.instance_id, "freeze")
        eventually(lambda: told()["instances"][0]["status"] == "frozen")
