"""Limits in a gateway that really runs, through both shells, on a bank in memory."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from gateway.limiting import Limiting
from metering.catalogue import Package, PackageItem, Product
from metering.lending import account_of
from tests.fakes import FakeClock
from tests.gateway.lender import FakeBank, limits_of
from tests.gateway.running import Running, gateway
from tests.servers import Received, eventually, upstream

pytestmark = pytest.mark.usefixtures("shell")

ACCOUNT = account_of("cust-1", "T")
REPLY = json.dumps({"usage": {"prompt_tokens": 60, "completion_tokens": 40}}).encode()
CALL = b'{"model": "m", "max_tokens": 200, "messages": []}'
JSON = {"Content-Type": "application/json"}


def pack(**terms: Any) -> Product:
    """A package of the tokens that the gateway sells."""
    items = [PackageItem(of="T", quota=1000)]  # type: ignore[arg-type]  # pydantic makes a Decimal
    return Product(
        product_id="PACK", package=Package(items=items, stop_before_excess=True, **terms)
    )


def answers(request: Received) -> None:
    """100 tokens."""
    request.json(REPLY)


@contextmanager
def limited(
    bank: FakeBank, *settings: dict[str, Any], package: Product | None = None, handler: Any = answers,
    go_on_alone: bool = True,
) -> Iterator[tuple[Running, Limiting]]:  # fmt: skip
    """A gateway with such limits before an upstream that answers 100 tokens."""
    limits = limits_of(
        bank, *(settings or ({},)), FakeClock(), loop_time=time.monotonic, go_on_alone=go_on_alone
    )
    packages = (package,) if package else ()
    with upstream(handler) as server, gateway(server.url, limiting=limits, packages=packages) as running:
        yield running, limits


def call(running: Running, body: bytes = CALL) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, JSON and headers of one call."""
    reply, text = running.ask("POST", "/v1/chat/completions", body, JSON)
    return reply.status, json.loads(text), {k.lower(): v for k, v in reply.getheaders()}


def test_calls_without_limits_need_no_bank() -> None:
    """Nobody is asked."""
    bank = FakeBank()
    with limited(bank) as (running, _):
        status, _, headers = call(running)
    assert (status, bank.asked) == (200, [])
    assert "ratelimit" not in headers


def test_a_rate_lets_so_many_in_and_says_when_there_are_more() -> None:
    """429 with the standard fields."""
    bank = FakeBank()
    with limited(bank, {"default": {"requests_per_second": 2}}) as (running, limits):
        first, second, third = call(running), call(running), call(running)
    assert [first[0], second[0], third[0]] == [200, 200, 429]
    assert third[1]["error"]["code"] == "rate_limited"
    assert third[1]["error"]["limit"] == "customer"
    assert third[2]["retry-after"] == "2"
    assert first[2]["ratelimit-policy"] == third[2]["ratelimit-policy"] == '"customer";q=2;w=1'
    assert third[2]["ratelimit"] == '"customer";r=0;t=1'
    assert limits.desk.refusals == {("customer", "rate_limited"): 1}
